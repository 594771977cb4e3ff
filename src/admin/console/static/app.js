// The page: its views, its session, and the stream of figures that all views share.

import { get, post, remove } from "./api.js";
import { showBans } from "./bans.js";
import { h, problem, setText } from "./dom.js";
import { showExplain } from "./explain.js";
import { counted } from "./format.js";
import { showNodes } from "./nodes.js";
import { showOverview } from "./overview.js";
import { showTrial } from "./trial.js";
import { showWorkspace } from "./workspace.js";
import { showWorkspaces } from "./workspaces.js";

const VIEWS = [
  { path: "overview", name: "Overview", show: showOverview },
  { path: "workspaces", name: "Workspaces", show: showWorkspaces, showOne: showWorkspace },
  { path: "bans", name: "Bans", show: showBans },
  { path: "explain", name: "Explain", show: showExplain, showOne: showExplain },
  { path: "nodes", name: "Nodes", show: showNodes },
  { path: "try", name: "Try it", show: showTrial, showOne: showTrial },
];

const content = document.getElementById("content");
const status = document.getElementById("status");
const leave = document.getElementById("leave");
const foot = document.getElementById("foot");

/** What all views share: the facts of the node, and the latest figures with their samples. */
const shared = { node: null, overview: null, history: null, listeners: new Set() };

let source = null;
let stopView = () => {};
let shownHash = null;

function setStatus(kind, text) {
  if (status.dataset.text === text) return;
  status.dataset.text = text;
  status.replaceChildren(h("span", { class: `dot ${kind}`, "aria-hidden": "true" }), text);
}

function showReadiness(overview) {
  if (!overview.ready) {
    setStatus("bad", `Not ready: ${overview.notReadyBecause.join("; ")}`);
  } else if (overview.warnings.length > 0) {
    setStatus("warn", counted(overview.warnings.length, "warning"));
  } else {
    setStatus("good", "Ready");
  }
}

/** Adds the newest sample to the plots, without a request for all of them. */
function extendHistory(overview) {
  const history = shared.history;
  const last = history?.atMs.at(-1);
  if (!history || (last && overview.atMs - last < history.seconds * 1000)) return;
  const sample = {
    atMs: overview.atMs,
    connections: overview.connections,
    streams: overview.streams,
    behind: overview.streamsBehind,
    residentBytes: overview.memory[0].bytes,
    busUp: overview.bus.state === "up" ? 1 : 0,
    events: overview.eventsPerSecond,
    deliveries: overview.deliveriesPerSecond,
    rejections: overview.rejectionsPerSecond,
    resets: overview.resetsPerSecond,
  };
  for (const [name, value] of Object.entries(sample)) {
    history[name].push(value);
    if (history[name].length > 180) history[name].shift();
  }
}

function openFeed() {
  if (source || document.hidden || !shared.node) return;
  source = new EventSource("/api/console/stream");
  source.addEventListener("history", (event) => {
    shared.history = JSON.parse(event.data);
  });
  source.addEventListener("overview", (event) => {
    shared.overview = JSON.parse(event.data);
    extendHistory(shared.overview);
    showReadiness(shared.overview);
    for (const listener of shared.listeners) listener();
  });
  source.addEventListener("error", async () => {
    setStatus("bad", "No connection to the node: trying again");
    if (source?.readyState !== EventSource.CLOSED) return;
    closeFeed();
    // The session may have ended, or too many pages are open.
    try {
      await get("/api/console/node");
      setTimeout(openFeed, 5000);
    } catch (error) {
      if (error.status === 401) showEntry(error);
      else setTimeout(openFeed, 5000);
    }
  });
}

function closeFeed() {
  source?.close();
  source = null;
}

function showEntry(error, used = false) {
  stopView();
  stopView = () => {};
  closeFeed();
  shared.node = null;
  leave.hidden = true;
  setText(foot, "");
  setStatus("", "Signed out");
  const token = h("input", { type: "password", name: "token", autocomplete: "off", required: true });
  const failure = h("div");
  const enter = async (event) => {
    event.preventDefault();
    try {
      await post("/session", { token: token.value });
      await begin();
    } catch (refused) {
      failure.replaceChildren(problem(refused));
    }
  };
  const why = used
    ? "This link was used already, or ten minutes have passed. A restart of the node prints a new one."
    : error.message;
  content.replaceChildren(
    h(
      "section",
      { class: "panel entry stack" },
      h("h1", {}, "Sign in to the console"),
      h("p", {}, why),
      h(
        "form",
        { class: "stack", onsubmit: enter },
        h("label", {}, "Admin token (admin.token)", token),
        failure,
        h("div", {}, h("button", { class: "main", type: "submit" }, "Sign in")),
      ),
      h("p", { class: "quiet" }, "Without a token, start the node on a terminal: it prints a link that opens this page once."),
    ),
  );
}

/** Decodes a part of the address; null if it is malformed. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function route() {
  const [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const found = VIEWS.find(({ path }) => path === view) ?? VIEWS[0];
  return { found, one: rest.length > 0 && found.showOne ? decoded(rest.join("/")) : null };
}

function render(focus) {
  if (!shared.node || shownHash === location.hash) return;
  shownHash = location.hash;
  stopView();
  const { found, one } = route();
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.path === found.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${one ?? found.name} – Tidings console`;
  content.replaceChildren();
  stopView = (one === null ? found.show : found.showOne)(content, { shared, one, refused: (error) => showEntry(error) }) ?? (() => {});
  if (focus) content.focus();
}

async function begin() {
  const used = location.hash === "#/used";
  try {
    shared.node = await get("/api/console/node");
  } catch (error) {
    if (error.status === 401) return showEntry(error, used);
    content.replaceChildren(problem(error));
    setTimeout(begin, 3000);
    return;
  }
  if (used) history.replaceState(null, "", "#/overview");
  leave.hidden = false;
  setText(foot, `Node ${shared.node.node} · Tidings ${shared.node.version}`);
  shownHash = null;
  openFeed();
  render(false);
}

document.getElementById("views").append(
  ...VIEWS.map(({ path, name }) => h("li", {}, h("a", { href: `#/${path}`, "data-path": path }, name))),
);
document.getElementById("skip").addEventListener("click", () => content.focus());
leave.addEventListener("click", async () => {
  try {
    await remove("/session");
  } catch (error) {
    // A session that has ended already needs no end.
    if (error.status !== 401) return setStatus("bad", "You are still signed in: the node did not reply");
  }
  showEntry(new Error("You have signed out."));
});
window.addEventListener("hashchange", () => (shared.node ? render(true) : begin()));
document.addEventListener("visibilitychange", () => (document.hidden ? closeFeed() : openFeed()));
begin();
