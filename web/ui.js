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

/** Show a screen. The focus stays on the element with the same id. @param {...Node} nodes */
export function show(...nodes) {
  const focused = document.activeElement?.id;
  document.getElementById("main")?.replaceChildren(...nodes);
  if (focused) document.getElementById(focused)?.focus();
}

/** Tell a screen reader what has changed. @param {string} text */
export function announce(text) {
  const status = document.getElementById("status");
  if (status && status.textContent !== text) status.textContent = text;
}

/**
 * Open a dialog with a form. Closed, it leaves the document.
 * @param {string} title @param {(Node|false|null|undefined)[]} fields @param {string} action the text of its button
 * @param {(form: FormData) => Promise<void>} send what the button does; a failure is shown in the dialog
 * @returns {HTMLDialogElement}
 */
export function dialog(title, fields, action, send) {
  const problem = h("div");
  const button = /** @type {HTMLButtonElement} */ (h("button", { class: "primary" }, action));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await send(new FormData(/** @type {HTMLFormElement} */ (event.target)));
      box.close();
    } catch (error) {
      problem.replaceChildren(failure(error));
      button.disabled = false;
    }
  };
  const box = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-label": title, onclose: () => box.remove() },
    h("form", { onsubmit: submit }, h("h2", {}, title), ...fields, problem, h("p", { class: "buttons" }, button, h("button", { type: "button", onclick: () => box.close() }, "Cancel")))));
  document.body.append(box);
  box.showModal();
  return box;
}

/** Return a table. @param {string[]} heads @param {Node[][]} rows */
export function table(heads, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell, index) => h("td", { "data-head": heads[index] }, cell))))));
}

/** Return the last part of a resource id. @param {string} id */
export const nameOf = (id) => id.split("/").pop() ?? id;

/** Return the port numbers of a list of ports. @param {any[]} ports */
export const numbersOf = (ports) => ports.map((port) => port.number).join(", ");

/** Say what went wrong and what to do. @param {any} error */
export function failure(error) {
  const lines = (error.details ?? []).map((/** @type {any} */ detail) => h("li", {}, detail.message));
  return h("div", { role: "alert", class: "bad" }, h("p", {}, error.message), h("ul", {}, ...lines), h("p", {}, error.advice ?? "Try again."));
}
