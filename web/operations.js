// How the app is, what is open everywhere and how all of it is ended; what happened, as a table and as CSV.
import { answerOf, call, list, send } from "./api.js";
import { OUTCOMES, sentence, state } from "./requests.js";
import { capital, clock, dialog, failure, h, joined, nameOf, show, t, table } from "./ui.js";

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
  const verdict = h("p", { class: { Healthy: "good", Degraded: "warn" }[/** @type {string} */ (health.status)] ?? "bad" }, health.status);
  if (!health.closeLatenessSeconds) return [verdict, h("p", { class: "muted" }, "The figures are shown to those who may read the activity.")];
  const { count, p50, p99, max } = health.closeLatenessSeconds;
  const second = (/** @type {number|null} */ value) => (value === null || value === undefined ? "none" : `${value.toFixed(1)} s`);
  const latenesses = (health.closeLatenessByKind ?? []).map((/** @type {any} */ each) => [`Lateness, ${each.kind}`, `median ${second(each.p50)}, p99 ${second(each.p99)}, allowed ${second(each.allowed)}`]);
  const measures = [["Closed in the last day", count], ["Lateness, median", second(p50)], ["Lateness, p99", second(p99)], ["Lateness, most", second(max)], ...(latenesses.length > 1 ? latenesses : []), ["Overdue now", health.overdue], ["Poison messages", health.poisonMessages],
    ["Last sweep", health.lastSweep ? clock(health.lastSweep) : "none yet"], ["If-Match probe", health.ifMatchProbe.state]];
  return [verdict, h("ul", {}, ...health.problems.map((/** @type {string} */ each) => h("li", { class: "bad" }, capital(each))), ...health.warnings.map((/** @type {string} */ each) => h("li", {}, capital(each)))), h("dl", {}, ...measures.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))];
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
  dialog(t`Revoke all access ${member === "requestorObjectId" ? "of" : "on"} ${name}`, [h("p", {}, "The firewalls close at once, and requests that wait are withdrawn:"), h("ul", {}, ...struck.map((each) => h("li", {}, sentence(each)))),
    h("label", {}, h("input", { type: "checkbox", required: true }), " I want to end all of it"), h("label", {}, "Comment", h("textarea", { name: "comment", rows: 2, maxlength: 1000 }))], "Revoke all", async (given) => {
    await call("/api/revoke", "POST", { [member]: key, comment: String(given.get("comment")) });
    await reload();
  });
}

const MOST_SHOWN = 1000;
const DAY_MS = 86400000;
/** @type {[number, string][]} */
const PERIODS = [[1, "Last day"], [7, "Last 7 days"], [30, "Last 30 days"], [91, "Last 91 days"]];
const OPERATIONS = ["requested", "breakGlass", "approved", "denied", "opened", "extensionRequested", "extensionTimedOut", "extended", "extensionRefused", "revoked", "closed", "ended", "sessionDisconnected", "sessionsKept", "repaired",
  "policyCreated", "policyChanged", "policyDeleted", "refused", "unreadable"];

/** Show the activity, newest first. @param {() => boolean} current */
export async function activity(current) {
  const found = h("div", { "aria-live": "polite" }, "Loading ...");
  const form = /** @type {HTMLFormElement} */ (h("form", { class: "filters", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    look();
  } },
  h("label", {}, "Time", h("select", { name: "days" }, ...PERIODS.map(([days, text]) => h("option", { value: days }, text)))),
  h("label", {}, "Person", h("input", { name: "person", placeholder: "Name or object id", autocomplete: "off" })),
  h("label", {}, "Machine", h("input", { name: "vm", placeholder: "Name or resource id", autocomplete: "off" })),
  h("label", {}, "Operation", h("select", { name: "operation" }, h("option", { value: "" }, "Any"), ...OPERATIONS.map((each) => h("option", { value: each }, words(each))))),
  h("p", { class: "buttons" }, h("button", { class: "primary" }, "Show"), h("a", { href: "#/activity", onclick: (/** @type {Event} */ event) => {
    event.preventDefault();
    run(async () => download(await queryOf(form)));
  } }, "Download as CSV"))));
  const run = (/** @type {() => Promise<void>} */ work) => work().catch((error) => current() && found.replaceChildren(failure(error)));
  const look = () => run(async () => {
    const events = await list(`/api/activity?${await queryOf(form)}`, MOST_SHOWN);
    found.replaceChildren(...shown(events));
  });
  show(h("h1", {}, "Activity"), form, found);
  await look();
}

