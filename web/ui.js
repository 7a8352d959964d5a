// Elements and times. Text reaches the document as text alone: nothing here parses markup.

/**
 * Make an element. Children are elements or text.
 * @param {string} tag
 * @param {Record<string, any>} [props] `on...` are handlers, the rest attributes
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child || child === 0).map((child) => (child instanceof Node ? child : isolate(String(child)))));
  return element;
}

/** Keep right-to-left letters of a name from turning the text beside it. @param {string} text */
function isolate(text) {
  return /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text) ? h("bdi", {}, document.createTextNode(text)) : document.createTextNode(text);
}

/** Show a screen. @param {...Node} nodes */
export function show(...nodes) {
  document.getElementById("main")?.replaceChildren(...nodes);
}

/** Return a table. @param {string[]} heads @param {Node[][]} rows */
export function table(heads, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell))))));
}

/** Return the last part of a resource id. @param {string} id */
export const nameOf = (id) => id.split("/").pop() ?? id;

/** Return a time of day; with its date where that is not today. @param {string} instant */
export function clock(instant) {
  const at = new Date(instant);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

/** Say what went wrong and what to do. @param {any} error */
export function failure(error) {
  const lines = (error.details ?? []).map((/** @type {any} */ detail) => h("li", {}, detail.message));
  return h("div", { role: "alert", class: "bad" }, h("p", {}, error.message), h("ul", {}, ...lines), h("p", {}, error.advice ?? "Try again."));
}
