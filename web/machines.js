// The machines, and the form that requests access to one.
import { call } from "./api.js";
import { failure, h, nameOf, show, table } from "./ui.js";

/** Show the machines by category, with a search. */
export async function machines() {
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
  const ask = ports.length ? h("button", { onclick: () => form(machine) }, "Request access") : h("span", { class: "muted" }, "Not protected");
  return [h("strong", { title: machine.id }, nameOf(machine.id)), h("span", {}, machine.privateIpAddresses.join(", ")), h("div", {}, machine.reason, ...exposed), ask];
}

/** Show the form, filled in. @param {any} machine */
function form(machine) {
  const port = h("select", { name: "port" }, ...machine.ports.map((/** @type {any} */ each) => h("option", { value: each.number }, `${each.number} (${each.protocol})`)));
  const time = h("select", { name: "time" }, ...[["PT30M", "30 minutes"], ["PT1H", "1 hour"], ["PT3H", "3 hours"]].map(([value, text]) => h("option", { value }, text)));
  const source = h("input", { name: "source", placeholder: "Your own address", autocomplete: "off" });
  const reason = h("input", { name: "reason", maxlength: 1000, autocomplete: "off" });
  const problem = h("div");
  const send = h("button", { class: "primary" }, "Request access");
  const dialog = /** @type {HTMLDialogElement} */ (h("dialog", { "aria-label": `Request access to ${nameOf(machine.id)}`, onclose: () => dialog.remove() },
    h("form", {
      onsubmit: async (/** @type {Event} */ event) => {
        event.preventDefault();
        send.setAttribute("disabled", "");
        const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
        try {
          const made = await call("/api/requests", "POST", {
            virtualMachine: machine.id, ports: [Number(given.get("port"))], duration: given.get("time"), justification: given.get("reason"),
            ...(given.get("source") ? { allowedSourceAddressPrefix: given.get("source") } : {}),
          });
          dialog.close();
          location.hash = `#/requests/${made.id}`;
        } catch (error) {
          problem.replaceChildren(failure(error));
          send.removeAttribute("disabled");
        }
      },
    }, h("h1", {}, "Request access to ", nameOf(machine.id)), h("label", {}, "Port", port), h("label", {}, "Time", time),
      h("label", {}, "From", source), h("label", {}, "Reason", reason), problem, send, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  document.body.append(dialog);
  dialog.showModal();
}
