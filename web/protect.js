// Changes of policies: shown by a dry run, and refused if the policy has changed since it was read.
import { call, list, send } from "./api.js";

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
  return explain(policyId, { virtualMachines: [...listed, ...ids.map((id) => ({ id }))] }, found?.etag);
}

/** Ask what a change would lead to. @param {string} policyId @param {any} properties @param {string} [etag] that of the policy which it changes */
export async function explain(policyId, properties, etag) {
  const body = { kind: "Basic", properties };
  /** @type {Record<string, string>} */
  const headers = etag ? { "If-Match": etag } : { "If-None-Match": "*" };
  const answer = await send(`${addressOf(policyId)}&dryRun=true`, "PUT", body, headers);
  return { policyId, body, headers, explained: await answer.json() };
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
