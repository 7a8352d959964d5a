// The policies: their list, one with its ports, conditions and machines, and the changes of one.
import { call, list, me, send } from "./api.js";
import { rulesOf } from "./request-form.js";
import { addressesOf, capital, dialog, h, inWords, iso, nameOf, numbersOf, seconds, show, t, table } from "./ui.js";

const LIST = "providers/Microsoft.Security/jitNetworkAccessPolicies?api-version=2020-01-01";

/** Show every policy of the subscriptions in scope. @param {() => boolean} current */
export async function policies(current) {
  const scopes = (await me()).permissions.map((/** @type {any} */ held) => held.scope.split("/").slice(0, held.scope.includes("/resourceGroups/") ? 5 : 3).join("/"));
  const lists = await Promise.all([...new Set(scopes)].map((scope) => list(`${scope}/${LIST}`, 2000)));
  if (!current()) return;
  const rows = lists.flat().map((policy) => {
    const { virtualMachines, conditions, provisioningState } = policy.properties;
    return [h("a", { href: `#/policies/${encodeURIComponent(policy.id)}` }, policy.name), h("span", {}, policy.id.split("/")[4]), h("span", {}, virtualMachines.length),
      h("span", {}, conditions?.approversNeeded ?? 0), h("span", { class: provisioningState === "Failed" && "bad" }, provisioningState)];
  });
  show(h("h1", {}, "Policies"), rows.length ? table(["Policy", "Resource group", "Machines", "Approvers needed", "State"], rows)
    : h("p", {}, "There is no policy yet. Choose machines under ", h("a", { href: "#/machines" }, "Machines, Not configured"), " and protect them."));
}

/** Show one policy. @param {() => boolean} current @param {string} id */
export async function policy(current, id) {
  const found = await readPolicy(id);
  if (!current()) return;
  if (!found) throw Object.assign(new Error("There is no such policy."), { advice: "Go back to Policies and choose another." });
  const { properties } = found.policy;
  const reload = () => policy(current, id);
  const rows = properties.virtualMachines.map((/** @type {any} */ vm) => [h("a", { href: `#/machines/${encodeURIComponent(vm.id)}` }, nameOf(vm.id)), h("span", {}, numbersOf(vm.ports)), h("ul", {}, ...vm.ports.map(portLine)), h("button", { onclick: () => editPorts(found, vm, reload) }, "Change the ports")]);
  show(h("h1", {}, t`Policy ${found.policy.name}`), h("p", {}, t`Resource group ${found.policy.id.split("/")[4]}, ${found.policy.location}. State: ${properties.provisioningState}.`),
    properties.provisioningError ? h("p", { class: "bad" }, properties.provisioningError) : h("span"), h("h2", {}, "Conditions"), h("ul", {}, ...inSentences(properties.conditions ?? {}).map((each) => h("li", {}, each))),
    h("button", { onclick: () => editConditions(found, reload) }, "Change the conditions"), h("h2", {}, `Machines (${rows.length})`), table(["Machine", "Ports", "What is allowed", "Change"], rows),
    h("details", {}, h("summary", {}, "As JSON"), h("pre", {}, JSON.stringify({ ...found.policy, properties: { ...properties, requests: undefined } }, null, 2))));
}

/** Return where a port may be opened to. @param {any} port @returns {string[]} */
const sourcesOf = (port) => port.allowedSourceAddressPrefixes ?? [port.allowedSourceAddressPrefix];

/** @param {any} port */
function portLine(port) {
  return h("li", {}, `${port.number}${port.protocol === "*" ? "" : ` ${port.protocol}`}: at most ${inWords(seconds(port.maxRequestAccessDuration))}, from ${addressesOf(sourcesOf(port))}`);
}

/** Say what a policy asks for. @param {any} conditions */
function inSentences(conditions) {
  const needed = conditions.approversNeeded ?? 0;
  return [
    needed ? `${needed} ${needed === 1 ? "person" : "people"} must approve, within ${inWords(seconds(conditions.approvalTimeout))}.` : "No approval is needed.",
    conditions.justificationPattern ? t`The reason must have the form ${conditions.justificationPattern}.` : conditions.justificationRequired ? "A reason must be given." : "A reason is optional.",
    conditions.ownAddressOnly ? "Access opens to the requestor's own address only." : "Access may be requested for another address.",
    `With all extensions an access lasts ${inWords(seconds(conditions.maxTotalDuration ?? "PT24H"))} at most.`,
  ];
}

