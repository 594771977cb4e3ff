// "Try it": a stream and a publication, with the commands that do the same.

import { post, workspacePath } from "./api.js";
import { h, problem, setText } from "./dom.js";
import { time } from "./format.js";

const LINES_MAX = 100;

/** The payload that the node publishes for these fields: `type` is its first member. */
export function payloadOf(type, data) {
  const text = data.trim();
  if (!type) return text || "null";
  const name = JSON.stringify(type);
  if (!text || /^\{\s*\}$/.test(text)) return `{"type":${name}}`;
  return text.startsWith("{") ? `{"type":${name},${text.slice(1)}` : `{"type":${name},"data":${text}}`;
}

/** The ids of workspaces. A page that links here may have chosen the text after `#`. */
const WORKSPACE_ID = /^[A-Za-z0-9._~-]{1,128}$/;

/** A text in quotes of a shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function command(name) {
  const text = h("pre", { tabindex: "0", "aria-label": name });
  const copy = h("button", { type: "button", class: "small", "aria-label": `Copy: ${name}` }, "Copy");
  copy.addEventListener("click", async () => {
    // A page without TLS beyond loopback has no clipboard.
    if (navigator.clipboard) await navigator.clipboard.writeText(text.textContent);
    else getSelection().selectAllChildren(text);
    setText(copy, navigator.clipboard ? "Copied" : "Selected");
    setTimeout(() => setText(copy, "Copy"), 2000);
  });
  return { box: h("div", {}, h("p", { class: "quiet" }, name), h("div", { class: "command" }, text, copy)), text };
}

export function showTrial(content, { shared, one }) {
  const node = shared.node;
  const workspace = h("input", { name: "workspace", value: one ?? "demo", autocomplete: "off", spellcheck: "false", maxlength: "128", required: true });
  const type = h("input", { name: "type", value: "CHANNEL_UPDATED", autocomplete: "off", spellcheck: "false" });
  const data = h("textarea", { name: "data", class: "mono", spellcheck: "false" });
  data.value = '{"channel": {"id": "c1", "name": "general"}}';
  const failure = h("div");
  const published = h("p", { class: "quiet", role: "status" });
  const state = h("p", { class: "quiet", role: "status" }, "No stream is open.");
  const open = h("button", { type: "button" }, "Open a stream");
  const lines = h("ul", { class: "events", id: "received" });
  const watch = command("Watch the workspace");
  const publish = command("Publish a durable event");
  const live = command("Publish a live event");

  const terminal = h("div", { class: "stack" }, watch.box, publish.box, node.redisCli ? live.box : null);
  const noCommands = h("p", { class: "quiet" }, "A workspace has 1 to 128 characters of A-Z a-z 0-9 . _ ~ -");
  const show = () => {
    const isValid = WORKSPACE_ID.test(workspace.value);
    terminal.hidden = !isValid;
    noCommands.hidden = isValid;
    const url = quoted(`${node.public}/workspaces/${workspace.value}/events`);
    const token = node.authenticated ? ' -H "Authorization: Bearer $TOKEN"' : "";
    const payload = quoted(payloadOf(type.value, data.value));
    const socket = node.publicSocket ? ` --unix-socket ${quoted(node.publicSocket)}` : "";
    setText(watch.text, `curl -N${socket}${token} ${url}`);
    setText(publish.text, `curl${socket}${token} ${url} -d ${payload}`);
    setText(live.text, `${node.redisCli} PUBLISH ${quoted(node.channelPrefix + workspace.value)} ${payload}`);
  };
  for (const input of [workspace, type, data]) input.addEventListener("input", show);

  let source = null;
  const add = (kind, event) => {
    lines.prepend(
      h(
        "li",
        {},
        h("p", { class: "line" }, h("span", { class: "kind" }, kind), h("span", { class: "quiet nowrap" }, time(Date.now())), h("span", { class: "quiet mono" }, event.lastEventId)),
        h("pre", { tabindex: "0" }, event.data),
      ),
    );
    while (lines.children.length > LINES_MAX) lines.lastChild.remove();
  };
  const close = () => {
    source?.close();
    source = null;
    setText(open, "Open a stream");
    setText(state, "No stream is open.");
  };
  open.addEventListener("click", () => {
    if (source) return close();
    failure.replaceChildren();
    source = new EventSource(`${workspacePath(workspace.value)}/events`);
    setText(open, "Close the stream");
    setText(state, `Opening a stream of ${workspace.value}.`);
    const of = workspace.value;
    source.addEventListener("message", (event) => {
      setText(state, `A stream of ${of} is open.`);
      add("message", event);
    });
    for (const name of ["tidings.reset", "tidings.reconnect"]) source.addEventListener(name, (event) => add(name, event));
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) {
        setText(state, "The stream was lost: trying again.");
        return;
      }
      close();
      failure.replaceChildren(problem(new Error("The node refuses the stream: the name may be invalid, or the session has ended.")));
    });
  });

  const send = async (event) => {
    event.preventDefault();
    failure.replaceChildren();
    let parsed;
    try {
      const text = data.value.trim();
      if (text) JSON.parse(text);
      // The node keeps the text as it is written here.
      parsed = `{"workspace":${JSON.stringify(workspace.value)},"type":${JSON.stringify(type.value)}${text ? `,"data":${text}` : ""}}`;
    } catch {
      failure.replaceChildren(problem(new Error("The data is not JSON.")));
      return;
    }
    try {
      const { id } = await post("/api/console/publish", parsed);
      setText(published, `Published as ${id}.`);
    } catch (error) {
      failure.replaceChildren(problem(error));
    }
  };

  content.append(
    h("div", { class: "head" }, h("h1", {}, "Try it"), h("p", {}, "An event that you publish here reaches the clients of the workspace.")),
    h(
      "div",
      { class: "pair" },
      h(
        "form",
        { class: "panel stack", onsubmit: send },
        h("h2", {}, "Publish"),
        h("label", {}, "Workspace", workspace),
        h("label", {}, "Type (first member of the payload; may be empty)", type),
        h("label", {}, "Data (JSON)", data),
        failure,
        h("div", {}, h("button", { class: "main", type: "submit" }, "Publish")),
        published,
      ),
      h("section", { class: "panel stack" }, h("div", { class: "head" }, h("h2", {}, "Received"), open), node.payloads ? state : h("p", {}, "Payloads are kept out of the console (admin.payloads), so it opens no stream."), lines),
    ),
    h("section", { class: "panel stack" }, h("h2", {}, "The same in a terminal of the node's machine"), node.authenticated ? h("p", { class: "quiet" }, "$TOKEN is a token with the rights to read and to publish.") : null, noCommands, terminal),
  );
  open.hidden = !node.payloads;
  show();
  return close;
}
