// What a person can do about a request. The API says what; the page offers nothing else.
import { call } from "./api.js";
import { openForm } from "./request-form.js";
import { endOf, machineOf, portsOf, sentence, sourcesOf } from "./requests.js";
import { clock, inWords } from "./time.js";
import { dialog, failure, h } from "./ui.js";

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
  const reason = request.justification && h("p", {}, `Reason: ${request.justification}`);
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
    return h("option", { value: new Date(end).toISOString() }, `Until ${clock(new Date(end).toISOString())} (${text})`);
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