/** Change a policy in a form, with a preview; the write is refused if the policy has changed since it was read.
 * @param {string} title @param {any[]} fields @param {{policy: any, etag: string}} found @param {(given: FormData) => any} propertiesOf what the form says
 * @param {() => Promise<void>} reload */
function edit(title, fields, { policy, etag }, propertiesOf, reload) {
  const preview = h("div", { "aria-live": "polite" });
  const changed = (/** @type {FormData} */ given) => {
    const { virtualMachines, conditions } = policy.properties;
    return dryRun(policy.id, { virtualMachines, conditions: withoutNulls(conditions ?? {}), ...propertiesOf(given) }, etag);
  };
  const box = dialog(title, [...fields, preview, h("button", { type: "button", onclick: async () => {
    const { result } = await changed(new FormData(/** @type {HTMLFormElement} */ (box.querySelector("form")))).catch((error) => ({ result: { reasons: [error], problems: [], firewalls: [] } }));
    preview.replaceChildren(h("ul", {}, ...[...result.reasons, ...result.problems].map((each) => h("li", { class: "bad" }, capital(`${each.message} ${each.advice ?? ""}`)))), rulesOf(result.firewalls));
  } }, "Preview")], "Save", async (given) => {
    await applyChange(await changed(given));
    await reload();
  });
}

/** @param {{policy: any, etag: string}} found @param {() => Promise<void>} reload */
function editConditions(found, reload) {
  const held = found.policy.properties.conditions ?? {};
  const text = (/** @type {string} */ label, /** @type {string} */ name, /** @type {any} */ value) => h("label", {}, label, h("input", { name, value: value ?? "", autocomplete: "off" }));
  const check = (/** @type {string} */ label, /** @type {string} */ name) => h("label", {}, h("input", { type: "checkbox", name, checked: Boolean(held[name]) }), ` ${label}`);
  edit("Change the conditions", [
    h("label", {}, "Approvers needed", h("input", { type: "number", name: "approversNeeded", min: 0, max: 5, value: held.approversNeeded ?? 0 })),
    check("A reason must be given", "justificationRequired"), text("Form of the reason, such as INC[0-9]{5,8}", "justificationPattern", held.justificationPattern),
    check("Own address only", "ownAddressOnly")], found, (given) => ({ conditions: conditionsOf(held, given) }), reload);
}

/** Change the ports of one machine of a policy, or of all. @param {{policy: any, etag: string}} found @param {any} vm @param {() => Promise<void>} reload */
function editPorts(found, vm, reload) {
  const { virtualMachines } = found.policy.properties;
  const rows = h("div", {}, ...vm.ports.map(portFields));
  const add = () => {
    const fields = portFields({ number: "", protocol: "TCP", allowedSourceAddressPrefix: "*", maxRequestAccessDuration: "PT3H" });
    rows.append(fields);
    fields.querySelector("input")?.focus();
  };
  edit(t`Change the ports of ${nameOf(vm.id)}`, [rows, h("button", { type: "button", onclick: add }, "Add a port"),
    virtualMachines.length > 1 && h("label", {}, h("input", { type: "checkbox", name: "all" }), ` The same ports for all ${virtualMachines.length} machines of the policy`)], found, (given) => {
    const ports = portsOf(given);
    return { virtualMachines: virtualMachines.map((/** @type {any} */ each) => (each === vm || given.has("all") ? { ...each, ports } : each)) };
  }, reload);
}

/** Return the fields of one port. @param {any} port */
function portFields(port) {
  const field = (/** @type {string} */ label, /** @type {any} */ props) => h("label", {}, label, h("input", { required: true, autocomplete: "off", ...props }));
  const group = h("fieldset", { class: "port" }, h("legend", {}, port.number ? `Port ${port.number}` : "New port"),
    field("Port", { type: "number", name: "number", min: 1, max: 65535, value: port.number }),
    h("label", {}, "Protocol", h("select", { name: "protocol" }, ...["TCP", "UDP", "*"].map((each) => h("option", { value: each, selected: each.toLowerCase() === port.protocol.toLowerCase() }, each === "*" ? "Any" : each)))),
    field("Longest access, in hours", { type: "number", name: "hours", min: 0, step: "any", value: Number((seconds(port.maxRequestAccessDuration) / 3600).toFixed(4)) }),
    field("Allowed addresses; * is any", { name: "sources", value: sourcesOf(port).join(", ") }),
    h("input", { type: "hidden", name: "mapped", value: port.mappedPort ?? "" }),
    h("button", { type: "button", onclick: () => group.remove() }, "Remove"));
  return group;
}

