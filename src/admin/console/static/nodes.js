// The list of nodes that share the bus.

import { get, repeat } from "./api.js";
import { h, problem, setText, table } from "./dom.js";
import { age, count } from "./format.js";

const INTERVAL = 3000;

/** A link to the console of a node. Its URL comes over the bus, so other schemes are texts. */
function consoleLink(node) {
  const url = URL.canParse(node.url ?? "") ? new URL(node.url) : null;
  if (!["http:", "https:"].includes(url?.protocol)) return node.node;
  return h("a", { href: url.href, rel: "noopener noreferrer", target: "_blank" }, node.node);
}

export function showNodes(content, { refused }) {
  const { box, body } = table("Nodes that use the same bus", [
    ["Node"],
    ["State"],
    ["Version"],
    ["Started"],
    ["Connections", "number"],
    ["Streams", "number"],
    ["Workspaces", "number"],
  ]);
  const state = h("p", { role: "status" }, "Asking all nodes.");
  const failure = h("div");
  content.append(
    h("div", { class: "head" }, h("h1", {}, "Nodes"), state),
    h("section", { class: "panel stack" }, failure, box),
  );
  const row = (node, here, silent) => {
    const [kind, text] = silent
      ? ["bad", "no reply within a second"]
      : node.ready
        ? ["good", "ready"]
        : ["bad", `not ready: ${node.notReadyBecause.join("; ")}`];
    const number = (value) => h("td", { class: "number nowrap" }, count(value));
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, consoleLink(node), here ? " (this node)" : null),
      h("td", {}, h("span", { class: `dot ${kind}`, "aria-hidden": "true" }), text),
      h("td", { class: "nowrap" }, node.version),
      h("td", { class: "nowrap" }, age(node.startedMs)),
      number(node.connections),
      number(node.subscribers),
      number(node.workspaces),
    );
  };
  const draw = ({ here, nodes, silent, unreadable, error }) => {
    const focused = document.activeElement?.closest?.("tr")?.querySelector("th")?.textContent;
    body.replaceChildren(...nodes.map((node) => row(node, node.node === here, silent.includes(node.node))));
    // The rows are new, so the focus returns to the link of the same node.
    if (focused) [...body.querySelectorAll("th")].find((cell) => cell.textContent === focused)?.querySelector("a")?.focus();
    const replied = nodes.length - silent.length;
    setText(state, `${count(replied)} of ${count(nodes.length)} nodes replied.`);
    const notes = [];
    if (error) notes.push(problem(new Error(`The other nodes could not be asked: ${error}`)));
    if (unreadable > 0) {
      notes.push(h("p", { class: "quiet" }, `${count(unreadable)} texts on the bus are no announcement or reply.`));
    }
    failure.replaceChildren(...notes);
  };
  return repeat(INTERVAL, async (signal) => {
    try {
      draw(await get("/api/console/nodes", signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) refused(error);
      else failure.replaceChildren(problem(error));
    }
  });
}
