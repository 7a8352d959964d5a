// The machines by category, one machine, and the protection of several at once.
import { list } from "./api.js";
import { applyChange, changeFor, groupsOf } from "./policies.js";
import { openForm, rulesOf } from "./request-form.js";
import { sentence, state } from "./requests.js";
import { addressesOf, announce, capital, clock, dialog, h, joined, nameOf, numbersOf, show, t, table } from "./ui.js";

const CATEGORIES = ["Configured", "Not configured", "Exposed", "Unsupported", "Unknown"];

/** What the person was looking at, kept while the page is open. */
const view = { tab: "Configured", search: "" };

/** Show the machines by category, with a search. @param {() => boolean} current */
export async function machines(current) {
  /** @type {Set<string>} */
  const unanswered = new Set();
  const found = await list("/api/machines", 5000, (page) => page.unanswered.forEach((/** @type {string} */ each) => unanswered.add(each)));
  if (!current()) return;
  const panel = h("div", { role: "tabpanel", id: "panel", "aria-labelledby": "tab-chosen" });
  const tabs = h("div", { role: "tablist", "aria-label": "Category", onkeydown: moveTab });
  const fill = () => {
    const shown = found.filter((each) => nameOf(each.id).toLowerCase().includes(view.search.toLowerCase()));
    const counted = CATEGORIES.map((name) => ({ name, members: shown.filter((each) => each.category === name) })).filter(({ name, members }) => members.length || name !== "Unknown");
    tabs.replaceChildren(...counted.map(({ name, members }) => tab(`${name} (${members.length})`, name, fill)));
    const members = counted.find(({ name }) => name === view.tab)?.members ?? [];
    panel.replaceChildren(contents(members, () => machines(current)));
    announce(view.search ? `${members.length} machines found` : "");
  };
  const search = /** @type {HTMLInputElement} */ (h("input", { type: "search", value: view.search, autocomplete: "off", oninput: () => {
    view.search = search.value;
    fill();
  } }));
  fill();
  show(h("h1", {}, "Machines"), missing([...unanswered]), h("label", { class: "narrow" }, "Search by name", search), tabs, panel);
}

/** Name the parts of a cloud that did not answer. @param {string[]} unanswered */
function missing(unanswered) {
  return unanswered.length ? h("div", { class: "note", role: "note" }, h("strong", { class: "warn" }, "Machines may be missing: not every part of the cloud answered."), h("ul", {}, ...unanswered.map((each) => h("li", {}, capital(each)))), h("p", {}, "Reload in a minute. If it stays, an administrator has to look at what is named here.")) : h("span");
}

/** @param {string} text @param {string} name @param {() => void} fill */
function tab(text, name, fill) {
  const chosen = name === view.tab;
  return h("button", { role: "tab", "aria-selected": String(chosen), tabindex: chosen ? 0 : -1, id: chosen && "tab-chosen", "aria-controls": "panel", onclick: () => {
    view.tab = name;
    fill();
    document.getElementById("tab-chosen")?.focus();
  } }, text);
}

/** Let the arrow keys go from tab to tab. @param {KeyboardEvent} event */
function moveTab(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const tabs = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("button")];
  if (step) tabs[(tabs.findIndex((each) => each.id === "tab-chosen") + step + tabs.length) % tabs.length].click();
}

/** @param {any[]} members @param {() => Promise<void>} reload */
function contents(members, reload) {
  if (!members.length) return h("p", {}, view.search ? "No machine with this name is in this category." : view.tab === "Configured" ? "No machine is protected yet. An administrator selects machines under Not configured." : "No machine is in this category.");
  if (view.tab !== "Not configured") return table(["Machine", "Addresses", "Ports", "State", "Last access", "Access"], members.map(row));
  const rows = members.map((each) => [h("label", {}, h("input", { type: "checkbox", name: "vm", value: each.id }), " ", nameOf(each.id)), h("span", {}, addresses(each)), h("span", {}, capital(each.system ?? "")), h("span", {}, each.id.split("/")[4])]);
  const problem = h("p", { role: "status" });
  const form = h("form", { onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    const ids = new FormData(/** @type {HTMLFormElement} */ (event.target)).getAll("vm");
    problem.replaceChildren(ids.length ? "" : "Select at least one machine.");
    if (ids.length) protect(members.filter((each) => ids.includes(each.id)), reload);
  } }, h("p", { class: "buttons" }, h("button", { class: "primary" }, "Protect the selected machines"), h("button", { type: "button", onclick: () => form.querySelectorAll("input").forEach((/** @type {HTMLInputElement} */ each) => { each.checked = true; }) }, "Select all")), problem,
  table(["Machine", "Addresses", "System", "Resource group"], rows));
  return form;
}

