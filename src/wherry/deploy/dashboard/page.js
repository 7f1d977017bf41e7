"use strict";
// Everything shown is set as text: what a cluster or a model brings is never markup.
const SVG = "http://www.w3.org/2000/svg";
const EVERY = 2000, WIDE = 400, HIGH = 120, LEFT = 50, TOP = 8, BOTTOM = 16;
const states = new Map();
let paused = false, timer = 0;

const by = (id) => document.getElementById(id);

function make(tag, about = {}, ...inside) {
  const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(about)) made.setAttribute(name, value);
  made.append(...inside.filter((each) => each !== null && each !== undefined));
  return made;
}

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false });
const number = (value) => value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
const known = (value, text) => value === null || value === undefined ? "–" : text(value);
const latency = (ms) => known(ms, (v) => v >= 1000 ? `${(v / 1000).toFixed(2)} s` : `${Number(v.toPrecision(3))} ms`);
const rate = (value) => known(value, (v) => `${number(v)}/s`);
const cores = (value) => known(value, (v) => `${Math.round(v)}m`);
function size(bytes) {
  return known(bytes, (v) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let place = 0;
    while (v >= 1000 && place < units.length - 1) { v /= 1000; place += 1; }
    return `${v >= 10 || place === 0 ? Math.round(v) : v.toFixed(1)} ${units[place]}`;
  });
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= value * 0.999);
}

