// One workspace: its log, its streams, its recent events.

import { get, post, repeat, workspacePath } from "./api.js";
import { facts, h, problem, setText, table } from "./dom.js";
import { age, bytes, count, counted, duration, time } from "./format.js";

const INTERVAL = 2000;

const LOG = ["Length", "Oldest event", "Newest event", "Span"];
const HERE = ["Streams", "Events", "In memory", "Subscription", "Head"];

const NO_BAN = ["", "no ban"];
const BANS = [
  ["60", "1 minute"],
  ["600", "10 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
];

/** Asks before it disconnects. `selector` is the command without `for`, `bans` the choices of a ban. */
function confirmDisconnect(text, selector, bans, done) {
  const isBan = bans.length > 0 && !bans.includes(NO_BAN);
  const ban = h("select", { name: "ban" }, bans.map(([value, name]) => h("option", { value }, name)));
  const failure = h("div");
  const dialog = h("dialog", { "aria-labelledby": "question" });
  const go = async () => {
    const seconds = Number(ban.value);
    try {
      await post("/api/console/disconnect", { disconnect: seconds > 0 ? { ...selector, for: seconds } : selector });
      dialog.close();
      done();
    } catch (error) {
      failure.replaceChildren(problem(error));
    }
  };
  dialog.append(
    h(
      "div",
      { class: "stack" },
      h("h2", { id: "question" }, isBan ? "Ban?" : "Disconnect?"),
      h("p", {}, text),
      bans.length > 0 ? h("label", {}, isBan ? "For" : "Ban", ban) : null,
      isBan ? null : h("p", { class: "quiet" }, "Without a ban, a client may connect again at once."),
      failure,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "danger", onclick: go }, isBan ? "Ban" : "Disconnect"),
        h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Cancel"),
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function streamsPanel(workspace, done) {
  const { box, body } = table("The streams of this workspace on this node, those that lack most first", [
    ["User"],
    ["Client"],
    ["Open for", "number"],
    ["Behind", "number"],
    ["Position"],
    ["Received", "number"],
    ["Writer"],
    ["Types"],
    [h("span", { class: "visually-hidden" }, "Actions")],
  ]);
  const all = h("button", {
    type: "button",
    class: "danger small",
    onclick: () => confirmDisconnect(`All streams of ${workspace}, on all nodes, end.`, { workspace }, [NO_BAN, ...BANS], done),
  }, "Disconnect all…");
  const title = h("h2", {}, "Streams");
  const more = h("p", { class: "quiet" });
  const element = h("section", { class: "panel" }, h("div", { class: "head" }, title, all), box, more);
  const rows = new Map();
  const row = ({ connection, user }) => {
    const cells = Array.from({ length: 8 }, (_, index) => h("td", { class: index === 2 ? "number nowrap" : [3, 5].includes(index) ? "number" : [0, 7].includes(index) ? "name" : "nowrap" }));
    const end = h("button", {
      type: "button",
      class: "small",
      onclick: () => confirmDisconnect(`The stream ${connection} ends.`, { connection }, [], done),
    }, "Disconnect…");
    const ban = user === null ? null : h("button", {
      type: "button",
      class: "small danger",
      onclick: () => confirmDisconnect(`All streams of the user ${user} in this workspace, on all nodes, end, and new ones are refused.`, { user, workspace }, BANS, done),
    }, "Ban user…");
    return { element: h("tr", {}, cells, h("td", { class: "nowrap" }, end, " ", ban)), cells };
  };
  const behind = ({ phase, eventsBehind, bytesBehind }) => {
    if (phase !== "following") return phase;
    if (!eventsBehind) return "nothing";
    return bytesBehind === null ? counted(eventsBehind, "event") : `${counted(eventsBehind, "event")}, ${bytes(bytesBehind)}`;
  };
  const update = ({ streams, streamCount, payloads }) => {
    setText(title, `Streams (${count(streamCount)})`);
    all.disabled = streamCount === 0;
    const shown = streams.map((stream) => {
      const entry = rows.get(stream.connection) ?? row(stream);
      rows.set(stream.connection, entry);
      const client = stream.address.startsWith(`${stream.client}:`) || stream.address.startsWith(`[${stream.client}]:`)
        ? stream.address
        : `${stream.client} by ${stream.address}`;
      const texts = [
        stream.user ?? "none",
        client,
        duration(stream.seconds),
        behind(stream),
        stream.position ?? "–",
        `${counted(stream.events, "event")}, ${bytes(stream.bytes)}`,
        stream.writer,
        payloads ? (stream.types?.join(", ") ?? "all") : "hidden",
      ];
      texts.forEach((text, index) => setText(entry.cells[index], text));
      entry.cells[0].classList.toggle("quiet", stream.user === null);
      return entry.element;
    });
    const known = new Set(streams.map(({ connection }) => connection));
    for (const connection of rows.keys()) if (!known.has(connection)) rows.delete(connection);
    if (shown.length !== body.children.length || shown.some((line, index) => body.children[index] !== line)) {
      const focused = document.activeElement;
      body.replaceChildren(...shown);
      if (shown.some((line) => line.contains(focused))) focused.focus();
    }
    const hidden = streamCount - streams.length;
    setText(more, streamCount === 0 ? "No stream is open." : hidden > 0 ? `${counted(hidden, "further stream")} not shown.` : "");
    box.hidden = streamCount === 0;
  };
  return { element, update };
}

function eventsPanel(again) {
  let isPrivate = false;
  const list = h("ul", { class: "events" });
  const none = h("p", { class: "quiet" });
  const show = h("button", { type: "button", class: "small", "aria-pressed": "false", hidden: true });
  const element = h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Recent events"), show), none, list);
  let rows = new Map();
  show.addEventListener("click", () => {
    isPrivate = !isPrivate;
    show.setAttribute("aria-pressed", String(isPrivate));
    rows = new Map();
    again();
  });
  const row = (event) => {
    const name = event.kind === "reset" ? `reset: ${event.eventType}` : event.eventType ?? (event.hidden ? "payload hidden" : event.payload === undefined ? "no data" : "no type");
    const line = [
      h("span", { class: "kind" }, name),
      event.private ? h("span", { class: "badge private" }, "private") : null,
      h("span", { class: "badge" }, event.kind),
      h("span", { class: "quiet nowrap" }, event.atMs === undefined ? "" : time(event.atMs)),
      h("span", { class: "quiet nowrap" }, bytes(event.bytes)),
      h("span", { class: "quiet mono" }, event.id),
    ];
    if (event.payload === undefined) return h("li", {}, h("p", { class: "line" }, line));
    return h(
      "li",
      {},
      h(
        "details",
        {},
        h("summary", {}, line),
        event.users ? h("p", {}, `For: ${event.users.join(", ")}`) : null,
        h("pre", { tabindex: "0" }, event.payload),
        event.truncated ? h("p", { class: "quiet" }, "The rest of the payload is not shown.") : null,
      ),
    );
  };
  const update = ({ events, payloads }) => {
    // Events that are known keep their element, and so their folded state.
    const shown = events.map((event) => {
      const key = `${event.kind} ${event.id}`;
      const entry = rows.get(key) ?? row(event);
      rows.set(key, entry);
      return entry;
    });
    const known = new Set(events.map((event) => `${event.kind} ${event.id}`));
    for (const key of rows.keys()) if (!known.has(key)) rows.delete(key);
    if (shown.length !== list.children.length || shown.some((line, index) => list.children[index] !== line)) {
      const focused = document.activeElement;
      list.replaceChildren(...shown);
      if (shown.some((line) => line.contains(focused))) focused.focus();
    }
    show.hidden = !payloads || !events.some((event) => event.private);
    setText(show, isPrivate ? "Hide private payloads" : "Show private payloads");
    setText(none, events.length === 0 ? "No event in the log, and none in the memory of this node." : payloads ? "" : "Payloads are kept out of the console (admin.payloads).");
  };
  return { element, update, isPrivate: () => isPrivate };
}

export function showWorkspace(content, { one: workspace, refused }) {
  let stop = () => {};
  const restart = () => {
    stop();
    stop = repeat(INTERVAL, read);
  };
  const failure = h("div");
  const log = facts(LOG);
  const here = facts(HERE);
  const streams = streamsPanel(workspace, restart);
  const events = eventsPanel(restart);
  const logProblem = h("p", { class: "bad" });
  content.append(
    h(
      "div",
      { class: "head" },
      h("h1", {}, workspace),
      h("p", {}, h("a", { href: `#/try/${encodeURIComponent(workspace)}` }, "Try it"), " · ", h("a", { href: "#/workspaces" }, "All workspaces")),
    ),
    failure,
    h(
      "div",
      { class: "pair" },
      h("section", { class: "panel" }, h("h2", {}, "Log"), logProblem, log.list),
      h("section", { class: "panel" }, h("h2", {}, "On this node"), here.list),
    ),
    streams.element,
    events.element,
  );
  const draw = (found) => {
    const { log: size, onNode } = found;
    setText(logProblem, size.error ? `The log cannot be read: ${size.error}` : "");
    log.set("Length", size.length === undefined || size.length === null ? "not known" : counted(size.length, "event"));
    log.set("Oldest event", size.oldest ? `${size.oldest} (${age(size.oldestMs)})` : "–");
    log.set("Newest event", size.newest ? `${size.newest} (${age(size.newestMs)})` : "–");
    log.set("Span", size.oldest ? duration((size.newestMs - size.oldestMs) / 1000) : "–");
    here.set("Streams", onNode ? count(onNode.streams) : "none: this node does not hold the workspace");
    here.set("Events", onNode ? `${count(onNode.events)}, ${bytes(onNode.eventBytes)}` : "–");
    here.set("In memory", onNode ? bytes(onNode.ringBytes) : "–");
    here.set("Subscription", onNode ? (onNode.confirmed ? "confirmed" : "pending") : "–");
    here.set("Head", onNode ? onNode.head : "–");
    streams.update(found);
    events.update(found);
  };
  async function read(signal) {
    try {
      draw(await get(`${workspacePath(workspace)}?private=${events.isPrivate()}`, signal));
      failure.replaceChildren();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) refused(error);
      else failure.replaceChildren(problem(error));
    }
  }
  restart();
  return () => stop();
}