/** @param {any} machine */
const addresses = (machine) => machine.privateIpAddresses.join(", ");

/** @param {any} machine */
function row(machine) {
  const last = machine.lastAccess ? t`${clock(machine.lastAccess)}, ${machine.lastRequestor ?? ""}` : "";
  return [h("a", { href: `#/machines/${encodeURIComponent(machine.id)}` }, nameOf(machine.id)), h("span", {}, addresses(machine)), h("span", {}, numbersOf(machine.ports)),
    h("div", { class: "wide" }, machine.exposedBy.length ? exposures(machine) : capital(machine.reason)), h("span", {}, last), ask(machine)];
}

/** @param {any} machine */
const ask = (machine) => (machine.ports.length ? h("button", { onclick: () => openForm(machine) }, "Request access") : h("span", { class: "muted" }, "Not protected"));

/** Name each rule that leaves a port open, and what to do about it. @param {any} machine */
function exposures(machine) {
  return h("div", {}, ...machine.exposedBy.map((/** @type {any} */ each) => h("p", { class: "bad" },
    t`Port ${each.port} is left open to ${addressesOf(each.sources) || "unknown addresses"} by rule ${each.rule}${each.priority === undefined ? "" : ` (priority ${each.priority})`} of ${nameOf(each.firewall)}.`)),
  h("p", {}, "Remove or narrow that rule, then look again."));
}

/** Show one machine: how it is protected, and the access that is open. @param {() => boolean} current @param {string} id */
export async function machine(current, id) {
  const [[found], open] = await Promise.all([list(`/api/machines?scope=${encodeURIComponent(id)}`), list(`/api/requests?status=Initiated&vm=${encodeURIComponent(id)}`, 200)]);
  if (!current()) return;
  if (!found) throw Object.assign(new Error("There is no such machine."), { advice: "Go back to Machines and choose another." });
  const links = found.policies.map((/** @type {string} */ policy) => h("a", { href: `#/policies/${encodeURIComponent(policy)}` }, nameOf(policy)));
  const details = [["Category", found.category], ["Reason", capital(found.reason)], ["Addresses", addresses(found)], ["Ports", numbersOf(found.ports)], ["Policy", h("span", {}, ...links)],
    ["Firewalls", joined(found.firewalls.map((/** @type {string} */ each) => t`${nameOf(each)}`), ", ")], ["System", capital(found.system ?? "")], ["Resource id", found.id]];
  show(h("h1", {}, nameOf(found.id)), ask(found), found.exposedBy.length ? exposures(found) : h("span"),
    h("dl", {}, ...details.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])), h("h2", {}, "Open access"),
    open.length ? table(["Request", "State"], open.map((each) => [h("a", { href: `#/requests/${encodeURIComponent(each.id)}` }, sentence(each)), state(each)])) : h("p", {}, "Nothing is open."));
}

/** Show what protecting some machines would change, and do it. @param {any[]} chosen @param {() => Promise<void>} reload */
async function protect(chosen, reload) {
  const outcome = h("div", { class: "note", "aria-live": "polite" }, "Looking at what would change ...");
  /** @type {any[]} */
  let changes = [];
  dialog(`Protect ${chosen.length} ${chosen.length === 1 ? "machine" : "machines"}`, [
    h("p", {}, "Their management ports are closed to every address. Access then needs a request. What reaches them today by those ports no longer will."),
    h("p", {}, joined(chosen.map((each) => t`${nameOf(each.id)}`), ", ")), outcome], "Protect", async () => {
    if (!changes.length) throw Object.assign(new Error("It is not known yet what would change."), { advice: "Wait until the change is shown, then press Protect again." });
    for (const change of changes) await applyChange(change);
    view.tab = "Configured";
    await reload();
  });
  try {
    const found = [];
    for (const group of groupsOf(chosen)) found.push(await changeFor(group));
    const against = found.flatMap(({ result }) => [...result.reasons, ...result.problems]);
    outcome.replaceChildren(against.length ? h("ul", { class: "bad" }, ...against.map((each) => h("li", {}, capital(each.message)))) : "Every machine can be protected.", rulesOf(found.flatMap(({ result }) => result.firewalls)));
    changes = found;
  } catch (error) {
    const { message, advice } = /** @type {any} */ (error);
    outcome.replaceChildren(h("p", { class: "bad" }, `${message} ${advice ?? ""}`));
  }
}
