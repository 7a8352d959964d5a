// The caller's own requests, and those that await the caller's decision.
import { buttons } from "./actions.js";
import { list } from "./api.js";
import { follow } from "./follow.js";
import { connectLines, sentence, shortestPause, state } from "./requests.js";
import { clock } from "./time.js";
import { h, table } from "./ui.js";

const DAYS_SHOWN = 30;
const INBOX_PAUSE_MS = 10000;

/** @param {any} request */
const link = (request) => h("a", { href: `#/requests/${encodeURIComponent(request.id)}`, id: `link-${request.id}` }, sentence(request));

/** Show what the caller requested: what is open, what waits, and what has ended. @param {() => boolean} current */
export async function mine(current) {
  const since = new Date(Date.now() - DAYS_SHOWN * 86400000).toISOString();
  await follow(() => list(`/api/requests?mine=true&from=${since}`, 200), (requests, refresh) => {
    const within = (/** @type {string[]} */ ...statuses) => requests.filter((/** @type {any} */ each) => statuses.includes(each.status));
    const [open, waiting, ended] = [within("Initiated"), within("PendingApproval", "Initiating"), within("Revoked", "Denied", "Failed")];
    return [h("h1", {}, "My access"),
      !requests.length && h("p", {}, "You have requested nothing in the last 30 days. ", h("a", { href: "#/machines" }, "Choose a machine"), " to begin."),
      ...open.map((/** @type {any} */ each) => card(each, refresh)), ...waiting.map((/** @type {any} */ each) => card(each, refresh)),
      ended.length && h("h2", {}, "The last 30 days"), ended.length && past(ended, refresh)].filter(Boolean);
  }, shortestPause, current);
}

/** @param {any} request @param {() => Promise<void>} refresh */
function card(request, refresh) {
  return h("section", { class: "card" }, h("p", {}, state(request)), h("p", {}, link(request)), request.justification && h("p", {}, `Reason: ${request.justification}`),
    request.status === "Initiated" && connectLines(request), buttons(request, refresh));
}

/** @param {any[]} requests @param {() => Promise<void>} refresh */
const past = (requests, refresh) => table(["Request", "Made", "Outcome", "Repeat"], requests.map((each) => [
  link(each), h("span", {}, clock(each.startTimeUtc)), state(each), buttons(each, refresh)]));

/** Show what the caller can decide. @param {() => boolean} current */
export async function approvals(current) {
  await follow(() => list("/api/requests?awaiting=me", 200), (requests, refresh) => [h("h1", {}, "Approvals"),
    ...(requests.length ? requests.map((/** @type {any} */ each) => card(each, refresh)) : [h("p", {}, "No request awaits your decision.")])],
  () => INBOX_PAUSE_MS, current);
}
