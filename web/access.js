// The caller's own requests, those that await the caller's decision, one request, and what can be done about each.
import { call, list } from "./api.js";
import { openForm } from "./request-form.js";
import { connectLines, endOf, machineOf, pauseOf, portsOf, sentence, shortestPause, sourcesOf, state } from "./requests.js";
import { announce, capital, clock, dialog, failure, follow, h, inWords, nameOf, t, table, textOf } from "./ui.js";

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
  return h("section", { class: "card" }, h("p", {}, state(request)), h("p", {}, link(request)), request.justification && h("p", {}, t`Reason: ${request.justification}`),
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

const MORE_TIMES = [1800, 3600, 10800];

/** Return the buttons of a request. @param {any} request @param {() => Promise<void>} done looks at it again */
export function buttons(request, done) {
  /** @type {Record<string, [string, () => void]>} */
  const offered = {
    approve: ["Approve", () => decide(request, "approve", done)],
    deny: ["Deny", () => decide(request, "deny", done)],
    extend: ["Extend", () => extend(request, done)],
    revoke: [request.status === "Initiated" ? "End now" : "Withdraw", () => end(request, done)],
  };
  const again = ["Revoked", "Denied", "Failed"].includes(request.status) && request.virtualMachines.length === 1;
  return h("span", { class: "buttons" }, ...Object.entries(offered).filter(([name]) => request.can.includes(name)).map(([name, [text, run]]) =>
    h("button", { id: `${name}-${request.id}`, onclick: run, class: name === "approve" && "primary" }, text)), again && h("button", { id: `again-${request.id}`, onclick: (/** @type {Event} */ event) => repeat(request, /** @type {HTMLElement} */ (event.target)) }, "Again"));
}

/** @param {any} request @param {string} action @param {any} body @param {() => Promise<void>} done */
async function act(request, action, body, done) {
  await call(`/api/requests/${encodeURIComponent(request.id)}/${action}`, "POST", body);
  await done();
}

const commentField = () => h("label", {}, "Comment", h("textarea", { name: "comment", rows: 3, maxlength: 1000 }));

/** Approve or deny, with a comment. @param {any} request @param {"approve"|"deny"} action @param {() => Promise<void>} done */
function decide(request, action, done) {
  const lines = (request.approval?.summary ?? [sentence(request)]).map((/** @type {string} */ line) => h("li", {}, line));
  const reason = request.justification && h("p", {}, t`Reason: ${request.justification}`);
  const title = action === "approve" ? "Approve the request" : "Deny the request";
  dialog(title, [h("p", {}, sentence(request)), h("ul", {}, ...lines), reason, commentField()], action === "approve" ? "Approve" : "Deny",
    (given) => act(request, action, { comment: String(given.get("comment")) }, done));
}

/** Give a later end, up to the latest that the policy allows. @param {any} request @param {() => Promise<void>} done */
function extend(request, done) {
  const now = Date.parse(endOf(request));
  const latest = Date.parse(request.latestEndTimeUtc);
  const ends = [...MORE_TIMES.map((more) => now + more * 1000).filter((end) => end < latest), latest];
  const options = ends.map((end) => {
    const text = end === latest ? "the longest" : `${inWords((end - now) / 1000)} more`;
    return h("option", { value: new Date(end).toISOString() }, `${capital(text)}, until ${clock(new Date(end).toISOString())}`);
  });
  dialog("Extend the access", [h("p", {}, `It ends at ${clock(endOf(request))}.`), h("label", {}, "New end", h("select", { name: "end" }, ...options))], "Extend",
    (given) => act(request, "extend", { endTimeUtc: given.get("end") }, done));
}

/** Close before the end, or withdraw. @param {any} request @param {() => Promise<void>} done */
function end(request, done) {
  const open = request.status === "Initiated";
  dialog(open ? "End the access now" : "Withdraw the request", [h("p", {}, open ? "The firewalls close at once. Sessions that are under way may stay until they end." : "Nothing will be opened."), commentField()],
    open ? "End now" : "Withdraw", (given) => act(request, "revoke", { comment: String(given.get("comment")) }, done));
}

/** Open the form as it was filled in before. @param {any} request @param {HTMLElement} button */
async function repeat(request, button) {
  const [vm] = request.virtualMachines;
  const machine = await machineOf(vm.id);
  if (!machine?.ports.length) {
    button.replaceWith(failure({ message: "No policy protects this machine any more, or you may not read it.", advice: "Choose it under Machines, or ask an administrator." }));
    return;
  }
  await openForm(machine, { ports: vm.ports.map((/** @type {any} */ port) => port.number), time: portsOf(request)[0].port.duration, reason: request.justification, bastion: vm.ports[0].bastion, source: vm.ports[0].bastion ? "" : sourcesOf(vm.ports[0]) });
}

const FINAL = ["Revoked", "Denied", "Failed"];
/** @type {Record<string, string>} */
const EVENTS = {
  requested: "requested access", breakGlass: "requested access without waiting for approval", approved: "approved", denied: "denied",
  opened: "opened", closed: "closed", extended: "gave a later end", extensionRequested: "asked for a later end", extensionTimedOut: "no approver decided about the later end in time",
  sessionDisconnected: "a Bastion session was disconnected", sessionsKept: "Bastion sessions were left connected",
  extensionRefused: "a firewall refused the later end", revoked: "ended the access", ended: "The request ended before anything was opened", repaired: "repaired a rule",
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
      request.justification && h("p", {}, t`Reason: ${request.justification}`), request.breakGlass && h("p", { class: "bad" }, "Break-glass: opened without approval."),
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
    h("p", {}, t`Port ${port.number} of ${nameOf(vm.id)}: ${port.error.message}`),
    h("p", {}, port.error.code === "Denied" ? "Ask the approver, then request again." : "Mend what it names, or ask an administrator, then request again.")));
}