/** @param {HTMLFormElement} form */
async function queryOf(form) {
  const given = new FormData(form);
  const query = new URLSearchParams({ top: "1000", from: new Date(Date.now() - Number(given.get("days")) * DAY_MS).toISOString() });
  for (const name of ["person", "operation"]) if (given.get(name)) query.set(name, String(given.get(name)));
  const vm = String(given.get("vm")).trim();
  if (vm) query.set("virtualMachine", vm.startsWith("/") ? vm : await idOf(vm));
  return query;
}

/** Return the id of the one machine of a name. @param {string} name */
async function idOf(name) {
  const named = (await list("/api/machines", 5000)).filter((each) => nameOf(each.id).toLowerCase() === name.toLowerCase());
  if (named.length === 1) return named[0].id;
  throw Object.assign(new Error(named.length ? `${named.length} machines have the name ${name}.` : `No machine has the name ${name}.`), { advice: "Enter the machine's whole resource id." });
}

/** @param {any[]} events */
function shown(events) {
  if (!events.length) return [h("p", {}, "Nothing happened that these filters let through.")];
  const note = events.length >= MOST_SHOWN ? `Only the first ${MOST_SHOWN} events are shown. Choose a shorter time, or download all as CSV.` : `${events.length} events.`;
  return [h("p", {}, note), table(["Time", "Operation", "Person", "Machine", "Details"], events.reverse().map((event) => [
    h("span", {}, clock(event.time)), event.requestId ? h("a", { href: `#/requests/${encodeURIComponent(event.requestId)}` }, words(event.operation)) : h("span", {}, words(event.operation)), h("span", {}, event.principalName ?? event.principal ?? ""),
    h("span", {}, event.virtualMachine ? nameOf(event.virtualMachine) : event.policyId ? t`policy ${nameOf(event.policyId)}` : ""), h("div", { class: "wide" }, details(event), changes(event))]))];
}

/** Write the name of an operation as words. @param {string} operation */
const words = (operation) => capital(operation.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`));

/** Show what was changed, folded where it is long. @param {any} event */
function changes(event) {
  const lines = (event.changes ?? "").split("; ").filter(Boolean);
  return lines.length > 0 && h("details", {}, h("summary", {}, `${lines.length} ${lines.length === 1 ? "change" : "changes"}`), h("ul", {}, ...lines.map((/** @type {string} */ line) => h("li", {}, line))));
}

/** @param {any} event */
function details(event) {
  const late = event.latenessSeconds === undefined ? "" : `${Number(event.latenessSeconds).toFixed(1)} s until closed`;
  return joined([event.port !== undefined && `port ${event.port}`, event.firewall && t`${nameOf(event.firewall)}`, event.sourceAddress && `from ${event.sourceAddress}`, late, event.reason && t`${OUTCOMES[event.reason] ?? event.reason}`].filter(Boolean), "; ");
}

/** Save every page as one CSV file. @param {URLSearchParams} query */
async function download(query) {
  query.set("format", "csv");
  let text = "";
  for (let next = ""; ;) {
    if (next) query.set("skipToken", next);
    const answer = await send(`/api/activity?${query}`);
    const page = await answer.text();
    text += text ? page.slice(page.indexOf("\n") + 1) : page;
    next = answer.headers.get("x-next-skip-token") ?? "";
    if (!next) break;
  }
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  h("a", { href: address, download: "activity.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), DAY_MS / 1440);
}
