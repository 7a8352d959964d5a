// Durations and times in words, and the countdowns on the screen.
import { h } from "./ui.js";

const PARTS = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/;

/** Return the seconds of an ISO 8601 duration. @param {string} text */
export function seconds(text) {
  const [days, hours, minutes, rest] = (PARTS.exec(text) ?? []).slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60 + rest || 0;
}

/** Return a number of seconds as an ISO 8601 duration. @param {number} total */
export const iso = (total) => (total % 60 ? `PT${total}S` : `PT${total / 60}M`);

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
