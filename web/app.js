// Sign in, then show the screen that the address names.
import { approvals, mine, one } from "./access.js";
import { activity, operations } from "./operations.js";
import { me } from "./api.js";
import { machine, machines } from "./machines.js";
import { policies, policy } from "./policies.js";
import { settings, signIn } from "./sign-in.js";
import { announce, failure, h, runCountdowns, show } from "./ui.js";

/** @type {[string, string, (current: () => boolean, id: string) => Promise<void>][]} */
const SCREENS = [["machines", "Machines", machines], ["access", "My access", mine], ["approvals", "Approvals", approvals],
  ["policies", "Policies", policies], ["activity", "Activity", activity], ["operations", "Operations", operations]];
/** Screens that show the one thing which the address names. @type {Record<string, (current: () => boolean, id: string) => Promise<void>>} */
const SINGLE = { requests: one, machines: machine, policies: policy };
let turn = 0;

async function route() {
  const now = ++turn;
  const [, name = "", id = ""] = location.hash.match(/^#\/([a-z]+)(?:\/(.+))?$/) ?? [];
  const screen = (id && SINGLE[name]) || (SCREENS.find(([key]) => key === name) ?? SCREENS[0])[2];
  document.querySelector("nav")?.replaceChildren(...SCREENS.map(([key, text, run]) => h("a", { href: `#/${key}`, "aria-current": key === name || (!name && run === screen) ? "page" : null }, text)));
  announce("");
  scrollTo(0, 0);
  show(h("p", {}, "Loading ..."));
  try {
    await screen(() => now === turn, decodeURIComponent(id));
    if (now === turn && turn > 1) document.getElementById("main")?.focus({ preventScroll: true });
  } catch (error) {
    if (now === turn) show(h("h1", {}, "This cannot be shown"), failure(error), h("button", { onclick: route }, "Try again"));
  }
}

async function start() {
  if (!settings.clientId) {
    show(h("p", { role: "alert" }, "This page is not set up. An administrator has to set JIT_PAGE_CLIENT_ID; docs/page.md says how."));
    return;
  }
  try {
    if (!(await signIn())) return;
    addEventListener("hashchange", route);
    runCountdowns();
    await Promise.all([route(), me().then((person) => document.getElementById("person")?.replaceChildren(person.name))]);
  } catch (error) {
    show(h("h1", {}, "You are not signed in"), failure(error), h("button", { onclick: () => location.reload() }, "Sign in again"));
  }
}

start();
