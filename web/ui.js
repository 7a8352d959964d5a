// Elements, times in words, and screens that keep in step with the API. Text reaches the document as text
// alone: nothing here parses markup.

/**
 * Make an element. Children are elements or text.
 * @param {string} tag
 * @param {Record<string, any>} [props] `on...` are handlers, the rest attributes
 * @param {...any} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child || child === 0).flatMap(nodesOf));
  return element;
}

/** A sentence with names in it: a text is our own, a list of one is a name. */
class Sentence {
  /** @param {any[]} parts */
  constructor(parts) {
    this.parts = parts;
  }

  toString() {
    return this.parts.flat().join("");
  }
}

/** Write a sentence: no name in it turns or reorders the words beside it. @param {TemplateStringsArray} texts @param {...any} names @returns {any} */
export const t = (texts, ...names) => new Sentence(texts.flatMap((text, index) => [text, ...(index < names.length ? names[index] instanceof Sentence ? names[index].parts : [[names[index]]] : [])]));

/** Join sentences. @param {any[]} sentences @param {string} between @returns {any} */
export const joined = (sentences, between) => new Sentence(sentences.flatMap((each, index) => [index ? between : "", ...(each instanceof Sentence ? each.parts : [each])]));

/** @param {any} child @returns {Node[]} */
function nodesOf(child) {
  if (child instanceof Node) return [child];
  return child instanceof Sentence ? child.parts.map((part) => (Array.isArray(part) ? isolate(String(part[0])) : document.createTextNode(part))) : [isolate(String(child))];
}

/** Keep right-to-left letters of a name from turning the text beside it. @param {string} text */
function isolate(text) {
  return /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text) ? h("bdi", {}, document.createTextNode(text)) : document.createTextNode(text);
}

const PRODUCT = "Just-in-time VM access";

/** Show a screen. The focus stays on the element with the same id. @param {...Node} nodes */
export function show(...nodes) {
  const focused = document.activeElement?.id;
  document.getElementById("main")?.replaceChildren(...nodes);
  const heading = document.querySelector("main h1")?.textContent;
  document.title = heading ? `${heading} - ${PRODUCT}` : PRODUCT;
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

/** Return a text as a sentence begins; a name or a path stays. @param {string} text */
export const capital = (text) => text.replace(/^[a-z](?=[a-z]*([ ,:]|$))/, (letter) => letter.toUpperCase());

/** Name addresses in words. @param {string[]} prefixes */
export const addressesOf = (prefixes) => prefixes.map((each) => (["*", "0.0.0.0/0", "Internet"].includes(each) ? "any address" : each)).join(", ");

/** Return the port numbers of a list of ports. @param {any[]} ports */
export const numbersOf = (ports) => ports.map((port) => port.number).join(", ");

/** Say what went wrong and what to do. @param {any} error */
export function failure(error) {
  const lines = (error.details ?? []).filter((/** @type {any} */ detail) => !error.message.includes(detail.message)).map((/** @type {any} */ detail) => h("li", {}, capital(detail.message)));
  return h("div", { role: "alert", class: "bad" }, h("p", {}, capital(error.message)), h("ul", {}, ...lines), h("p", {}, error.advice ?? "Try again."));
}

const PARTS = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/;

/** Return the seconds of an ISO 8601 duration. @param {string} text */
export function seconds(text) {
  const [days, hours, minutes, rest] = (PARTS.exec(text) ?? []).slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60 + rest || 0;
}

/** Return a number of seconds as an ISO 8601 duration. @param {number} total */
export const iso = (total) => (total % 60 ? `PT${total}S` : total % 3600 ? `PT${total / 60}M` : `PT${total / 3600}H`);

/** Say how long something lasts: "3 hours", "1 hour 30 minutes". @param {number} total seconds */
export function inWords(total) {
  /** @type {[number, string][]} */
  const units = [[Math.floor(total / 3600), "hour"], [Math.floor((total % 3600) / 60), "minute"], [Math.floor(total % 60), "second"]];
  return units.filter(([count]) => count).map(([count, unit]) => `${count} ${unit}${count === 1 ? "" : "s"}`).join(" ") || "0 seconds";
}

/** Return a time of day; with its date where that is not today. @param {string} instant */
export function clock(instant) {
  const at = new Date(instant);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

/** Say how much time is left until a moment. @param {string} end */
function left(end) {
  const total = Math.max(0, Math.ceil((Date.parse(end) - Date.now()) / 1000));
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60];
  const padded = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return total ? `${hours ? `${hours}:` : ""}${padded(minutes)}:${padded(rest)} left` : "time is up";
}

/** Return a text that counts down to a moment. @param {string} end */
export const countdown = (end) => h("span", { role: "timer", "data-end": end }, left(end));

/** Keep every countdown on the screen running. */
export function runCountdowns() {
  setInterval(() => document.querySelectorAll("[data-end]").forEach((timer) => {
    timer.textContent = left(/** @type {HTMLElement} */ (timer).dataset.end ?? "");
  }), 1000);
}

const RETRY_MS = 5000;

/**
 * Show what `load` returns, and again whenever it has changed.
 * @param {() => Promise<any>} load
 * @param {(found: any, refresh: () => Promise<void>) => Node[]} render
 * @param {(found: any) => number} pause milliseconds until the next look; 0: none
 * @param {() => boolean} current whether the screen is still the one that is shown
 */
export async function follow(load, render, pause, current) {
  let seen = "";
  let timer = 0;
  const trouble = h("div");
  const look = async () => {
    clearTimeout(timer);
    const found = await load();
    if (!current()) return;
    trouble.replaceChildren();
    const text = textOf(found);
    if (text !== seen) show(trouble, ...render(found, look));
    seen = text;
    again(pause(found));
  };
  const again = (/** @type {number} */ wait) => {
    clearTimeout(timer);
    if (wait) timer = setTimeout(() => current() && look().catch(retry), wait);
  };
  const retry = (/** @type {any} */ error) => {
    trouble.replaceChildren(failure(error));
    again(RETRY_MS);
  };
  await look();
}

/** Return what was found as text, without what changes with each look. @param {any} found */
export const textOf = (found) => JSON.stringify(found, (name, value) => (name === "latestEndTimeUtc" ? undefined : value));
