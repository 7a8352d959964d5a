// Requests: the caller's own, those that await a decision, and one in full.
import { call } from "./api.js";
import { clock } from "./time.js";
import { failure, h, nameOf, show, table } from "./ui.js";

/** @type {Record<string, string>} */
const ACTIONS = { approve: "Approve", deny: "Deny", extend: "Extend by 1 hour", revoke: "End now" };

/** Show what the caller requested. */
export async function mine() {
  show(h("h1", {}, "My access"), list((await call("/api/requests?mine=true")).value, "You have requested nothing yet. Choose a machine to begin."));
}

/** Show what the caller can decide. */
export async function approvals() {
  show(h("h1", {}, "Approvals"), list((await call("/api/requests?awaiting=me")).value, "No request awaits your decision."));
}

/** @param {any[]} requests @param {string} otherwise */
function list(requests, otherwise) {
  if (!requests.length) return h("p", {}, otherwise);
  return table(["Request", "Made", "Status"], requests.map((each) => [
    h("a", { href: `#/requests/${each.id}` }, sentence(each)), h("span", {}, clock(each.startTimeUtc)), h("span", {}, state(each)),
  ]));
}

/** @param {any} request */
function sentence(request) {
  const targets = request.virtualMachines.map((/** @type {any} */ vm) => `${nameOf(vm.id)} port ${vm.ports.map((/** @type {any} */ port) => port.number).join(", ")}`);
  return `${request.requestor}: ${targets.join("; ")}`;
}

/** @param {any} request */
function state(request) {
  const ports = request.virtualMachines.flatMap((/** @type {any} */ vm) => vm.ports);
  const end = ports.map((/** @type {any} */ port) => port.endTimeUtc).find(Boolean);
  if (request.status === "Initiated") return end && !request.closedAt ? `Open until ${clock(end)}` : "Open";
  if (request.status === "Initiating") return "Opening ...";
  if (request.status === "PendingApproval") return `Waits for ${request.approval?.needed - request.approval?.agreed} more approvals, until ${clock(request.approval?.deadline)}`;
  return request.status === "Revoked" ? "Closed" : request.status;
}

/** Show one request, and follow it. @param {string} id @param {() => boolean} current whether the screen still shows it */
export async function one(id, current) {
  const request = await call(`/api/requests/${encodeURIComponent(id)}`);
  if (!current()) return;
  /** @type {{vm: any, port: any}[]} */
  const ports = request.virtualMachines.flatMap((/** @type {any} */ vm) => vm.ports.map((/** @type {any} */ port) => ({ vm, port })));
  const problem = h("div");
  const act = async (/** @type {string} */ action) => {
    try {
      await call(`/api/requests/${encodeURIComponent(id)}/${action}`, "POST", action === "extend" ? { duration: "PT1H" } : {});
      await one(id, current);
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  };
  const errors = ports.filter(({ port }) => port.error).map(({ port }) => h("p", { class: "bad" }, port.error.message));
  const rows = ports.flatMap(({ vm, port }) => port.firewalls.map((/** @type {any} */ each) => [
    h("span", {}, nameOf(vm.id)), h("span", {}, port.number), h("span", {}, each.name), h("span", {}, each.state, each.reason && `: ${each.reason}`)]));
  const votes = (request.approval?.decisions ?? []).map((/** @type {any} */ vote) => h("li", {}, `${vote.approver} ${vote.approved ? "approved" : "denied"} at ${clock(vote.at)} ${vote.comment}`));
  show(h("h1", {}, sentence(request)), h("p", { class: request.status === "Initiated" ? "good" : "" }, state(request)), ...errors,
    request.justification ? h("p", {}, "Reason: ", request.justification) : h("span"), h("ul", {}, ...votes),
    h("p", {}, ...request.can.map((/** @type {string} */ action) => h("button", { onclick: () => act(action) }, ACTIONS[action] ?? action))), problem,
    table(["Machine", "Port", "Firewall", "State"], rows));
  const wait = request.status === "Initiating" ? 1500 : ["PendingApproval", "Initiated"].includes(request.status) ? 5000 : 0;
  if (wait) setTimeout(() => current() && one(id, current).catch((error) => show(failure(error))), wait);
}
