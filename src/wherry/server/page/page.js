// The form of GET /: made from the signature, sent to where the model is asked, answered beside it.
const url = new URL("." + data.predict, document.baseURI).href;
const KINDS = { number: "number", integer: "whole number", boolean: "true or false", string: "text", image: "picture" };
const fields = [];
let mode = "form";
let asked = data.output.probabilities && !data.output.top; // until the service says that it gives none
let token = "";
let again = false;
try { token = sessionStorage.getItem("wherry-token") || ""; } catch { /* storage is switched off */ }

// --- one field a column; each knows its literal: the JSON text of its value, or undefined when it is left out -----

function hintOf(column) {
  const parts = column.type === "boolean" ? [] : column.categories ? ["one of " + column.categories.length] : [KINDS[column.type]];
  if (column.low !== undefined && column.high !== undefined && !column.categories)
    parts.push("seen " + shown(column.low) + " to " + shown(column.high));
  if (column.prepare) parts.push(column.prepare.formats.join(", "), "at most " + column.prepare.pixels.toLocaleString("en") + " points");
  if (column.default !== undefined) parts.push("left out: " + shown(column.default));
  return parts.join(" · ");
}

function numberLiteral(column, text) {
  const trimmed = text.trim();
  if (trimmed === "") return column.nullable ? "null" : undefined;
  if (column.type === "integer" && /^[+-]?\d+$/.test(trimmed)) return BigInt(trimmed.replace("+", "")).toString();
  const number = Number(trimmed.replace(/^\+/, ""));
  // What is no number is sent as it was typed: the service says best what is wrong with it.
  return Number.isFinite(number) && !/^[+-]?0[xob]/i.test(trimmed) ? String(number) : JSON.stringify(text);
}

