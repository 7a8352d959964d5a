// Sign in, then show the screen that the address names.
import { approvals, mine, one } from "./access.js";
import { me } from "./api.js";
import { machines } from "./machines.js";
import { settings, signIn } from "./sign-in.js";
import { runCountdowns } from "./time.js";
import { failure, h, show } from "./ui.js";

/** @type {[string, string, () => Promise<void>][]} */
const SCREENS = [["#/machines", "Machines", machines], ["#/access", "My access", mine], ["#/approvals", "Approvals", approvals]];
let turn = 0;

async function route() {
  const now = ++turn;
  const hash = location.hash || "#/machines";
  document.querySelector("nav")?.replaceChildren(...SCREENS.map(([href, name]) => h("a", { href, "aria-current": hash === href && "page" }, name)));
  show(h("p", {}, "Loading ..."));
  try {
    const id = hash.match(/^#\/requests\/(.+)$/)?.[1];
    if (id) await one(decodeURIComponent(id), () => now === turn);
    else await (SCREENS.find(([href]) => href === hash) ?? SCREENS[0])[2]();
  } catch (error) {
    if (now === turn) show(failure(error), h("button", { onclick: route }, "Try again"));
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
    show(failure(error), h("button", { onclick: () => location.reload() }, "Sign in again"));
  }
}

start();
