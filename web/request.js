// One request: what it asks for, what has happened, and how far each firewall is.
import { buttons } from "./actions.js";
import { call, list } from "./api.js";
import { follow, textOf } from "./follow.js";
import { connectLines, pauseOf, portsOf, sentence, state } from "./requests.js";
import { clock } from "./time.js";
import { announce, h, nameOf, table } from "./ui.js";

const FINAL = ["Revoked", "Denied", "Failed"];
/** @type {Record<string, string>} */
const EVENTS = {
  requested: "requested access", breakGlass: "requested access without waiting for approval", approved: "approved", denied: "denied",
  opened: "opened", closed: "closed", extended: "gave a later end", extensionRequested: "asked for a later end", extensionTimedOut: "no approver decided about the later end in time",
  extensionRefused: "a firewall refused the later end", revoked: "ended the access", ended: "ended before anything was opened", repaired: "repaired a rule",
  sessionDisconnected: "a Bastion session was disconnected", sessionsKept: "Bastion sessions were left connected",
};

/** Show one request, and follow it. @param {() => boolean} current @param {string} id */
export async function one(current, id) {
  const path = `/api/requests/${encodeURIComponent(id)}`;
  /** @type {any[]} */
  let events = [];
  let seen = "";
  await follow(async () => {
    const request = await call(path);
    // The events are read again only where the request has changed.
    const text = textOf(request);
    if (text !== seen) events = await eventsOf(request);
    seen = text;
    return { request, events };
  }, ({ request }, refresh) => {
    const shown = state(request);
    announce(shown.firstChild?.textContent ?? "");
    return [h("h1", {}, sentence(request)), h("p", { class: "state" }, shown), ...errorsOf(request),
      request.justification && h("p", {}, `Reason: ${request.justification}`), request.breakGlass && h("p", { class: "bad" }, "Break-glass: opened without approval."),
      request.status === "Initiated" && connectLines(request), buttons(request, refresh), votesOf(request),
      h("h2", {}, "Firewalls"), firewallsOf(request), h("h2", {}, "What happened"), timelineOf(request, events)].filter(Boolean);
  }, ({ request }) => pauseOf(request), current);
}

/** Return the audit events of a request; none where they cannot be read. @param {any} request @returns {Promise<any[]>} */
async function eventsOf(request) {
  const from = Date.parse(request.startTimeUtc) - 1000;
  const last = FINAL.includes(request.status) && request.closedAt ? Date.parse(request.closedAt) + 60000 : Date.now() + 60000;
  const to = Math.min(last, from + 91 * 86400000);
  const query = `from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}&virtualMachine=${encodeURIComponent(request.virtualMachines[0].id)}`;
  const events = await list(`/api/activity?${query}`, 400).catch(() => []);
  return events.filter((event) => event.requestId === request.id);
}

/** @param {any} request */
function errorsOf(request) {
  return portsOf(request).filter(({ port }) => port.error).map(({ vm, port }) => h("div", { role: "alert", class: "bad" },
    h("p", {}, `Port ${port.number} of ${nameOf(vm.id)}: ${port.error.message}`),
    h("p", {}, port.error.code === "Denied" ? "Ask the approver, then request again." : "Mend what it names, or ask an administrator, then request again.")));
}

/** @param {any} request */
function votesOf(request) {
  const { approval } = request;
  if (!approval) return null;
  return h("div", {}, h("h2", {}, `Approval: ${approval.agreed} of ${approval.needed}`),
    approval.endTimeUtc && h("p", {}, `A later end is asked for: ${clock(approval.endTimeUtc)}.`),
    h("ul", {}, ...approval.decisions.map((/** @type {any} */ vote) => h("li", {}, `${vote.approver} ${vote.approved ? "approved" : "denied"}, ${clock(vote.at)}${vote.comment && `: ${vote.comment}`}`))));
}

/** @param {any} request */
function firewallsOf(request) {
  const rows = portsOf(request).flatMap(({ vm, port }) => (port.firewalls ?? []).map((/** @type {any} */ each) => [
    h("span", {}, nameOf(vm.id)), h("span", {}, port.number), h("span", {}, each.name), h("span", { class: each.state === "Open" && "good" }, each.state),
    h("span", {}, each.closedAt ? `closed ${clock(each.closedAt)}` : each.openedAt ? `opened ${clock(each.openedAt)}` : "", each.reason && ` (${each.reason})`)]));
  return rows.length ? table(["Machine", "Port", "Firewall", "State", "Since"], rows) : h("p", {}, "No firewall has been changed.");
}

/** Tell what happened, oldest first; without the audit events, what the request itself says. @param {any} request @param {any[]} events */
function timelineOf(request, events) {
  const known = events.length ? events : [
    { time: request.startTimeUtc, operation: "requested", principalName: request.requestor },
    ...(request.openedAt ? [{ time: request.openedAt, operation: "opened" }] : []), ...(request.closedAt ? [{ time: request.closedAt, operation: "closed" }] : [])];
  return h("ol", { class: "timeline" }, ...known.map((event) => h("li", {}, h("time", { datetime: event.time }, clock(event.time)), ` ${eventText(event)}`)));
}

/** @param {any} event */
function eventText(event) {
  const what = EVENTS[event.operation] ?? event.operation;
  const where = event.firewall ? ` ${nameOf(event.firewall)}${event.port === undefined ? "" : `, port ${event.port}`}` : "";
  const late = event.latenessSeconds === undefined ? "" : ` within ${Number(event.latenessSeconds).toFixed(1)} s`;
  return `${event.principalName && !["opened", "closed"].includes(event.operation) ? `${event.principalName} ` : ""}${what}${where}${late}${event.reason ? `: ${event.reason}` : ""}`;
}