function numberField(column, id) {
  const input = el("input", { id, type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false" });
  const ranged = column.low !== undefined && column.high !== undefined && column.high > column.low;
  const dot = el("i", {});
  const track = ranged ? el("span", { class: "track", "aria-hidden": "true" }, dot) : null;
  const note = el("span", { class: "outside", hidden: true }, "outside what the model has seen");
  const look = () => {
    const value = Number(input.value);
    const has = ranged && input.value.trim() !== "" && Number.isFinite(value);
    const place = has ? (value - column.low) / (column.high - column.low) : 0;
    if (track) {
      track.classList.toggle("off", !has);
      track.classList.toggle("out", has && (place < 0 || place > 1));
      dot.style.left = Math.min(Math.max(place, 0), 1) * 100 + "%";
    }
    note.hidden = !(has && (place < 0 || place > 1));
  };
  input.addEventListener("input", look);
  return {
    control: input, parts: [input, track, note],
    literal: () => numberLiteral(column, input.value),
    set: (value) => { input.value = value === null || value === undefined ? "" : String(value); look(); },
  };
}

function textField(column, id) {
  const input = el("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  const box = el("input", { type: "checkbox", id: id + "-missing" });
  const missing = column.nullable ? el("label", { class: "missing" }, box, "missing") : null;
  const look = () => { input.disabled = box.checked; };
  box.addEventListener("change", look);
  return {
    control: input, parts: [input, missing],
    literal: () => (box.checked ? "null" : JSON.stringify(input.value)),
    set: (value) => { box.checked = column.nullable && value === null; input.value = value ?? ""; look(); },
  };
}

function choiceField(column, id) {
  const select = el("select", { id });
  const other = el("input", { type: "text", class: "other", hidden: true, autocomplete: "off",
    "aria-label": column.name + ", another value" });
  select.append(el("option", { value: "" }, "choose"));
  column.categories.forEach((value, index) => select.append(el("option", { value: "c" + index }, shown(value))));
  if (column.nullable) select.append(el("option", { value: "null" }, "missing"));
  if (column.unknown_ok !== false) select.append(el("option", { value: "other" }, "another value …"));
  const look = () => { other.hidden = select.value !== "other"; };
  select.addEventListener("change", look);
  const typed = () => {
    if (column.type === "string") return JSON.stringify(other.value);
    return numberLiteral(column, other.value);
  };
  return {
    control: select, parts: [select, other],
    literal: () => {
      if (select.value === "other") return typed();
      if (select.value === "null") return "null";
      return select.value ? JSON.stringify(column.categories[Number(select.value.slice(1))]) : undefined;
    },
    set: (value) => {
      const index = column.categories.indexOf(value);
      if (index >= 0) select.value = "c" + index;
      else if (value === null && column.nullable) select.value = "null";
      else if (value !== undefined && value !== null && column.unknown_ok !== false) {
        select.value = "other";
        other.value = String(value);
      } else select.value = "";
      look();
    },
  };
}

function truthField(column, id) {
  const states = [["true", "true"], ["false", "false"]];
  if (column.nullable) states.push(["null", "missing"]);
  const group = el("div", { class: "switch", role: "radiogroup", id, "aria-labelledby": id + "-label" });
  const radios = states.map(([value, label]) => {
    const radio = el("input", { type: "radio", name: id, value });
    group.append(el("label", {}, radio, el("span", {}, label)));
    return radio;
  });
  return {
    control: group, focus: () => (radios.find((radio) => radio.checked) || radios[0]).focus(), parts: [group],
    literal: () => radios.find((radio) => radio.checked)?.value,
    set: (value) => { for (const radio of radios) radio.checked = value !== undefined && radio.value === String(value); },
  };
}

// A picture: chosen, dropped anywhere on the page, or pasted; it is sent at once, as the file that it is.
function pictureField(column, id) {
  const types = (column.prepare ? column.prepare.formats : []).map((each) => "image/" + each);
  const input = el("input", { id, type: "file", accept: types.join(",") });
  const shownAs = el("img", { alt: "", hidden: true });
  const about = el("span", { class: "quiet", "aria-live": "polite" }, "No picture yet");
  const zone = el("div", { class: "drop" }, shownAs, el("p", {}, el("b", {}, "Drop a picture here"), ", paste one, or choose a file"), input, about);
  let file = null;
  const take = (chosen) => {
    file = chosen || null;
    shownAs.hidden = true;
    about.textContent = file ? Math.max(1, Math.round(file.size / 1024)).toLocaleString("en") + " KiB" : "No picture yet";
    if (!file) return;
    const reader = new FileReader();
    reader.addEventListener("load", () => { shownAs.src = reader.result; });
    reader.readAsDataURL(file);
    send();
  };
  shownAs.addEventListener("load", () => { shownAs.alt = "The picture that was sent"; shownAs.hidden = false; });
  input.addEventListener("change", () => { if (input.files.length) take(input.files[0]); });
  const brought = (files) => {
    if (!files.length) return;
    input.files = files; // its name is shown as that of a chosen one
    take(files[0]);
  };
  const over = (event, on) => { event.preventDefault(); zone.classList.toggle("over", on); };
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => { over(event, false); brought(event.dataTransfer.files); });
  document.addEventListener("paste", (event) => brought(event.clipboardData.files));
  return {
    control: input, parts: [zone], wide: true, file: () => file,
    literal: () => undefined,
    set: () => { input.value = ""; take(null); },
  };
}

function fieldOf(column, index) {
  const id = "f" + index;
  const make = column.type === "boolean" ? truthField : column.categories ? choiceField
    : column.type === "image" ? pictureField : column.type === "string" ? textField : numberField;
  const field = make(column, id);
  const label = column.type === "boolean" ? el("span", { id: id + "-label", class: "label" }, column.name)
    : el("label", { for: id, class: "label" }, column.name);
  field.column = column;
  field.error = el("p", { class: "error", id: id + "-error", hidden: true });
  field.control.setAttribute("aria-describedby", id + "-error " + id + "-hint");
  field.node = el("div", { class: field.wide ? "field wide" : "field" }, label, ...field.parts,
    el("p", { class: "hint", id: id + "-hint" }, hintOf(column)), field.error);
  field.set(data.example[column.name]);
  return field;
}

// --- what is sent ---------------------------------------------------------------------------------------------------

function pairs() {
  return fields.map((field) => [field.column.name, field.literal()]).filter((pair) => pair[1] !== undefined);
}

function body() {
  return mode === "json" ? $("text").value : recordText(pairs());
}

function refresh() {
  if (picture) {
    snippets.curl.set(upload(url, picture.name, token));
    snippets.python.set(pythonUpload(url, token));
    return;
  }
  snippets.curl.set(curl(url, body(), token));
  const record = mode === "form" ? pythonRecord(pairs()) : "json.loads(" + JSON.stringify(body()) + ")";
  snippets.python.set(python(url, record, token));
}

async function ask(text) {
  // The service looks at a picture's bytes, whatever it is called; a browser may know no name for it.
  const media = text instanceof Blob ? text.type || "application/octet-stream" : "application/json";
  const headers = { "Content-Type": media, Accept: service.native };
  if (token) headers["X-Api-Key"] = token;
  const reply = await fetch(asked ? url + "?probabilities=true" : url, { method: "POST", headers, body: text });
  if (reply.status === 403 && asked) {
    asked = false;
    return ask(text);
  }
  return reply;
}

async function send() {
  const button = $("send");
  if (button.getAttribute("aria-busy") === "true") {
    again = Boolean(picture); // another one was chosen meanwhile: what is shown is what was chosen last
    return;
  }
  if (!$("token-field").hidden) keepToken($("token").value.trim());
  clearErrors();
  if (picture && !fields[0].file()) {
    showFault(fields[0], "choose a picture first");
    return;
  }
  button.setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const reply = await ask(picture ? fields[0].file() : body());
    const text = await reply.text();
    let value;
    try { value = JSON.parse(text); } catch { value = undefined; }
    $("time").textContent = Math.max(1, Math.round(performance.now() - began)) + " ms";
    if (reply.ok && value !== undefined) showAnswer(value, reply.headers);
    else showProblem(reply.status, value, text);
  } catch (error) {
    $("time").textContent = "";
    showFailure("The service does not answer", "Is it still running? " + error.message);
  } finally {
    button.removeAttribute("aria-busy");
    if (again) {
      again = false;
      send();
    }
  }
}

function keepToken(value) {
  token = value;
  try { sessionStorage.setItem("wherry-token", value); } catch { /* storage is switched off */ }
  refresh();
}

// --- what comes back ------------------------------------------------------------------------------------------------

function isFinitePart(value) { return typeof value === "number" && Number.isFinite(value); }

function percent(part) {
  const value = part * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value < 100 && value > 99.9) return "> 99.9 %";
  return value.toFixed(1) + " %";
}

