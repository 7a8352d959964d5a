// The policies: their list, and one with its ports, conditions and machines.
import { list, me } from "./api.js";
import { applyChange, explain, readPolicy } from "./protect.js";
import { rulesOf } from "./request-form.js";
import { inWords, seconds } from "./time.js";
import { dialog, h, nameOf, numbersOf, show, table } from "./ui.js";

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
  const rows = properties.virtualMachines.map((/** @type {any} */ vm) => [h("a", { href: `#/machines/${encodeURIComponent(vm.id)}` }, nameOf(vm.id)), h("span", {}, numbersOf(vm.ports)), h("ul", {}, ...vm.ports.map(portLine))]);
  show(h("h1", {}, `Policy ${found.policy.name}`), h("p", {}, `Resource group ${found.policy.id.split("/")[4]}, ${found.policy.location}. State: ${properties.provisioningState}.`),
    properties.provisioningError ? h("p", { class: "bad" }, properties.provisioningError) : h("span"), h("h2", {}, "Conditions"), h("ul", {}, ...inSentences(properties.conditions ?? {}).map((each) => h("li", {}, each))),
    h("button", { onclick: () => edit(found, () => policy(current, id)) }, "Change the conditions"), h("h2", {}, `Machines (${rows.length})`), table(["Machine", "Ports", "What is allowed"], rows),
    h("details", {}, h("summary", {}, "As JSON"), h("pre", {}, JSON.stringify({ ...found.policy, properties: { ...properties, requests: undefined } }, null, 2))));
}

/** @param {any} port */
function portLine(port) {
  const sources = port.allowedSourceAddressPrefix ?? port.allowedSourceAddressPrefixes?.join(", ");
  return h("li", {}, `${port.number}${port.protocol === "*" ? "" : ` ${port.protocol}`}: at most ${inWords(seconds(port.maxRequestAccessDuration))}, from ${sources === "*" ? "any address" : sources}`);
}

/** Say what a policy asks for. @param {any} conditions */
function inSentences(conditions) {
  const needed = conditions.approversNeeded ?? 0;
  return [
    needed ? `${needed} ${needed === 1 ? "person" : "people"} must approve, within ${inWords(seconds(conditions.approvalTimeout))}.` : "No approval is needed.",
    conditions.justificationPattern ? `The reason must have the form ${conditions.justificationPattern}.` : conditions.justificationRequired ? "A reason must be given." : "A reason is optional.",
    conditions.ownAddressOnly ? "Access opens to the requestor's own address only." : "Access may be requested for another address.",
    `With all extensions an access lasts ${inWords(seconds(conditions.maxTotalDuration ?? "PT24H"))} at most.`,
  ];
}

/** Change the conditions; the write is refused if the policy has changed since it was read. @param {{policy: any, etag: string}} found @param {() => Promise<void>} reload */
function edit({ policy: { id, properties }, etag }, reload) {
  const held = properties.conditions ?? {};
  const preview = h("div", { "aria-live": "polite" });
  const text = (/** @type {string} */ label, /** @type {string} */ name, /** @type {any} */ value) => h("label", {}, label, h("input", { name, value: value ?? "", autocomplete: "off" }));
  const check = (/** @type {string} */ label, /** @type {string} */ name) => h("label", {}, h("input", { type: "checkbox", name, checked: Boolean(held[name]) }), ` ${label}`);
  const changed = (/** @type {FormData} */ given) => explain(id, { virtualMachines: properties.virtualMachines, conditions: conditionsOf(held, given) }, etag);
  const box = dialog("Change the conditions", [
    h("label", {}, "Approvers needed", h("input", { type: "number", name: "approversNeeded", min: 0, max: 5, value: held.approversNeeded ?? 0 })),
    check("A reason must be given", "justificationRequired"), text("Form of the reason, such as INC[0-9]{5,8}", "justificationPattern", held.justificationPattern),
    check("Own address only", "ownAddressOnly"), preview,
    h("button", { type: "button", onclick: async () => {
      const { explained } = await changed(new FormData(/** @type {HTMLFormElement} */ (box.querySelector("form")))).catch((error) => ({ explained: { reasons: [error], problems: [], firewalls: [] } }));
      preview.replaceChildren(h("ul", {}, ...[...explained.reasons, ...explained.problems].map((each) => h("li", { class: "bad" }, `${each.message} ${each.advice ?? ""}`))), rulesOf(explained.firewalls));
    } }, "Preview")], "Save", async (given) => {
    await applyChange(await changed(given));
    await reload();
  });
}

/** Return the conditions with what the form says; what it does not show stays. @param {any} held @param {FormData} given */
function conditionsOf(held, given) {
  // The older word for extensionApproval would contradict a later change of it.
  const { approveExtensions, ...kept } = held;
  return {
    ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== null)), approversNeeded: Number(given.get("approversNeeded")),
    justificationRequired: given.has("justificationRequired"), justificationPattern: given.get("justificationPattern"), ownAddressOnly: given.has("ownAddressOnly"),
  };
}
