// The overview: figures of the node with plots, the bus, memory, warnings and reasons.

import { facts, h, prose, setText, table } from "./dom.js";
import { age, bytes, count, counted, duration, rate, time } from "./format.js";
import { plot } from "./plot.js";

const TILES = [
  { name: "Connections", series: "connections", format: count, now: (o) => o.connections, note: (o) => `of ${count(o.connectionsMax)}; ${counted(o.streams, "stream")} in ${counted(o.workspaces, "workspace")}` },
  { name: "Deliveries per second", series: "deliveries", format: rate, now: (o) => o.deliveriesPerSecond, note: (o) => `${bytes(o.deliveredBytesPerSecond)}/s; ${count(o.deliveries)} since the start` },
  { name: "Events per second", series: "events", format: rate, now: (o) => o.eventsPerSecond, note: (o) => `${count(o.events)} since the start` },
  { name: "Streams behind", series: "behind", format: count, now: (o) => o.streamsBehind, note: (o) => `${bytes(o.memory.at(-1).bytes)} in buffers of unsent events` },
  { name: "Rejections per second", series: "rejections", format: rate, now: (o) => o.rejectionsPerSecond, note: () => "limits and authentication" },
  { name: "Resets per second", series: "resets", format: rate, now: (o) => o.resetsPerSecond, note: () => "events may be missing" },
];

function tile({ name, series, format, now, note }) {
  const figure = h("p", { class: "figure" }, "–");
  const text = h("p", { class: "note" });
  const { svg, draw } = plot(name, format);
  const box = h("section", { class: "panel tile" }, h("h2", {}, name), figure, text, svg);
  const update = (overview, history) => {
    setText(figure, format(now(overview)));
    setText(text, note(overview));
    if (history) draw(history[series]);
  };
  return { box, update };
}

const BUS = ["State", "Kind", "Since", "Lost links", "Last error"];
const STATES = { up: "up", down: "down", resubscribing: "subscribing again" };
const KINDS = { embedded: "embedded bus", redis: "Redis", "redis-cluster": "Redis Cluster" };

function busPanel() {
  const { list, set, at } = facts(BUS);
  const { svg, draw } = plot("Link to the bus", (up) => (up ? "up" : "down"));
  const box = h("section", { class: "panel" }, h("h2", {}, "Bus"), list, h("p", { class: "quiet" }, "Up or down, last 15 minutes"), svg);
  const update = ({ bus, uptimeSeconds }, history) => {
    if (history) draw(history.busUp);
    at("State").className = bus.state === "up" ? "good" : "bad";
    set("State", STATES[bus.state]);
    set("Kind", bus.server ? `${KINDS[bus.kind]}: ${bus.server}` : KINDS[bus.kind]);
    set("Since", `${time(Date.parse(bus.since))} (${age(Date.parse(bus.since))})`);
    set("Lost links", `${count(bus.interruptions)} in ${duration(uptimeSeconds)}`);
    set("Last error", bus.error ?? "none");
  };
  return { box, update };
}

function memoryPanel() {
  const { box: scroll, body } = table("In use, against the bound of each part", [["Part"], ["In use", "number"], ["Bound", "number"], [h("span", { class: "visually-hidden" }, "Share")]]);
  const rows = new Map();
  const row = (name) => {
    const [used, bound] = [h("td", { class: "number nowrap" }), h("td", { class: "number nowrap" })];
    const fill = h("span");
    const bar = h("div", { class: "bar-of", "aria-hidden": "true" }, fill);
    body.append(h("tr", {}, h("th", { scope: "row" }, name), used, bound, h("td", {}, bar)));
    return { used, bound, fill, bar };
  };
  const { svg, draw } = plot("Memory of the process", bytes);
  const update = ({ memory }, history) => {
    if (history) draw(history.residentBytes);
    for (const { name, bytes: used, max } of memory) {
      if (!rows.has(name)) rows.set(name, row(name));
      const cells = rows.get(name);
      setText(cells.used, bytes(used));
      setText(cells.bound, max === null ? "not known" : bytes(max));
      const share = max ? Math.min(1, used / max) : 0;
      cells.fill.style.width = `${(share * 100).toFixed(1)}%`;
      cells.bar.classList.toggle("full", share >= 0.9);
    }
  };
  return { box: h("section", { class: "panel" }, h("h2", {}, "Memory"), scroll, h("p", { class: "quiet" }, "Memory of the process, last 15 minutes"), svg), update };
}

