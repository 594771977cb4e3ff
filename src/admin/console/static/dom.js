// Elements. Texts of payloads, users and workspaces reach the page through here alone, as text.

/**
 * Creates an element. `properties` are attributes; `on…` is a listener. Children are nodes or
 * texts, and a text never becomes markup.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A text as nodes, with the parts in backticks as code. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? h("code", {}, part) : part));
}

/** Sets the text of an element, if it is another one. */
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** A table with a caption, in a box that scrolls by itself. `columns` are texts or elements. */
export function table(caption, columns) {
  const cells = columns.map(([name, kind]) =>
    h("th", { scope: "col", class: kind ?? null }, typeof name === "string" ? name : name),
  );
  const body = h("tbody");
  const element = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, cells)), body);
  return { box: h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, element), body, cells };
}

/** A list of names and values, with the elements of the values by name. */
export function facts(names) {
  const values = new Map(names.map((name) => [name, h("dd")]));
  const rows = names.flatMap((name) => [h("dt", {}, name), values.get(name)]);
  return { list: h("dl", { class: "facts" }, rows), set: (name, text) => setText(values.get(name), text), at: (name) => values.get(name) };
}

/** The problem of a request, for the reader. */
export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, error.message);
}