// A picture of the course: `lines` are {name, css, values, limit}; times are shared.
function chart(title, times, lines, shown, { limit = 0, whole = false } = {}) {
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  const top = roundUp(Math.max(1e-9, limit || 0, ...values)) || 1;
  const first = times[0], span = Math.max(30, times[times.length - 1] - first);
  const x = (at) => LEFT + (WIDE - LEFT - 4) * (1 - (times[times.length - 1] - at) / span);
  const y = (value) => HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * value / top;
  const last = lines.map((line) => `${line.name} ${shown(line.values[line.values.length - 1])}`);
  const picture = make("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${title}: ${last.join(", ")}` });
  for (const part of [0, 0.5, 1]) {
    if (whole && !Number.isInteger(top * part)) continue;
    const at = y(top * part).toFixed(1);
    picture.append(make("svg:line", { class: part ? "grid" : "floor", x1: LEFT, x2: WIDE - 4, y1: at, y2: at }));
    picture.append(make("svg:text", { x: LEFT - 6, y: Number(at) + 3, "text-anchor": "end" }, shown(top * part).replace("/s", "")));
  }
  if (limit) {
    const at = y(limit).toFixed(1);
    picture.append(make("svg:line", { class: "limit", x1: LEFT, x2: WIDE - 4, y1: at, y2: at }));
  }
  picture.append(make("svg:text", { x: LEFT, y: HIGH - 3 }, clock(times[times.length - 1] - span)));
  picture.append(make("svg:text", { x: WIDE - 4, y: HIGH - 3, "text-anchor": "end" }, clock(times[times.length - 1])));
  for (const line of lines) {
    let path = "", pen = "M";
    const points = [];
    line.values.forEach((value, place) => {
      if (value === null) { pen = "M"; return; }
      path += `${pen}${x(times[place]).toFixed(1)} ${y(value).toFixed(1)}`;
      points.push(place);
      pen = "L";
    });
    if (line.css === "a" && points.length > 1) {
      const from = x(times[points[0]]).toFixed(1), to = x(times[points[points.length - 1]]).toFixed(1);
      const under = points.map((place) => `${x(times[place]).toFixed(1)} ${y(line.values[place]).toFixed(1)}`).join("L");
      picture.append(make("svg:path", { class: "fill-a", d: `M${from} ${y(0)}L${under}L${to} ${y(0)}Z` }));
    }
    if (path) picture.append(make("svg:path", { class: `curve ${line.css}`, d: path }));
  }
  const keys = lines.map((line, place) => make("span", {}, make("i", { class: `key-${line.css.replace("-line", "")}` }), last[place]));
  return make("figure", {}, make("figcaption", {}, make("b", {}, title), ...keys), picture);
}

function charts(service) {
  const course = service.course, times = course.map((one) => one[0]);
  if (!times.length) return null;
  const column = (place) => course.map((one) => one[place]);
  const line = (name, css, place) => ({ name, css, values: column(place) });
  const some = (place) => column(place).some((value) => value !== null);
  const made = [];
  if (some(1)) {
    made.push(chart("Requests", times, [line("all", "a", 1), line("failed", "bad-line", 2)], rate));
    made.push(chart("Latency", times, [line("p99", "c", 5), line("p90", "b", 4), line("p50", "a", 3)], latency));
  }
  if (some(6)) made.push(chart("CPU", times, [line("all pods", "a", 6)], cores, { limit: service.cpu_request }));
  if (some(7)) made.push(chart("Memory", times, [line("all pods", "a", 7)], size));
  made.push(chart("Pods", times, [line("ready", "a", 8), line("wanted", "b", 9)], (value) => known(value, number), { whole: true }));
  return make("div", { class: "charts" }, ...made);
}

function figure(value, name, bad) {
  return make("div", bad ? { class: "bad" } : {}, make("b", {}, value), make("span", {}, name));
}

function figures(service) {
  const { status, traffic } = service;
  const made = [figure(`${status.ready} of ${status.wanted}`, "pods ready", status.ready < status.wanted)];
  if (traffic) {
    made.push(figure(rate(traffic.rate), "requests"), figure(latency(traffic.p50_ms), "p50"), figure(latency(traffic.p99_ms), "p99"));
    made.push(figure(rate(traffic.failed), "failed (5xx)", traffic.failed > 0));
    if (traffic.refused) made.push(figure(rate(traffic.refused), "refused (4xx)"));
  }
  const asked = service.cpu_request ? ` of ${Math.round(service.cpu_request)}m requested` : "";
  const most = service.memory_limit ? ` of ${size(service.memory_limit)}` : "";
  made.push(figure(cores(service.cpu), `CPU${asked}`), figure(size(service.memory), `memory${most}`));
  return make("div", { class: "figures" }, ...made);
}

function classes(traffic) {
  if (!traffic) return null;
  const ranked = Object.entries(traffic.classes_total).sort((one, other) => other[1] - one[1]);
  const total = ranked.reduce((sum, [, count]) => sum + count, 0);
  if (!total) return null;
  const rows = ranked.slice(0, 10);
  const rest = ranked.slice(10).reduce((sum, [, count]) => sum + count, 0);
  if (rest) rows.push([`${ranked.length - 10} more`, rest]);
  const made = rows.flatMap(([name, count]) => {
    const share = 100 * count / total;
    const bar = make("svg:svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
      make("svg:rect", { class: "track", width: 100, height: 12, rx: 2 }),
      make("svg:rect", { class: "share", width: Math.max(0.5, share).toFixed(1), height: 12, rx: 2 }));
    return [make("span", {}, name), bar, make("span", { class: "quiet" }, `${share.toFixed(1)} %, ${number(count)}`)];
  });
  return make("section", {}, make("h3", {}, "Classes predicted since the pods' start"), make("div", { class: "bars" }, ...made));
}

function pods(service) {
  if (!service.pods.length) return null;
  const head = ["Pod", "State", "CPU", "Memory", "Rate", "p99", "Restarts"];
  const rows = service.pods.map((pod) => make("tr", {},
    make("td", {}, pod.name),
    make("td", { class: pod.reason ? "state bad" : "state" }, (pod.reason || (pod.ready ? "ready" : pod.phase.toLowerCase())) + (pod.new ? "" : ", old")),
    ...[cores(pod.cpu), size(pod.memory), rate(pod.rate), latency(pod.p99_ms), String(pod.restarts)].map((text) => make("td", { class: "n" }, text))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name, place) => make("th", { scope: "col", class: place > 1 ? "n" : "" }, name)))),
    make("tbody", {}, ...rows));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Pods of ${service.status.name}` }, table);
}

function state(service) {
  return service.status.paused ? "paused" : service.healthy ? "well" : "not well";
}

function card(service) {
  const { status } = service, word = state(service);
  const pill = make("span", { class: `pill ${word === "well" ? "good" : word === "paused" ? "none" : "bad"}` }, word);
  const facts = [
    [status.model || status.version, status.digest ? `digest ${status.digest.slice(0, 12)}` : "", status.address ? status.address.url : ""].filter(Boolean).join(" · "),
    status.image, service.scaling,
  ].filter(Boolean).join("\n");
  return make("section", { class: "card service", "aria-label": status.name },
    make("div", { class: "head" }, make("h2", {}, status.name), pill),
    make("p", { class: "facts" }, facts),
    ...status.problems.map((problem) => make("p", { class: "problem" }, problem)),
    ...service.troubles.map((trouble) => make("p", { class: "trouble" }, trouble)),
    figures(service), charts(service), classes(service.traffic), pods(service));
}

function show(look) {
  by("where").textContent = `${look.namespace} in ${look.context}`;
  document.title = `${look.services.some((one) => !one.healthy) ? "! " : ""}${look.services.map((one) => one.status.name).join(", ") || look.namespace}: wherry`;
  by("clock").textContent = `as of ${clock(look.at)}`;
  complain(look.trouble);
  // The focus and the place in a table that was scrolled outlive the drawing.
  const regions = () => [...document.querySelectorAll(".scroll")];
  const focused = regions().indexOf(document.activeElement), places = regions().map((each) => each.scrollLeft);
  const cards = look.services.map(card);
  by("services").replaceChildren(...(cards.length ? cards : [make("p", { class: "card" }, "wherry has made nothing here, or it was taken down.")]));
  regions().forEach((each, place) => { each.scrollLeft = places[place] || 0; });
  if (focused >= 0 && regions()[focused]) regions()[focused].focus({ preventScroll: true });
  by("changes").replaceChildren(...look.changes.slice().reverse().map((one) => make("li", {}, `${clock(one.at)} ${one.service} ${one.text}`)));
  by("news").hidden = look.changes.length === 0;
  for (const service of look.services) {
    const name = service.status.name, word = state(service);
    if (states.has(name) && states.get(name) !== word) by("said").textContent = `${name} is ${word}`;
    states.set(name, word);
  }
}

function complain(text) {
  if (by("trouble").textContent !== text) by("trouble").textContent = text;
  by("trouble").hidden = !text;
}

async function turn() {
  try {
    const reply = await fetch("data", { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    const look = await reply.json();
    if (!paused && look.services) show(look);
  } catch {
    complain("wherry status no longer answers: start it again, and open the address that it prints");
  }
  if (!paused) timer = setTimeout(turn, EVERY);
}

by("pause").addEventListener("click", () => {
  paused = !paused;
  clearTimeout(timer);
  by("pause").setAttribute("aria-pressed", String(paused));
  by("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) turn();
});

turn();