/** @param {any} request */
function votesOf(request) {
  const { approval } = request;
  if (!approval) return null;
  return h("div", {}, h("h2", {}, `Approval: ${approval.agreed} of ${approval.needed}`),
    approval.endTimeUtc && h("p", {}, `A later end is asked for: ${clock(approval.endTimeUtc)}.`),
    h("ul", {}, ...approval.decisions.map((/** @type {any} */ vote) => h("li", {}, t`${vote.approver} ${vote.approved ? "approved" : "denied"}, ${clock(vote.at)}${vote.comment && t`: ${vote.comment}`}`))));
}

/** @param {any} request */
function firewallsOf(request) {
  const rows = portsOf(request).flatMap(({ vm, port }) => (port.firewalls ?? []).map((/** @type {any} */ each) => [
    h("span", {}, nameOf(vm.id)), h("span", {}, port.number), h("span", {}, each.name), h("span", { class: each.state === "Open" && "good" }, each.state),
    h("span", {}, each.closedAt ? `closed ${clock(each.closedAt)}` : each.openedAt ? `opened ${clock(each.openedAt)}` : "", each.reason && t` (${each.reason})`)]));
  return rows.length ? table(["Machine", "Port", "Firewall", "State", "Since"], rows) : h("p", {}, "No firewall has been changed.");
}

/** A vote is told to the second. @param {any} event */
const secondOf = (event) => Math.floor(Date.parse(event.time) / 1000);

/** Tell what happened, oldest first; without the audit events, what the request itself says. @param {any} request @param {any[]} events */
function timelineOf(request, events) {
  const known = events.length ? events : [
    { time: request.startTimeUtc, operation: "requested", principalName: request.requestor },
    ...(request.openedAt ? [{ time: request.openedAt, operation: "opened" }] : []), ...(request.closedAt ? [{ time: request.closedAt, operation: "closed" }] : [])];
  // The audit events of a vote name no machine.
  const votes = (request.approval?.decisions ?? []).map((/** @type {any} */ vote) => ({ time: vote.at, operation: vote.approved ? "approved" : "denied", principalName: vote.approver, reason: vote.comment }));
  const all = [known[0], ...votes, ...known.slice(1).filter(({ operation }) => !["approved", "denied"].includes(operation))].sort((one, other) => secondOf(one) - secondOf(other));
  return h("ol", { class: "timeline" }, ...all.map((event) => h("li", {}, h("time", { datetime: event.time }, clock(event.time)), t` ${eventText(event)}`)));
}

/** @param {any} event */
function eventText(event) {
  const what = EVENTS[event.operation] ?? event.operation;
  const where = event.firewall ? t` ${nameOf(event.firewall)}${event.port === undefined ? "" : `, port ${event.port}`}` : "";
  const late = event.latenessSeconds === undefined ? "" : ` within ${Number(event.latenessSeconds).toFixed(1)} s`;
  return t`${event.principalName && !["opened", "closed", "ended"].includes(event.operation) ? t`${event.principalName} ` : ""}${what}${where}${late}${event.reason ? t`: ${event.reason}` : ""}`;
}
