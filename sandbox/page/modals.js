// Modals: the stack of views that one has open, the uppermost shown.

import { $, at, send, worded } from "/page/state.js";
import { h, keepInside, wayBack } from "/page/dom.js";
import { kit } from "/page/blocks.js";
import { complain, filled, firstField, mistakes } from "/page/fields.js";

const box = $("modal");
let stack = [];
let back = null;
const entries = new Map(); // what is filled in, by view, block and action
const form = () => box.querySelector("form");

// A change of a view: new, updated or closed.
export function showView(now) {
  keepEntries();
  const known = stack.findIndex((view) => view.id === now.id);
  if (now.closed) {
    if (known < 0) return;
    for (const gone of stack.splice(known)) entries.delete(gone.id);
  } else if (known >= 0) stack[known] = now;
  else if (now.previous_view_id || !stack.length) stack.push(now);
  else { forget(); stack.push(now); }
  if (stack.length && known >= 0 && !now.closed && known < stack.length - 1) return; // one below was updated
  draw();
}

export function closeViews() {
  if (stack.length) send("/sandbox/act/view_close", { user: at.as, view_id: stack[0].id, clear: true });
  forget();
  draw();
}

function forget() {
  stack = [];
  entries.clear();
}

function leave() {
  const view = stack.at(-1);
  if (!view) return box.close();
  send("/sandbox/act/view_close", { user: at.as, view_id: view.id });
  showView({ id: view.clear_on_close ? stack[0].id : view.id, closed: true });
}

function keepEntries() {
  if (form()) entries.set(form().dataset.view, filled(form()));
}

function draw() {
  const view = stack.at(-1);
  if (!view) {
    box.replaceChildren();
    if (box.open) box.close();
    back?.();
    back = null;
    return;
  }
  const now = form(), held = now?.querySelector(".field :focus")?.id;
  const where = {
    view_id: view.id,
    values: () => filled(form()),
    before: (block, action) => entries.get(view.id)?.[block]?.[action],
  };
  box.replaceChildren(h("form", { noValidate: true, "data-view": view.id, onsubmit: submit, onkeydown: sendKey },
    h("h2", { id: "modaltitle", tabIndex: -1 }, view.title.text),
    h("div", { class: "in" }, kit(view.blocks, where)),
    h("footer", {}, h("div", { class: "oops", id: "modaloops", role: "alert" }),
      h("button", { class: "btn", type: "button", onclick: leave }, view.close?.text || (stack.length > 1 ? "Back" : "Cancel")),
      view.submit && h("button", { class: "btn primary" }, view.submit.text))));
  if (!box.open) { back = wayBack(); box.showModal(); }
  const again = held && now.dataset.view === view.id && document.getElementById(held);
  (again || firstField(form()) || $("modaltitle")).focus();
}

function sendKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && stack.at(-1)?.submit) {
    event.preventDefault();
    event.currentTarget.requestSubmit();
  }
}

async function submit(event) {
  event.preventDefault();
  const view = stack.at(-1), mine = event.target, button = mine.querySelector(".primary");
  if (!view.submit || mine.getAttribute("aria-busy") === "true") return;
  const wrong = mistakes(mine, view.blocks);
  $("modaloops").textContent = "";
  complain(mine, wrong);
  if (Object.keys(wrong).length) return;
  mine.setAttribute("aria-busy", "true");
  button.classList.add("busy");
  const done = await send("/sandbox/act/view_submit", { user: at.as, view_id: view.id, values: filled(mine) });
  mine.removeAttribute("aria-busy");
  button.classList.remove("busy");
  const refused = { missing_input: "Please complete this field.", invalid_input: "Slack does not take this." }[done.error];
  const errors = refused ? { [done.block_id]: refused } : done.error ? {} : done.response?.errors || {};
  if (done.error && !refused && mine.isConnected) $("modaloops").textContent = worded(done.error);
  if (mine.isConnected) complain(mine, errors);
}

keepInside(box, leave);
box.addEventListener("close", () => { if (!box.open && stack.length) closeViews(); }); // the browser closed it
