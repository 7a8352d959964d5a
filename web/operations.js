// How the app is, what is open everywhere, and how all of it is ended.
import { answerOf, call, list } from "./api.js";
import { sentence, state } from "./requests.js";
import { clock } from "./time.js";
import { dialog, h, nameOf, show, table } from "./ui.js";

/** Show the health of the app, and what is open. @param {() => boolean} current */
export async function operations(current) {
  // An app that is not healthy answers 503, with the same content.
  const [health, ...open] = await Promise.all([answerOf("/api/health").then((answer) => answer.json()), ...["Initiated", "Initiating", "PendingApproval"].map((status) => list(`/api/requests?status=${status}`, 1000))]);
  if (!current()) return;
  const requests = open.flat();
  show(h("h1", {}, "Operations"), h("h2", {}, "Health"), ...healthLines(health), h("h2", {}, `Open and waiting (${requests.length})`),
    requests.length ? revokeForm(requests, () => operations(current)) : h("p", {}, "Nothing is open or waits, as far as you may see."),
    requests.length ? table(["Request", "State"], requests.map((each) => [h("a", { href: `#/requests/${encodeURIComponent(each.id)}` }, sentence(each)), state(each)])) : h("span"));
}

/** @param {any} health */
function healthLines(health) {
  const verdict = h("p", { class: health.status === "Healthy" ? "good" : "bad" }, health.status);
  if (!health.closeLatenessSeconds) return [verdict, h("p", { class: "muted" }, "The figures are shown to those who may read the activity.")];
  const { count, p50, p99, max } = health.closeLatenessSeconds;
  const second = (/** @type {number|null} */ value) => (value === null || value === undefined ? "none" : `${value.toFixed(1)} s`);
  const latenesses = (health.closeLatenessByKind ?? []).map((/** @type {any} */ each) => [`Lateness, ${each.kind}`, `median ${second(each.p50)}, p99 ${second(each.p99)}, allowed ${second(each.allowed)}`]);
  const facts = [["Closed in the last day", count], ["Lateness, median", second(p50)], ["Lateness, p99", second(p99)], ["Lateness, most", second(max)], ...(latenesses.length > 1 ? latenesses : []), ["Overdue now", health.overdue], ["Poison messages", health.poisonMessages],
    ["Last sweep", health.lastSweep ? clock(health.lastSweep) : "none yet"], ["If-Match probe", health.ifMatchProbe.state]];
  return [verdict, h("ul", {}, ...[...health.problems, ...health.warnings].map((/** @type {string} */ each) => h("li", { class: "bad" }, each))), h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))];
}

/** Offer to end everything of one person or on one machine. @param {any[]} requests @param {() => Promise<void>} reload */
function revokeForm(requests, reload) {
  const people = new Map(requests.map((each) => [each.requestorObjectId, each.requestor]));
  const vms = new Set(requests.flatMap((each) => each.virtualMachines.map((/** @type {any} */ vm) => vm.id)));
  const option = (/** @type {string} */ member, /** @type {string} */ key, /** @type {string} */ text) => h("option", { value: `${member} ${key}` }, text);
  const target = /** @type {HTMLSelectElement} */ (h("select", {}, h("optgroup", { label: "Everything on a machine" }, ...[...vms].map((id) => option("virtualMachine", id, nameOf(id)))),
    h("optgroup", { label: "Everything of a person" }, ...[...people].map(([id, name]) => option("requestorObjectId", id, name)))));
  return h("div", { class: "filters" }, h("label", {}, "Revoke all", target), h("p", { class: "buttons" }, h("button", { class: "danger", onclick: () => {
    const [member, ...key] = target.value.split(" ");
    confirm(requests, member, key.join(" "), target.selectedOptions[0].textContent ?? "", reload);
  } }, "Revoke all ...")));
}

/** Name what ends, and end it once that is confirmed. @param {any[]} requests @param {string} member @param {string} key @param {string} name @param {() => Promise<void>} reload */
function confirm(requests, member, key, name, reload) {
  const struck = requests.filter((each) => (member === "requestorObjectId" ? each.requestorObjectId === key : each.virtualMachines.some((/** @type {any} */ vm) => vm.id === key)));
  dialog(`Revoke all access ${member === "requestorObjectId" ? "of" : "on"} ${name}`, [h("p", {}, "The firewalls close at once, and requests that wait are withdrawn:"), h("ul", {}, ...struck.map((each) => h("li", {}, sentence(each)))),
    h("label", {}, h("input", { type: "checkbox", required: true }), " I want to end all of it"), h("label", {}, "Comment", h("textarea", { name: "comment", rows: 2, maxlength: 1000 }))], "Revoke all", async (given) => {
    await call("/api/revoke", "POST", { [member]: key, comment: String(given.get("comment")) });
    await reload();
  });
}
