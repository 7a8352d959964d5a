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

/**
 * Call the API; throws an error with `message`, `details` and `advice`.
 * @param {string} path @param {string} [method] @param {any} [body]
 * @returns {Promise<any>}
 */
export async function call(path, method = "GET", body) {
  const bearer = await token();
  let answer;
  try {
    answer = await fetch(settings.base + path, {
      method,
      headers: { Authorization: `Bearer ${bearer}`, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw Object.assign(new Error("The service does not answer."), { advice: "Check your connection, then try again. What is open closes on time all the same." });
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const error = content.error ?? { message: `The service answered ${answer.status}.` };
  throw Object.assign(new Error(error.message), { code: error.code, details: error.details, advice: ADVICE[answer.status] ?? "Try again in a minute." });
}
