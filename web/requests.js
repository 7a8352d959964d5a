// What a request is, in words; its list; and where to connect.
import { call } from "./api.js";
import { clock, countdown, h, inWords, joined, nameOf, numbersOf, seconds, t } from "./ui.js";

/** @type {Record<string, string>} */
export const OUTCOMES = {
  Expired: "Closed at its end", UserManuallyRevoked: "Ended early", NewerRequestInitiated: "Replaced by a newer request",
  Failed: "Not opened", Denied: "Denied",
};

/** Return the ports of a request, each with its machine. @param {any} request @returns {{vm: any, port: any}[]} */
export const portsOf = (request) => request.virtualMachines.flatMap((/** @type {any} */ vm) => vm.ports.map((/** @type {any} */ port) => ({ vm, port })));

/** Return the latest end of what is open; "": nothing is. @param {any} request */
export function endOf(request) {
  const ends = portsOf(request).filter(({ port }) => port.status === "Initiated").map(({ port }) => port.endTimeUtc ?? "");
  return ends.sort((one, other) => Date.parse(other) - Date.parse(one))[0] ?? "";
}

/** Return the sources of a port; "": they are not shown to this caller. @param {any} port */
export const sourcesOf = (port) => port.allowedSourceAddressPrefix ?? port.allowedSourceAddressPrefixes?.join(", ") ?? "";

/** Say in one sentence what is requested. @param {any} request */
export function sentence(request) {
  const targets = request.virtualMachines.map((/** @type {any} */ vm) => t`${vm.ports.length > 1 ? "ports" : "port"} ${numbersOf(vm.ports)} of ${nameOf(vm.id)}`);
  const port = portsOf(request)[0].port;
  const length = port.duration ? ` for ${inWords(seconds(port.duration))}` : port.endTimeUtc ? ` until ${clock(port.endTimeUtc)}` : "";
  return t`${request.requestor} requests ${joined(targets, "; ")}${sourcesOf(port) && ` from ${sourcesOf(port)}`}${length}`;
}

/** Say what has become of a request. @param {any} request @returns {HTMLElement} */
export function state(request) {
  const end = endOf(request);
  const { approval } = request;
  if (request.status === "Initiated" && end) return h("span", { class: "good" }, `Open until ${clock(end)}, `, countdown(end));
  if (request.status === "Initiating") return h("span", {}, "Opening ...");
  if (request.status === "PendingApproval") {
    const missing = approval ? approval.needed - approval.agreed : 1;
    return h("span", {}, `Waits for ${missing === 1 ? "an approver" : `${missing} approvers`}, `, approval && countdown(approval.deadline));
  }
  const reason = portsOf(request)[0].port.statusReason;
  const outcome = OUTCOMES[reason] ?? request.status;
  return h("span", { class: ["Failed", "Denied"].includes(request.status) ? "bad" : "" }, request.closedAt ? `${outcome}, ${clock(request.closedAt)}` : outcome);
}

/** Return how long to wait before a request is looked at again. @param {any} request */
export const pauseOf = (request) => (request.status === "Initiating" ? 1500 : ["PendingApproval", "Initiated"].includes(request.status) ? 5000 : 0);

/** Return the shortest of the pauses of some requests; 0: none changes by itself. @param {any[]} requests */
export const shortestPause = (requests) => requests.map(pauseOf).filter(Boolean).sort((one, other) => one - other)[0] ?? 0;

/** @type {Map<string, Promise<any>>} */
const machines = new Map();

/** Return the machine of an id; undefined where the caller may not read it. @param {string} id @returns {Promise<any>} */
export function machineOf(id) {
  const found = machines.get(id) ?? call(`/api/machines?scope=${encodeURIComponent(id)}`).then((answer) => answer.value[0]).catch(() => undefined);
  machines.set(id, found);
  found.then((machine) => machine || machines.delete(id));
  return found;
}

/** Return the lines that connect to what is open, each with a button that copies it. @param {any} request */
export function connectLines(request) {
  return h("div", {}, ...portsOf(request).filter(({ port }) => port.status === "Initiated").map(({ vm, port }) => {
    const line = h("code", {}, port.bastion ? `jit ${port.number === 3389 ? "rdp" : "ssh"} ${nameOf(vm.id)} -p ${port.number} --via bastion` : connectLine(port, port.publicIpAddress ?? nameOf(vm.id)));
    // Until the machine's own address is known, its name stands there.
    if (!port.publicIpAddress && !port.bastion) machineOf(vm.id).then((machine) => machine?.privateIpAddresses[0] && line.replaceChildren(connectLine(port, machine.privateIpAddresses[0])));
    return h("p", {}, "Connect with ", line, " ", copyButton(() => line.textContent ?? "", `copy-${nameOf(vm.id)}-${port.number}`));
  }));
}

/** @param {any} port @param {string} address */
function connectLine(port, address) {
  const number = port.mappedPort ?? port.number;
  const bracketed = address.includes(":") ? `[${address}]` : address;
  if (port.number === 22) return number === 22 ? `ssh ${address}` : `ssh -p ${number} ${address}`;
  if (port.number === 3389) return `mstsc /v:${bracketed}:${number}`;
  if ([5985, 5986].includes(port.number)) return `Enter-PSSession ${address} -Port ${number}${port.number === 5986 ? " -UseSSL" : ""}`;
  return `${bracketed}:${number}`;
}

/** @param {() => string} text @param {string} id */
function copyButton(text, id) {
  const button = h("button", { type: "button", id, onclick: async () => {
    await navigator.clipboard.writeText(text()).then(() => button.replaceChildren("Copied"), () => button.replaceChildren("Select and copy it"));
  } }, "Copy");
  return button;
}
