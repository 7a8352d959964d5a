// The form that requests access to one machine. A dry run shows what would come of it before it is sent.
import { call, me } from "./api.js";
import { addressesOf, capital, dialog, failure, h, inWords, iso, nameOf, seconds, t } from "./ui.js";

const QUICK_TIMES = [1800, 3600, 10800];
const PAUSE_MS = 300;
// An address by which no machine can be reached from outside: the page is served on this computer.
const LOOPBACK = /^(127\.|::1$)/;

/**
 * Open the form, filled in.
 * @param {any} machine
 * @param {{ports?: number[], time?: string, reason?: string, source?: string, bastion?: string}} [before] what an earlier request said
 */
export async function openForm(machine, before = {}) {
  const person = await me();
  const source = [...bastionField(machine.bastions ?? [], before.bastion), ...sourceField(person.address, before.source)];
  const time = h("select", { name: "time" });
  const outcome = h("div", { class: "note", "aria-live": "polite" });
  const chosen = (/** @type {FormData} */ given) => bodyOf(machine, given);
  const box = dialog(t`Request access to ${nameOf(machine.id)}`, [
    h("fieldset", {}, h("legend", {}, "Ports"), ...machine.ports.map((/** @type {any} */ port, /** @type {number} */ index) => portField(port, before.ports?.length ? before.ports.includes(port.number) : !index))),
    h("label", {}, "For", time), ...source,
    h("label", {}, "Reason", h("input", { name: "reason", maxlength: 1000, autocomplete: "off", value: before.reason ?? "" })), outcome,
  ], "Request access", async (given) => {
    const made = await call("/api/requests", "POST", chosen(given));
    location.hash = `#/requests/${made.id}`;
  });
  const form = /** @type {HTMLFormElement} */ (box.querySelector("form"));
  fillTimes(time, machine, form, person.limits, before.time);
  const check = checker(form, outcome, chosen);
  form.addEventListener("input", (event) => {
    if (/** @type {HTMLInputElement} */ (event.target).name === "port") fillTimes(time, machine, form, person.limits);
    useBastion(form);
    check();
  });
  useBastion(form);
  check();
}

/** Offer the Bastion hosts that reach the machine, where there are any. @param {any[]} hosts @param {string} [chosen] */
function bastionField(hosts, chosen) {
  if (!hosts.length) return [];
  return [h("label", {}, "Connect", h("select", { name: "bastion" }, h("option", { value: "" }, "directly"),
    ...hosts.map((host) => h("option", { value: host.id, selected: host.id === chosen }, `through Azure Bastion ${host.name} (${host.sku})`))))];
}

/** Ask for an address only where access is not opened to Bastion. @param {HTMLFormElement} form */
function useBastion(form) {
  form.source.disabled = !!form.bastion?.value;
}

/** @param {any} port @param {boolean} checked */
function portField(port, checked) {
  const protocol = port.protocol === "*" ? "" : ` ${port.protocol}`;
  return h("label", {}, h("input", { type: "checkbox", name: "port", value: port.number, checked }), ` ${port.number}${usualName(port.number)}${protocol}`);
}

/** @param {number} number */
const usualName = (number) => ({ 22: " (SSH)", 3389: " (RDP)", 5985: " (WinRM)", 5986: " (WinRM)" })[number] ?? "";

/** Return the field of the address that access is opened to. @param {string|null} address as the app sees it @param {string} [earlier] that of an earlier request */
function sourceField(address, earlier = "") {
  const own = address && !LOOPBACK.test(address) ? address : "";
  const hint = own ? "Your address, as this service sees it. Change it if the machine sees another one, as behind a VPN."
    : `${address ? `This service sees you at ${address}, which means this computer itself` : "This service cannot tell your address"}. Enter the one that the machine sees, such as 203.0.113.7.`;
  return [h("label", {}, "From address", h("input", { name: "source", value: own || earlier, required: true, autocomplete: "off", "aria-describedby": "source-hint" })),
    h("p", { id: "source-hint", class: "muted" }, hint)];
}

