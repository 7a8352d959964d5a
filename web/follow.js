// Keep a screen in step with the API while it is shown.
import { failure, h, show } from "./ui.js";

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
