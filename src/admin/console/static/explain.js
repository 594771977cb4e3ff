// Why a client gets nothing, and what happened to an event: all nodes are asked.

import { get, post } from "./api.js";
import { facts, h, problem, prose, table } from "./dom.js";
import { bytes, count, duration, time } from "./format.js";

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/;
const TICKET = /^[0-9a-f]{64}$/;
const POSITION = /^\d+-\d+(\.[a-z0-9]{12})?(~[a-z0-9]{8}\.\d+)?$/;

/** The kind of a pasted text. */
export function kindOf(text) {
  if (text === "") return "nothing";
  if (POSITION.test(text)) return "event";
  if (TOKEN.test(text)) return "token";
  if (TICKET.test(text)) return "ticket";
  return "position";
}

const KINDS = {
  nothing: "Nothing pasted: the streams of the user are explained.",
  token: "This is a token. It is checked on this node and sent to no other.",
  ticket: "This is a ticket. It is read on the bus and stays valid, and is sent to no other node.",
  event: "This is an event id: its trace, and what a client gets that continues after it.",
  position: "This is no event id of a node: what a client gets that sends it as its Last-Event-ID.",
};

const PLACES = {
  ring: "in memory",
  older: "older than its memory",
  notYet: "not received yet",
  missing: "not in its memory",
  otherNode: "another node named it",
};

const SOURCES = { ring: "events from memory", log: "events from the log", reset: "a reset", unread: "the log was not read" };

const cell = (text, kind) => h("td", { class: kind ?? null }, text);
const number = (value) => cell(value === null || value === undefined ? "–" : count(value), "number nowrap");

function streamTable(caption, streams) {
  const { box, body } = table(caption, [
    ["Stream"],
    ["User"],
    ["Client"],
    ["Open for"],
    ["Phase"],
    ["Lacks events", "number"],
    ["Lacks bytes", "number"],
    ["Types"],
  ]);
  const row = (stream) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, stream.connection),
      cell(stream.user ?? "–"),
      cell(stream.client, "nowrap"),
      cell(duration(stream.seconds), "nowrap"),
      cell(stream.phase, "nowrap"),
      number(stream.eventsBehind),
      cell(stream.bytesBehind === null ? "–" : bytes(stream.bytesBehind), "number nowrap"),
      cell(stream.types?.join(", ") ?? (stream.filtered ? "some" : "all")),
    );
  body.append(...streams.map(row));
  return box;
}

/** The nodes that did not reply, and faults of the bus. */
function gaps({ silent, unreadable, error }) {
  const notes = [];
  if (silent.length > 0) notes.push(problem(new Error(`No reply within a second from ${silent.join(", ")}.`)));
  if (error) notes.push(problem(new Error(`The other nodes could not be asked: ${error}`)));
  if (unreadable > 0) notes.push(h("p", { class: "quiet" }, `${count(unreadable)} texts on the bus are no reply.`));
  return notes;
}

function traceSection(traced) {
  const { list, set } = facts(["Workspace", "Came", "Payload", "Log"]);
  const privacy = { true: "private", false: "for all users" };
  const known = traced.log?.held ? traced.log : traced.nodes.find((node) => node.bytes !== null);
  set("Workspace", traced.workspace);
  set("Came", traced.atMs === null ? "a live event is in no log" : `${time(traced.atMs)} by the clock of the bus`);
  set("Payload", known ? `${bytes(known.bytes ?? 0)}, ${privacy[known.private] ?? "unknown"}` : "unknown");
  set("Log", traced.log === null ? "not in a log" : (traced.log.error ?? (traced.log.held ? "has it" : "does not have it")));
  const { box, body } = table("The event on each node", [
    ["Node"],
    ["Event"],
    ["Received"],
    ["Written", "number"],
    ["Behind", "number"],
    ["Hidden", "number"],
    ["Past", "number"],
  ]);
  const row = (node) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, node.node),
      cell(node.place === null ? "the node does not hold the workspace" : (PLACES[node.place] ?? node.place)),
      cell(node.receivedMs === null ? "–" : time(node.receivedMs), "nowrap"),
      number(node.written),
      number(node.behind),
      number(node.hidden),
      number(node.past),
    );
  body.append(...traced.nodes.map(row));
  const slowest = traced.nodes.flatMap((node) => node.slowest);
  return h(
    "section",
    { class: "panel stack", "aria-label": "The event" },
    h("h2", {}, "The event"),
    h("p", { class: "verdict" }, traced.summary),
    list,
    gaps(traced),
    box,
    h("p", { class: "quiet" }, "Streams that are open now. Written: they were open when the node received the event. Past: they began after it, or got it in a replay."),
    slowest.length > 0 ? streamTable("Streams that lack the event, the slowest first", slowest) : null,
  );
}

function tokenPart(token) {
  const { box, body } = table("The checks of the token", [["Check"], ["Seen"], ["Result"]]);
  const row = (check) =>
    h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, check.check),
      cell(check.seen),
      h("td", {}, h("span", { class: `dot ${check.fault ? "bad" : "good"}`, "aria-hidden": "true" }), check.fault ?? "passed"),
    );
  body.append(...token.checks.map(row));
  return box;
}