/** Offer the usual times up to what every chosen port allows, and that. @param {HTMLElement} time @param {any} machine @param {HTMLFormElement} form @param {any} limits @param {string} [wanted] */
function fillTimes(time, machine, form, limits, wanted) {
  const chosen = new FormData(form).getAll("port").map(Number);
  const ports = machine.ports.filter((/** @type {any} */ port) => !chosen.length || chosen.includes(port.number));
  const most = Math.min(seconds(limits.maxDuration), ...ports.map((/** @type {any} */ port) => seconds(port.maxRequestAccessDuration)));
  const kept = Math.min(wanted ? seconds(wanted) : Number(/** @type {HTMLSelectElement} */ (time).value || QUICK_TIMES[0]), most);
  const offered = [...new Set([...QUICK_TIMES, kept, most])].filter((each) => each <= most).sort((one, other) => one - other);
  time.replaceChildren(...offered.map((each) => h("option", { value: each, selected: each === kept }, inWords(each) + (each === most ? " (the longest)" : ""))));
}

/** @param {any} machine @param {FormData} given */
function bodyOf(machine, given) {
  const bastion = given.get("bastion");
  const sources = String(given.get("source")).split(/[\s,]+/).filter(Boolean);
  return {
    virtualMachine: machine.id, ports: given.getAll("port").map(Number), duration: iso(Number(given.get("time"))),
    ...(bastion ? { source: bastion } : { allowedSourceAddressPrefixes: sources }), justification: String(given.get("reason")),
  };
}

/** Return a function that shows, a moment after the last change, what the request would lead to. @param {HTMLFormElement} form @param {HTMLElement} outcome @param {(given: FormData) => any} chosen */
function checker(form, outcome, chosen) {
  let turn = 0;
  const check = async (/** @type {number} */ now) => {
    const body = chosen(new FormData(form));
    const missing = !body.ports.length ? "Choose a port." : !(body.source || body.allowedSourceAddressPrefixes.length) ? "Enter the address that access is opened to." : "";
    if (missing) return outcome.replaceChildren(missing);
    try {
      const found = await call("/api/requests?dryRun=true", "POST", body);
      if (now === turn) outcome.replaceChildren(...told(found));
    } catch (error) {
      if (now === turn) outcome.replaceChildren(failure(error));
    }
  };
  return () => {
    const now = ++turn;
    setTimeout(() => now === turn && check(now), PAUSE_MS);
  };
}

/** Say what a dry run found. @param {any} found */
function told(found) {
  const against = [...found.reasons, ...found.problems];
  if (against.length) return [h("strong", { class: "bad" }, "This would be refused:"), h("ul", {}, ...against.map((each) => h("li", {}, capital(each.message))))];
  const waits = found.request?.virtualMachines.some((/** @type {any} */ vm) => vm.ports.some((/** @type {any} */ port) => port.status === "PendingApproval"));
  return [h("strong", {}, waits ? "This will wait for approval." : "This will open within seconds."), rulesOf(found.firewalls)];
}

/** Show the rules that a change would write and remove, folded. @param {any[]} firewalls */
export function rulesOf(firewalls) {
  const lines = firewalls.flatMap((each) => [
    ...each.put.map((/** @type {any} */ rule) => h("li", {}, t`${nameOf(each.id)}: ${ruleText(rule)}`)),
    ...each.remove.map((/** @type {string} */ name) => h("li", {}, t`${nameOf(each.id)}: remove ${name}`)),
    ...each.blocked.map((/** @type {any} */ rule) => h("li", { class: "bad" }, t`${nameOf(each.id)}: ${rule.rule} cannot be placed: ${rule.reason}`)),
  ]);
  if (!lines.length) return h("p", { class: "muted" }, "No rule changes.");
  return h("details", {}, h("summary", {}, `Rules that are written (${lines.length})`), h("ul", {}, ...lines));
}

/** @param {any} rule */
function ruleText(rule) {
  const { access, priority, sourceAddressPrefix: from, sourceAddressPrefixes: several, destinationAddressPrefix: to, destinationPortRange: port, destinationPortRanges: ports } = rule.properties ?? {};
  if (!access) return rule.name ?? JSON.stringify(rule);
  return `${access} ${addressesOf(from ? [from] : several ?? [])} to ${to ?? ""} port ${port ?? ports?.join(", ") ?? ""}, priority ${priority}`;
}
