// The list of workspaces.

import { get, repeat } from "./api.js";
import { h, problem, setText, table } from "./dom.js";
import { bytes, count, counted, rate } from "./format.js";

const INTERVAL = 2000;
const ROWS = 100;

/** The ids of workspaces. */
const WORKSPACE_ID = /^[A-Za-z0-9._~-]{1,128}$/;

const ORDERS = { connections: "Streams", events: "Events/s", bytes: "Bytes/s" };

export function showWorkspaces(content, { refused }) {
  let sort = "connections";
  let stop = () => {};
  const search = h("input", { type: "search", name: "search", autocomplete: "off", spellcheck: "false", maxlength: "128" });
  const button = (order) => h("button", { type: "button", onclick: () => order_by(order) }, ORDERS[order]);
  const { box, body, cells } = table(`The first ${ROWS} workspaces of this node, the largest first`, [
    ["Workspace"],
    [button("connections"), "number"],
    [button("events"), "number"],
    [button("bytes"), "number"],
    ["In memory", "number"],
    ["Subscription"],
  ]);
  const state = h("p", { role: "status" }, "Reading the list.");
  const failure = h("div");
  // A workspace without streams is in no list, and may have a log all the same.
  const unlisted = h("p");
  content.append(
    h("div", { class: "head" }, h("h1", {}, "Workspaces"), state),
    h("section", { class: "panel stack" }, h("label", {}, "Search by name", search), unlisted, failure, box),
  );

  const rows = new Map();
  const row = (id) => {
    const values = Array.from({ length: 5 }, (_, index) => h("td", { class: index < 4 ? "number nowrap" : "nowrap" }));
    const name = h("th", { scope: "row", class: "name" }, h("a", { href: `#/workspaces/${encodeURIComponent(id)}` }, id));
    return { element: h("tr", {}, name, values), values };
  };
  const draw = ({ count: all, matched, workspaces }) => {
    const shown = workspaces.map((workspace) => {
      const entry = rows.get(workspace.id) ?? row(workspace.id);
      rows.set(workspace.id, entry);
      const texts = [
        count(workspace.streams),
        rate(workspace.eventsPerSecond),
        bytes(workspace.bytesPerSecond),
        bytes(workspace.ringBytes),
        workspace.confirmed ? "confirmed" : "pending",
      ];
      texts.forEach((text, index) => setText(entry.values[index], text));
      return entry.element;
    });
    const ids = new Set(workspaces.map(({ id }) => id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
    // Rows that keep their place are not touched, so that focus and selection stay.
    if (shown.length !== body.children.length || shown.some((element, index) => body.children[index] !== element)) {
      const focused = document.activeElement;
      body.replaceChildren(...shown);
      if (shown.some((element) => element.contains(focused))) focused.focus();
    }
    if (all === 0) setText(state, "This node holds no workspace: no stream is open.");
    else if (search.value.trim()) setText(state, `${count(matched)} of ${counted(all, "workspace")} match.`);
    else setText(state, `${counted(all, "workspace")} on this node.`);
    const id = search.value.trim();
    const isUnlisted = WORKSPACE_ID.test(id) && !ids.has(id);
    const link = isUnlisted ? h("a", { href: `#/workspaces/${encodeURIComponent(id)}` }, `Open ${id}`) : null;
    if (unlisted.textContent !== (link?.textContent ?? "")) unlisted.replaceChildren(...(link ? [link] : []));
  };
  const read = async (signal) => {
    const query = new URLSearchParams({ search: search.value, sort, limit: ROWS });
    try {
      draw(await get(`/api/console/workspaces?${query}`, signal));
      failure.replaceChildren();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) refused(error);
      else failure.replaceChildren(problem(error));
    }
  };
  const restart = () => {
    stop();
    stop = repeat(INTERVAL, read);
  };
  function order_by(order) {
    sort = order;
    Object.keys(ORDERS).forEach((key, index) => {
      if (key === sort) cells[index + 1].setAttribute("aria-sort", "descending");
      else cells[index + 1].removeAttribute("aria-sort");
    });
    restart();
  }
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(restart, 200);
  });
  order_by(sort);
  return () => {
    clearTimeout(typing);
    stop();
  };
}