function ticketPart(ticket) {
  const { list, set } = facts(["Ticket", "Workspace", "User", "Valid until", "Stream until"]);
  const at = (milliseconds, none) => (milliseconds === null ? none : time(milliseconds));
  set("Ticket", ticket.fault ?? "opens one stream");
  set("Workspace", ticket.workspace ?? "–");
  set("User", ticket.user ?? "–");
  set("Valid until", at(ticket.untilMs, "–"));
  set("Stream until", ticket.workspace === null ? "–" : at(ticket.streamUntilMs, "no end"));
  return list;
}

function clientSection(explained) {
  const { box, body } = table("The client on each node", [
    ["Node"],
    ["Workspace"],
    ["Streams of the user", "number"],
    ["Streams of the workspace", "number"],
    ["Ban"],
    ["After the position"],
  ]);
  const of = (open, limit) => (limit > 0 ? `${count(open)} of ${count(limit)}` : count(open));
  const held = { true: "held", false: "waits for the bus" };
  const row = (node) => {
    const { resumption } = node;
    const after = resumption ? `${SOURCES[resumption.from] ?? resumption.from}${resumption.reason ? ` (${resumption.reason})` : ""}` : "–";
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "name" }, node.node),
      cell(held[node.confirmed] ?? "not held"),
      cell(of(node.open.user, node.limits.user), "number nowrap"),
      cell(of(node.open.workspace, node.limits.workspace), "number nowrap"),
      cell(node.bannedUntilMs === null ? "none" : `until ${time(node.bannedUntilMs)}`),
      cell(after),
    );
  };
  body.append(...explained.nodes.map(row));
  const lacking = (stream) => stream.eventsBehind ?? 0;
  const streams = explained.nodes.flatMap((node) => node.streams).sort((one, other) => lacking(other) - lacking(one));
  const refusals = explained.nodes.flatMap((node) => node.refusals).sort((one, other) => other.atMs - one.atMs);
  const refusal = ({ atMs, request, client, status, reason, check }) =>
    h("li", {}, `${time(atMs)}: ${request} of ${client}, ${status} (${[reason, check].filter(Boolean).join(", ")})`);
  return h(
    "section",
    { class: "panel stack", "aria-label": "The client" },
    h("h2", {}, "The client"),
    h("p", { class: "verdict" }, prose(explained.verdict)),
    explained.note ? h("p", {}, explained.note) : null,
    gaps(explained),
    explained.token ? tokenPart(explained.token) : null,
    explained.ticket ? ticketPart(explained.ticket) : null,
    box,
    streams.length > 0 ? streamTable("Open streams, the slowest first", streams) : null,
    refusals.length > 0 ? h("h3", {}, "Rejected requests") : null,
    refusals.length > 0 ? h("ul", {}, refusals.map(refusal)) : null,
  );
}

export function showExplain(content, { one, refused }) {
  const text = (name, properties) =>
    h("input", { type: "text", name, autocomplete: "off", spellcheck: "false", ...properties });
  const pasted = text("pasted", { maxlength: "8192" });
  const workspace = text("workspace", { maxlength: "128", value: one ?? "" });
  const user = text("user", { maxlength: "256" });
  const kind = h("p", { class: "quiet", role: "status" }, KINDS.nothing);
  const results = h("div", { class: "stack", "aria-live": "polite" });
  const button = h("button", { class: "main", type: "submit" }, "Explain");
  let asking = new AbortController();
  // A copied header has the token behind its scheme.
  const given = () => pasted.value.trim().replace(/^Bearer\s+/i, "");
  pasted.addEventListener("input", () => kind.replaceChildren(KINDS[kindOf(given())]));

  const trace = async (event, signal) => {
    const query = new URLSearchParams({ event, workspace: workspace.value.trim() });
    return traceSection(await get(`/api/console/trace?${query}`, signal));
  };
  const client = async (part) => {
    const request = { workspace: workspace.value.trim(), ...part };
    if (user.value.trim()) request.user = user.value.trim();
    return clientSection(await post("/api/console/explain", request));
  };
  const ask = async (event) => {
    event.preventDefault();
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const value = given();
    const hasWorkspace = workspace.value.trim() !== "";
    const works = {
      event: () => [trace(value, signal), ...(hasWorkspace ? [client({ lastEventId: value })] : [])],
      token: () => [client({ token: value })],
      ticket: () => [client({ ticket: value })],
      position: () => [client({ lastEventId: value })],
      nothing: () => [client({})],
    };
    const parts = works[kindOf(value)]();
    results.replaceChildren(h("p", { class: "quiet" }, "Asking all nodes."));
    const settled = await Promise.allSettled(parts);
    if (signal.aborted) return;
    const ended = settled.find(({ reason }) => reason?.status === 401);
    if (ended) return refused(ended.reason);
    results.replaceChildren(...settled.map(({ value: section, reason }) => section ?? problem(reason)));
  };
  content.append(
    h("div", { class: "head" }, h("h1", {}, "Explain")),
    h(
      "form",
      { class: "panel stack", onsubmit: ask },
      h("label", {}, "Token, ticket, Last-Event-ID or event id", pasted),
      kind,
      h("label", {}, "Workspace (a ticket or an event id in memory finds it)", workspace),
      h("label", {}, "User (a token or ticket names its own)", user),
      h("div", {}, button),
    ),
    results,
  );
  return () => asking.abort();
}
