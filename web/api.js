// Calls of the app's own API.
import { settings, token } from "./sign-in.js";

/** What to do about an answer. @type {Record<number, string>} */
const ADVICE = {
  400: "Change the request and send it again.",
  403: "Ask an administrator for the missing permission.",
  404: "It does not exist any more. Go back and reload the list.",
  409: "It has changed meanwhile. Reload and try again.",
  412: "Another administrator changed it. Reload, then make your change again.",
  429: "Wait a minute, then try again.",
};

/** What an answer means, where its own message names what no person needs. @type {Record<number, string>} */
const MESSAGES = { 412: "The policy is not the one that you began to change." };

/**
 * Call the API; throws an error with `message`, `details` and `advice`.
 * @param {string} path @param {string} [method] @param {any} [body]
 * @returns {Promise<any>}
 */
export async function call(path, method = "GET", body) {
  return (await send(path, method, body)).json().catch(() => ({}));
}

/** Call the API for its answer, whatever its status. @param {string} path @param {string} [method] @param {any} [body] @param {Record<string, string>} [headers] */
export async function answerOf(path, method = "GET", body, headers = {}) {
  const bearer = await token();
  try {
    return await fetch(settings.base + path, {
      method,
      headers: { Authorization: `Bearer ${bearer}`, ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw Object.assign(new Error("The service does not answer."), { advice: "Check your connection, then try again. What is open closes on time all the same." });
  }
}

/** Call the API for an answer with its headers. @param {string} path @param {string} [method] @param {any} [body] @param {Record<string, string>} [headers] */
export async function send(path, method = "GET", body, headers = {}) {
  const answer = await answerOf(path, method, body, headers);
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(MESSAGES[answer.status] ?? error?.message ?? `The service answered ${answer.status}.`), {
    status: answer.status, code: error?.code, details: error?.details, advice: ADVICE[answer.status] ?? "Try again in a minute.",
  });
}

/** Return every entry of a list, page by page; at most some. @param {string} path @param {number} [most] @param {(page: any) => void} [seen] is given each page @returns {Promise<any[]>} */
export async function list(path, most = 1000, seen = () => {}) {
  /** @type {any[]} */
  const found = [];
  for (let next = path; next && found.length < most;) {
    const page = await call(next);
    found.push(...page.value);
    seen(page);
    // A link is absolute, and may name another host than the one that the page came from.
    const link = page.nextLink && new URL(page.nextLink);
    next = link ? (link.pathname + link.search).slice(settings.base.length) : "";
  }
  return found;
}

/** @type {Promise<any>|undefined} */
let person;

/** Return who is signed in, as the API sees it; asked once. @returns {Promise<any>} */
export function me() {
  person ??= call("/api/me").catch((error) => {
    person = undefined;
    throw error;
  });
  return person;
}
