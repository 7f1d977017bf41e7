// The page of GET /docs: the columns from the signature, everything else from ./openapi.json.
const predict = new URL("." + data.predict, document.baseURI).href;
const METHODS = ["get", "post", "put", "patch", "delete"];
const KINDS = { number: "number", integer: "whole number", boolean: "true or false", string: "text", image: "picture" };

function table(heads, rows, label) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell)))))));
}

function code(text) { return el("code", {}, text); }

function seen(column) {
  if (column.categories) {
    const some = column.categories.slice(0, 12).map(shown).join(", ");
    const more = column.categories.length > 12 ? " and " + (column.categories.length - 12) + " more" : "";
    return some + more + (column.unknown_ok === false ? "" : "; others are taken too");
  }
  if (column.prepare) return column.prepare.formats.join(", ") + ", made " + column.prepare.width + " x " + column.prepare.height;
  if (column.low !== undefined && column.high !== undefined) return shown(column.low) + " to " + shown(column.high);
  return "";
}

function describeColumns() {
  const defaults = data.columns.some((column) => column.default !== undefined);
  const rows = data.columns.map((column) => [code(column.name), KINDS[column.type], seen(column), column.nullable ? "yes, as null" : "no",
    ...(defaults ? [column.default === undefined ? "refused" : shown(column.default)] : [])]);
  const heads = ["name", "type", "seen by the model", "may be missing", ...(defaults ? ["when left out"] : [])];
  const output = data.output;
  let answer = { class: "a class", number: "a number", cluster: "a cluster" }[output.kind] + (data.target ? " for " + data.target : "");
  if (output.classes && output.classes.length) answer += ": " + output.classes.map(shown).join(", ");
  if (output.width > 1) answer += " (" + output.width + " outputs a row)";
  $("columns").append(table(heads, rows, "Columns"), el("p", {}, "The prediction is " + answer + "."));
}

function at(api, node) {
  if (!node || !node.$ref) return node || {};
  return node.$ref.split("/").slice(1).reduce((place, key) => (place || {})[key.replaceAll("~1", "/").replaceAll("~0", "~")], api) || {};
}

function kindOf(api, schema) {
  const real = at(api, schema);
  if (real.enum) return real.enum.map(shown).join(", ");
  if (Array.isArray(real.type)) return real.type.join(" or ");
  return real.type || (real.anyOf || real.oneOf ? "one of several forms" : "any");
}

function operation(api, path, method, about) {
  const parts = [];
  if (about.description) parts.push(el("p", {}, about.description));
  const parameters = (about.parameters || []).map((each) => at(api, each));
  if (parameters.length) parts.push(el("h3", {}, "Parameters"), table(["name", "in", "type", "required", ""],
    parameters.map((each) => [code(each.name), each.in, kindOf(api, each.schema), each.required ? "yes" : "no", each.description || ""]), "Parameters"));
  const content = Object.entries(at(api, about.requestBody).content || {});
  for (const [media, body] of content) {
    parts.push(el("h3", {}, "Body, " + media));
    const examples = Object.values(body.examples || {}).map((each) => at(api, each));
    if (media === "multipart/form-data" && picture)
      parts.push(copyable("Upload", "shell", upload(new URL("." + path, document.baseURI).href, picture.name, api.security)));
    if (body.example !== undefined) examples.push({ summary: "example", value: body.example });
    for (const each of examples)
      parts.push(copyable(each.summary || "example", "shell", curl(new URL("." + path, document.baseURI).href,
        media === "text/csv" ? each.value : JSON.stringify(each.value), api.security, media)));
  }
  const replies = Object.entries(about.responses || {});
  const own = replies.filter(([, reply]) => !reply.$ref).map(([status, reply]) => [code(status), reply.description || ""]);
  const errors = replies.filter(([, reply]) => reply.$ref).map(([status]) => status);
  if (errors.length) own.push([code("4xx 5xx"), "see Errors below: " + errors.join(", ")]);
  if (own.length) parts.push(el("h3", {}, "Replies"), table(["status", "meaning"], own, "Replies"));
  const headers = Object.entries(at(api, (about.responses || {})["200"]).headers || {});
  if (headers.length) parts.push(el("h3", {}, "Headers of a reply"),
    table(["name", "what it says"], headers.map(([name, header]) => [code(name), header.description || ""]), "Headers of a reply"));
  const open = path === data.predict && method === "post";
  return el("details", { class: "operation", open }, el("summary", {}, el("span", { class: "method" }, method.toUpperCase()),
    el("span", { class: "path" }, code(path)), el("span", { class: "quiet" }, about.summary || "")), el("div", {}, ...parts));
}

function describePaths(api) {
  const found = [];
  const shown = (about) => about && (!about.tags || about.tags.includes(data.name + " " + data.version)); // or of no model
  for (const [path, item] of Object.entries(api.paths || {}))
    for (const method of METHODS) if (shown(item[method])) found.push(operation(api, path, method, item[method]));
  $("paths").replaceChildren(...found);
}

function describeErrors(api) {
  const known = Object.entries((api.components || {}).responses || {});
  $("errors").append(el("p", {}, "A refused request is answered with a problem (RFC 9457): its title and detail, every field at fault with what to do, and the request's id."));
  if (known.length) $("errors").append(table(["status", "meaning"], known.map(([status, about]) => [code(status), about.description || ""]), "Errors"));
  const first = data.columns[0];
  if (first) $("errors").append(copyable("A problem", "json", JSON.stringify({ type: "https://wherry.dev/errors#fields", title: "Fields refused", status: 422,
    detail: first.name + " is missing", errors: [{ row: 0, field: first.name, reason: "is missing" }] }, null, 2)));
}

async function read() {
  try {
    const reply = await fetch("./openapi.json");
    if (!reply.ok) throw new Error("status " + reply.status);
    const api = await reply.json();
    describePaths(api);
    describeErrors(api);
  } catch (error) {
    $("paths").replaceChildren(el("div", { class: "failure" }, el("p", { class: "failure-title" }, "openapi.json cannot be read"), el("p", {}, error.message)));
    $("errors").closest("section").hidden = true;
  }
}

const pairs = Object.entries(data.example).map(([name, value]) => [name, JSON.stringify(value)]);
$("start").append(copyable("curl", "shell", picture ? upload(predict, picture.name) : curl(predict, recordText(pairs))),
  copyable("Python", "python", picture ? pythonUpload(predict) : python(predict, pythonRecord(pairs))));
describeColumns();
read();
