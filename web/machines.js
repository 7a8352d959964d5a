// The machines.
import { call } from "./api.js";
import { openForm } from "./request-form.js";
import { h, nameOf, show, table } from "./ui.js";

/** Show the machines by category, with a search. @param {() => boolean} current */
export async function machines(current) {
  const found = (await call("/api/machines")).value;
  const categories = [...new Set(found.map((/** @type {any} */ each) => each.category))].sort();
  const search = /** @type {HTMLInputElement} */ (h("input", { type: "search", oninput: () => fill() }));
  const list = h("div");
  const fill = () => {
    const text = search.value.toLowerCase();
    list.replaceChildren(...categories.map((category) => {
      const shown = found.filter((/** @type {any} */ each) => each.category === category && each.id.toLowerCase().includes(text));
      return h("section", {}, h("h2", {}, `${category} (${shown.length})`), table(["Machine", "Addresses", "State", "Access"], shown.map(row)));
    }));
  };
  fill();
  show(h("h1", {}, "Machines"), h("label", {}, "Search machines", search), list);
}

/** @param {any} machine */
function row(machine) {
  const ports = machine.ports ?? [];
  const exposed = machine.exposedBy.map((/** @type {any} */ each) => h("p", { class: "bad" }, `Port ${each.port} is left open by rule ${each.rule} of ${nameOf(each.firewall)}`));
  const ask = ports.length ? h("button", { onclick: () => openForm(machine) }, "Request access") : h("span", { class: "muted" }, "Not protected");
  return [h("strong", { title: machine.id }, nameOf(machine.id)), h("span", {}, machine.privateIpAddresses.join(", ")), h("div", {}, machine.reason, ...exposed), ask];
}