/** Return the ports that the form names. @param {FormData} given */
function portsOf(given) {
  const [protocols, hours, sources, mapped] = ["protocol", "hours", "sources", "mapped"].map((name) => given.getAll(name).map(String));
  return given.getAll("number").map((number, index) => {
    const prefixes = sources[index].split(/[\s,]+/).filter(Boolean);
    return {
      number: Number(number), protocol: protocols[index], maxRequestAccessDuration: iso(Math.round(Number(hours[index]) * 3600)),
      ...(prefixes.length > 1 ? { allowedSourceAddressPrefixes: prefixes } : { allowedSourceAddressPrefix: prefixes[0] ?? "" }),
      ...(mapped[index] ? { mappedPort: Number(mapped[index]) } : {}),
    };
  });
}

/** @param {any} values */
const withoutNulls = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));

/** Return the conditions with what the form says; what it does not show stays. @param {any} held @param {FormData} given */
function conditionsOf(held, given) {
  // The older word for extensionApproval would contradict a later change of it.
  const { approveExtensions, ...kept } = held;
  return {
    ...withoutNulls(kept), approversNeeded: Number(given.get("approversNeeded")),
    justificationRequired: given.has("justificationRequired"), justificationPattern: given.get("justificationPattern"), ownAddressOnly: given.has("ownAddressOnly"),
  };
}

const VERSION = "?api-version=2020-01-01";
const LOOKS = 30;
const LOOK_MS = 1000;

/** @param {string} id */
const addressOf = (id) => id.split("/").map(encodeURIComponent).join("/") + VERSION;

/** Sort machines by the policy that is to list them. @param {any[]} machines @returns {{policyId: string, ids: string[]}[]} */
export function groupsOf(machines) {
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const { id, location } of machines) {
    const policy = `${id.split("/").slice(0, 5).join("/")}/providers/Microsoft.Security/locations/${location}/jitNetworkAccessPolicies/default`;
    groups.set(policy, [...(groups.get(policy) ?? []), id]);
  }
  return [...groups].map(([policyId, ids]) => ({ policyId, ids }));
}

/** Read a policy with its etag; undefined where there is none. @param {string} id @returns {Promise<{policy: any, etag: string}|undefined>} */
export async function readPolicy(id) {
  try {
    const answer = await send(addressOf(id));
    return { policy: await answer.json(), etag: answer.headers.get("ETag") ?? "" };
  } catch (error) {
    if (/** @type {any} */ (error).status === 404) return undefined;
    throw error;
  }
}

/** Return the change that adds some machines to a policy, and what it would lead to. @param {{policyId: string, ids: string[]}} group */
export async function changeFor({ policyId, ids }) {
  // The list, since a policy that does not exist is no error here.
  const [place, name] = [policyId.slice(0, policyId.lastIndexOf("/")), policyId.slice(policyId.lastIndexOf("/") + 1)];
  const found = (await list(addressOf(place), 2000)).map((policy) => ({ policy, etag: policy.etag })).find(({ policy }) => policy.name.toLowerCase() === name);
  const listed = found?.policy.properties.virtualMachines ?? [];
  return dryRun(policyId, { virtualMachines: [...listed, ...ids.map((id) => ({ id }))] }, found?.etag);
}

/** Ask what a change would lead to. @param {string} policyId @param {any} properties @param {string} [etag] that of the policy which it changes */
export async function dryRun(policyId, properties, etag) {
  const body = { kind: "Basic", properties };
  /** @type {Record<string, string>} */
  const headers = etag ? { "If-Match": etag } : { "If-None-Match": "*" };
  const answer = await send(`${addressOf(policyId)}&dryRun=true`, "PUT", body, headers);
  return { policyId, body, headers, result: await answer.json() };
}

/** Write a change, and wait until the policy has been applied. @param {{policyId: string, body: any, headers: Record<string, string>}} change */
export async function applyChange({ policyId, body, headers }) {
  await send(addressOf(policyId), "PUT", body, headers);
  for (let look = 0; look < LOOKS; look++) {
    const { properties } = await call(addressOf(policyId));
    if (properties.provisioningState === "Failed") throw Object.assign(new Error(properties.provisioningError ?? "The policy could not be applied."), { advice: "Mend what it names. The app tries again by itself." });
    if (properties.provisioningState !== "Updating") return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