function bars(odds, chosen) {
  return drawn(odds.map((part, index) => [part, data.output.classes ? data.output.classes[index] : index]), chosen);
}

// Bars of parts and their labels, the largest first.
function drawn(parts, chosen) {
  const order = parts.filter(([part]) => isFinitePart(part)).sort((a, b) => b[0] - a[0]);
  const list = el("ul", { class: "bars", "aria-label": "Probabilities" });
  for (const [part, label] of order.slice(0, 12)) {
    const fill = el("i", {});
    fill.style.width = part * 100 + "%";
    list.append(el("li", { class: label === chosen ? "chosen" : "" }, el("span", { class: "name" }, shown(label)),
      el("span", { class: "amount" }, percent(part)), el("span", { class: "bar-line", "aria-hidden": "true" }, fill)));
  }
  if (order.length > 12) list.append(el("li", { class: "quiet" }, order.length - 12 + " more classes"));
  return list;
}

function showAnswer(value, headers) {
  const parts = [];
  if (value !== null && typeof value === "object" && "prediction" in value) {
    parts.push(el("p", { class: "caption" }, data.target || data.output.kind),
      el("p", { class: "answer" }, shown(value.prediction)));
    if (Array.isArray(value.top)) parts.push(drawn(value.top.map((each) => [each.probability, each.label]), value.prediction));
    else if (Array.isArray(value.probabilities)) parts.push(bars(value.probabilities, value.prediction));
  } else if (value !== null && typeof value === "object" && Array.isArray(value.predictions)) {
    parts.push(el("p", { class: "caption" }, value.predictions.length + " predictions"), tableOf(value));
  }
  const facts = [["Prediction id", headers.get("X-Prediction-Id")], ["Request id", headers.get("X-Request-Id")],
    ["Model", headers.get("X-Model-Version") && "version " + headers.get("X-Model-Version")]];
  const known = facts.filter((fact) => fact[1]);
  if (known.length) parts.push(el("table", { class: "facts" }, el("tbody", {},
    ...known.map(([name, text]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, text))))));
  parts.push(el("details", { open: parts.length === 0 }, el("summary", {}, "Reply as sent"),
    el("pre", { tabindex: "0", "aria-label": "Reply as sent" }, el("code", {}, JSON.stringify(value, null, 2)))));
  $("result").replaceChildren(...parts);
  bringIntoView();
}

