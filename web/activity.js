// What happened: filters, a table, and the same as CSV.
import { list, send } from "./api.js";
import { clock } from "./time.js";
import { failure, h, nameOf, show, table } from "./ui.js";

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
  h("label", {}, "Operation", h("select", { name: "operation" }, h("option", { value: "" }, "Any"), ...OPERATIONS.map((each) => h("option", {}, each)))),
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
    h("span", {}, clock(event.time)), event.requestId ? h("a", { href: `#/requests/${encodeURIComponent(event.requestId)}` }, event.operation) : h("span", {}, event.operation), h("span", {}, event.principalName ?? event.principal ?? ""),
    h("span", {}, event.virtualMachine ? nameOf(event.virtualMachine) : event.policyId ? `policy ${nameOf(event.policyId)}` : ""), h("span", { class: "wide" }, details(event))]))];
}

/** @param {any} event */
function details(event) {
  const late = event.latenessSeconds === undefined ? "" : `${Number(event.latenessSeconds).toFixed(1)} s until closed`;
  return [event.port !== undefined && `port ${event.port}`, event.firewall && nameOf(event.firewall), event.sourceAddress && `from ${event.sourceAddress}`, late, event.reason, event.changes].filter(Boolean).join("; ");
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
