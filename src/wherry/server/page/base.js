"use strict";
// What both pages use. Texts of the model (names, labels, categories) only ever become text nodes, never markup.
const $ = (id) => document.getElementById(id);
const service = JSON.parse($("data").textContent);
// The model that is shown: the one that ?model=NAME/VERSION or ?model=NAME says, else the first.
const chosen = new URLSearchParams(location.search).get("model");
const known = service.models.find((each) => chosen === each.name + "/" + each.version) || service.models.find((each) => chosen === each.name);
const data = known || service.models[0];

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function shown(value) {
  if (value === null || value === undefined) return "missing";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function copyable(title, language, text) {
  const code = el("code", {}, text);
  const button = el("button", { type: "button", class: "small" }, "Copy");
  button.setAttribute("aria-label", "Copy the " + title + " example");
  button.addEventListener("click", async () => {
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Press Ctrl C";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  const block = el("figure", { class: "snippet" }, el("figcaption", {}, el("span", {}, title), button),
    el("pre", { tabindex: "0", "aria-label": title + " example", "data-language": language }, code));
  block.set = (value) => { code.textContent = value; };
  return block;
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function curl(url, body, token, media = "application/json") {
  const key = token ? " \\\n  -H \"X-Api-Key: $TOKEN\"" : "";
  return "curl " + quoted(url) + " \\\n  -H 'Content-Type: " + media + "'" + key + " \\\n  -d " + quoted(body);
}

// The same for a picture, which goes as a file.
function upload(url, field, token) {
  return "curl " + quoted(url) + (token ? " \\\n  -H \"X-Api-Key: $TOKEN\"" : "") + " \\\n  -F " + field + "=@picture.jpg";
}

function pythonUpload(url, token) {
  const key = token ? ', "X-Api-Key": os.environ["TOKEN"]' : "";
  return "import json\n" + (token ? "import os\n" : "") + "import urllib.request\n\nwith open(\"picture.jpg\", \"rb\") as file:\n    picture = file.read()\n" +
    "request = urllib.request.Request(\n    " + JSON.stringify(url) + ",\n    data=picture,\n    headers={\"Content-Type\": \"image/jpeg\"" + key +
    "},\n)\nwith urllib.request.urlopen(request) as reply:\n    print(json.load(reply))\n";
}

// The column that takes pictures: a model of pictures has no other.
const picture = data.columns.find((column) => column.type === "image");

// A record as pairs of a name and the JSON text of its value, one a line.
function recordText(pairs) {
  return "{\n" + pairs.map(([name, literal]) => "  " + JSON.stringify(name) + ": " + literal).join(",\n") + "\n}";
}

function python(url, value, token) {
  const headers = ['"Content-Type": "application/json"'];
  if (token) headers.push('"X-Api-Key": os.environ["TOKEN"]');
  return "import json\n" + (token ? "import os\n" : "") + "import urllib.request\n\nrecord = " + value +
    "\nrequest = urllib.request.Request(\n    " + JSON.stringify(url) + ",\n    data=json.dumps(record).encode(),\n    headers={" +
    headers.join(", ") + "},\n)\nwith urllib.request.urlopen(request) as reply:\n    print(json.load(reply))\n";
}

function pythonRecord(pairs) {
  const words = { null: "None", true: "True", false: "False" };
  return "{\n" + pairs.map(([name, literal]) => "    " + JSON.stringify(name) + ": " + (words[literal] || literal) + ",\n").join("") + "}";
}

$("name").textContent = data.name;
document.title = data.name + (service.page === "docs" ? " · API" : "");
// A line breaks between what is said of the model, not within.
const metrics = (data.metrics || []).map((each) => each.name + " " + shown(each.value) + " (baseline " + shown(each.baseline) + ")");
$("about").append(...["version " + data.version, data.estimator, ...metrics].filter(Boolean).map((text) => el("span", {}, text)));
$("digest").textContent = "model " + data.digest.slice(0, 12) + " · served by wherry";
$("digest").title = data.digest;
if (service.models.length > 1) {
  const link = (each) => "?" + new URLSearchParams({ model: each.name + "/" + each.version });
  $("models").append(...service.models.map((each) => el("a", { href: link(each), "aria-current": each === data && "true" }, each.name + " " + each.version)));
  $("models").hidden = false;
  // What is followed from here goes on with this model.
  for (const each of document.querySelectorAll('nav a[href="./"], nav a[href="./docs"]')) each.href += link(data);
  document.querySelector('nav a[href="./info"]').href = "." + data.about;
}
if (chosen !== null && !known) {
  $("main").prepend(el("p", { class: "notice", role: "status" }, "There is no model " + chosen + " here; this is " + data.name + " " + data.version + "."));
}