function bringIntoView() {
  const card = $("result").closest("section");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (card.getBoundingClientRect().top > innerHeight * 0.6) card.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

function tableOf(value) {
  const odds = Array.isArray(value.probabilities) ? value.probabilities : null;
  const rows = value.predictions.slice(0, 500).map((prediction, index) => el("tr", {}, el("td", { class: "number" }, String(index)),
    el("td", {}, shown(prediction)),
    odds && Array.isArray(odds[index]) ? el("td", { class: "number" }, percent(Math.max(...odds[index]))) : null));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Predictions" }, el("table", {}, el("thead", {}, el("tr", {},
    el("th", { scope: "col", class: "number" }, "row"), el("th", { scope: "col" }, data.target || "prediction"),
    odds ? el("th", { scope: "col", class: "number" }, "probability") : null)), el("tbody", {}, ...rows)));
}

function clearErrors() {
  for (const field of fields) {
    field.error.hidden = true;
    field.error.textContent = "";
    field.control.removeAttribute("aria-invalid");
  }
}

function mark(field, words) {
  field.error.textContent = words;
  field.error.hidden = false;
  field.control.setAttribute("aria-invalid", "true");
}

function showFault(field, words) {
  mark(field, words);
  field.control.focus();
}

function showProblem(status, problem, text) {
  if (status === 401) {
    $("token-field").hidden = false;
    showFailure(token ? "The service does not know this token" : "A token is needed", "Enter it below the form, and predict again.");
    $("token").focus();
    return;
  }
  const about = problem !== null && typeof problem === "object" ? problem : {};
  const elsewhere = [];
  let first = null;
  for (const fault of Array.isArray(about.errors) ? about.errors : []) {
    const words = [fault.reason, fault.hint].filter(Boolean).join("; ");
    const field = mode === "form" && fields.find((each) => each.column.name === fault.field);
    if (field) {
      mark(field, words);
      first = first || field;
    } else elsewhere.push((fault.row ? "row " + fault.row + ", " : "") + (fault.field ? fault.field + " " : "") + words);
  }
  showFailure(about.title || "Status " + status, about.detail || text.slice(0, 500), about.hint, elsewhere, about.request_id);
  if (!first) bringIntoView();
  else (first.focus || (() => first.control.focus()))();
}

function showFailure(title, detail, hint, list, id) {
  $("result").replaceChildren(el("div", { class: "failure" }, el("p", { class: "failure-title" }, title), el("p", {}, detail || ""),
    hint ? el("p", { class: "quiet" }, hint) : null,
    list && list.length ? el("ul", {}, ...list.map((line) => el("li", {}, line))) : null,
    id ? el("p", { class: "quiet" }, "request " + id) : null));
}

// --- putting it together --------------------------------------------------------------------------------------------

function setMode(next) {
  if (next === "json" && mode === "form") $("text").value = JSON.stringify([JSON.parse(body())], null, 2);
  mode = next;
  $("fields").hidden = next === "json";
  $("text-field").hidden = next !== "json";
  $("mode-form").setAttribute("aria-pressed", String(next === "form"));
  $("mode-json").setAttribute("aria-pressed", String(next === "json"));
  refresh();
}

function fill(record) {
  clearErrors();
  for (const field of fields) field.set(record ? record[field.column.name] : undefined);
  $("text").value = record ? JSON.stringify([record], null, 2) : "";
  refresh();
}

const snippets = { curl: copyable("curl", "shell", ""), python: copyable("Python", "python", "") };
fields.push(...data.columns.map(fieldOf));
$("fields").append(...fields.map((field) => field.node));
$("snippets").append(snippets.curl, snippets.python);
if (picture) {
  for (const part of [$("mode-form").parentElement, $("reset")]) part.hidden = true;
  $("result").querySelector(".empty").textContent = "Choose a picture. The answer appears here.";
}
$("form").addEventListener("input", refresh);
$("form").addEventListener("change", refresh);
$("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
document.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); } });
$("reset").addEventListener("click", () => fill(data.example));
$("clear").addEventListener("click", () => { fill(null); (fields[0]?.focus || (() => fields[0]?.control.focus()))(); });
$("mode-form").addEventListener("click", () => setMode("form"));
$("mode-json").addEventListener("click", () => setMode("json"));
refresh();
