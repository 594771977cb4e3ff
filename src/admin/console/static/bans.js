// The bans of all nodes, with their ends.

import { get, repeat } from "./api.js";
import { h, problem, setText, table } from "./dom.js";
import { counted, duration, time } from "./format.js";

const INTERVAL = 5000;

export function showBans(content, { refused }) {
  const state = h("p", { role: "status" }, "Reading the bans.");
  const failure = h("div");
  const { box, body } = table("The bans of all nodes, those that end first in front", [["User"], ["Workspace"], ["Token (jti)"], ["Ends"]]);
  content.append(
    h("div", { class: "head" }, h("h1", {}, "Bans"), state),
    h(
      "section",
      { class: "panel stack" },
      h("p", { class: "quiet" }, "A ban rejects the clients that have all properties of its row, on all nodes. It ends by itself."),
      failure,
      box,
    ),
  );
  const draw = ({ count: all, bans }) => {
    const cell = (text) => h("td", { class: text === null ? "name quiet" : "name" }, text ?? "any");
    const ends = ({ untilMs }) => h("td", { class: "nowrap" }, `${time(untilMs)} (in ${duration((untilMs - Date.now()) / 1000)})`);
    body.replaceChildren(...bans.map((ban) => h("tr", {}, cell(ban.user), cell(ban.workspace), cell(ban.jti), ends(ban))));
    box.hidden = all === 0;
    const more = all > bans.length ? ` The first ${bans.length} are shown.` : "";
    setText(state, all === 0 ? "There is no ban." : `${counted(all, "ban")}.${more}`);
  };
  return repeat(INTERVAL, async (signal) => {
    try {
      draw(await get("/api/console/bans", signal));
      failure.replaceChildren();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) refused(error);
      else failure.replaceChildren(problem(error));
    }
  });
}