function warningsPanel() {
  const now = h("div");
  const log = h("ul", { class: "events" });
  let shown = "";
  const box = h("section", { class: "panel" }, h("h2", {}, "Warnings"), now);
  const logBox = h("section", { class: "panel" }, h("h2", {}, "Last warnings of the log"), log);
  const update = ({ warnings, log: lines }) => {
    const text = JSON.stringify([warnings, lines]);
    if (text === shown) return;
    shown = text;
    const entry = ({ check, result, fix }) =>
      h("div", { class: "warning" }, h("p", {}, h("strong", {}, check), " – ", prose(result)), h("p", {}, prose(`To fix it: ${fix}.`)));
    now.replaceChildren(...(warnings.length > 0 ? warnings.map(entry) : [h("p", { class: "quiet" }, prose("None. `tidings check` also tries the bus, keys, files and your app."))]));
    const line = ({ level, message, fields, atMs, count: times }) =>
      h(
        "li",
        {},
        h("p", { class: "line" }, h("span", { class: "quiet nowrap" }, time(atMs)), h("span", { class: level === "ERROR" ? "bad" : "badge" }, level.toLowerCase()), times > 1 ? h("span", { class: "badge" }, `${count(times)} times`) : null),
        h("p", {}, prose(message)),
        fields ? h("p", { class: "mono quiet" }, fields) : null,
      );
    log.replaceChildren(...(lines.length > 0 ? lines.map(line) : [h("li", { class: "quiet" }, "No warning and no error since the start.")]));
  };
  return { box, logBox, update };
}

/** Tables of counts by reason; reasons that never came are left out. Recent ones come first. */
function reasonsPanel() {
  const groups = [
    ["Rejected by a limit", "refusals"],
    ["Rejected by authentication", "denials"],
    ["Resets", "resets"],
    ["Streams asked to reconnect", "reconnects"],
    ["Events dropped", "dropped"],
  ].map(([name, group]) => {
    const { box, body } = table(name, [["Reason"], ["15 minutes", "number"], ["Since the start", "number"]]);
    return { box, body, group, shown: "" };
  });
  const update = (overview) => {
    for (const group of groups) {
      const recent = overview.recent[group.group];
      const counts = Object.entries(overview[group.group])
        .filter(([, number]) => number > 0)
        .map(([reason, number]) => [reason, recent[reason] ?? 0, number]);
      const text = JSON.stringify(counts);
      if (text === group.shown) continue;
      group.shown = text;
      counts.sort(([, recent1, one], [, recent2, other]) => recent2 - recent1 || other - one);
      const rows = counts.map(([reason, now, all]) => h("tr", {}, h("th", { scope: "row" }, reason), h("td", { class: "number" }, count(now)), h("td", { class: "number" }, count(all))));
      group.body.replaceChildren(...(rows.length > 0 ? rows : [h("tr", {}, h("td", { class: "quiet", colspan: "3" }, "none"))]));
    }
  };
  return { box: h("section", { class: "panel" }, h("h2", {}, "Reasons"), h("div", { class: "pair" }, groups.map(({ box }) => box))), update };
}

export function showOverview(content, { shared }) {
  const tiles = TILES.map(tile);
  const [bus, memory, warnings, reasons] = [busPanel(), memoryPanel(), warningsPanel(), reasonsPanel()];
  const since = h("p");
  content.append(
    h("div", { class: "head" }, h("h1", {}, "Overview"), since),
    warnings.box,
    h("div", { class: "tiles" }, tiles.map(({ box }) => box)),
    h("div", { class: "pair" }, bus.box, memory.box),
    reasons.box,
    warnings.logBox,
  );
  const update = () => {
    const { overview, history } = shared;
    if (!overview) return;
    setText(since, `Running for ${duration(overview.uptimeSeconds)}. Plots show the last 15 minutes.`);
    for (const { update } of tiles) update(overview, history);
    for (const { update } of [bus, memory, warnings, reasons]) update(overview, history);
  };
  shared.listeners.add(update);
  update();
  return () => shared.listeners.delete(update);
}
