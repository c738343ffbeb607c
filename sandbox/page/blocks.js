// Block Kit: blocks and elements as nodes, what happens when they are pressed, and the question before it.
// `where` says what they stand in: `{ channel, ts }` for a message, `{ view_id, values() }` for a modal.

import { $, at, data, send, worded } from "/page/state.js";
import { announce, h, keepInside, wayBack } from "/page/dom.js";
import { broken, coded, emoji, isSafe, lines, rich, words } from "/page/text.js";
import { field } from "/page/fields.js";

// -- blocks

const KINDS = {
  header: (b) => h("div", { class: "bk header", role: "heading", "aria-level": 3 }, words(b.text)),
  divider: () => h("hr", { class: "bk divider" }),
  section: (b, w) => h("div", { class: "bk section" },
    h("div", {}, b.text && h("div", {}, words(b.text)), b.fields && h("div", { class: "fields" }, b.fields.map((f) => h("div", {}, words(f))))),
    b.accessory && h("span", { class: "acts" }, element(b.accessory, b, w))),
  context: (b) => h("div", { class: "bk context" }, b.elements.map((e) => h("span", {}, e.type === "image" ? pictured(e) : words(e)))),
  actions: (b, w) => h("div", { class: "bk acts" }, b.elements.map((e) => element(e, b, w))),
  rich_text: (b) => h("div", { class: "bk" }, rich(b)),
  table: (b) => h("div", { class: "bk" }, tabled(b)),
  markdown: (b) => h("div", { class: "bk" }, lines(b.text)),
  image: (b) => h("div", { class: "bk unknown" }, pictured(b)),
  plan: (b) => h("div", { class: "bk plan" }, h("b", {}, emoji(b.title)), (b.tasks || []).map(task)),
  task_card: (b) => h("div", { class: "bk plan" }, task(b)),
  card: (b, w) => h("div", { class: "bk box" }, h("b", {}, words(b.title)), h("div", { class: "hint" }, words(b.subtitle)),
    h("div", {}, words(b.body)), h("div", { class: "acts" }, (b.actions || []).map((e) => element(e, b, w)))),
  carousel: (b, w) => h("div", { class: "bk" }, b.elements.map((c) => KINDS.card(c, w))),
  container: (b, w) => h("details", { class: "bk box", open: !b.default_collapsed },
    h("summary", {}, b.rich_text_title ? rich(b.rich_text_title) : words(b.title)),
    h("div", { class: "hint" }, words(b.subtitle)), kit(b.child_blocks, w)),
  alert: (b) => h("div", { class: "bk box" }, words(b.text)),
  input: (b, w) => field(b, w),
};

export function kit(blocks, where) {
  return blocks.map((b) => {
    try {
      return KINDS[b.type] ? KINDS[b.type](b, where) : h("div", { class: "bk unknown" }, `[${b.type}]`);
    } catch {
      return h("div", { class: "bk unknown" }, `[${b.type}: cannot be shown]`);
    }
  });
}
const pictured = (e) => `🖼 ${e.alt_text}`;

function tabled(block) {
  const setting = (i) => block.column_settings?.[i] || {};
  const cell = (value, i, tag) => {
    const inside = value.type === "rich_text" ? rich(value) : broken(value.text);
    const node = h(tag, { class: setting(i).is_wrapped ? "wrap" : null, scope: tag === "th" ? "col" : null }, inside);
    node.style.textAlign = setting(i).align || (value.type === "raw_number" ? "right" : "");
    return node;
  };
  const rows = block.rows.map((row, r) => h("tr", {}, row.map((value, i) => cell(value, i, r ? "td" : "th"))));
  return h("div", { class: "tablebox", role: "region", "aria-label": `Table, ${block.rows.length - 1} rows` }, h("table", {}, rows));
}

const DONE = { pending: "⬜", in_progress: "▶️", complete: "✅", error: "❌" };
function task(t) {
  const sign = h("span", { title: t.status }, emoji(DONE[t.status] || "⬜"));
  return h("div", { class: "task" }, sign, h("div", {}, emoji(t.title), t.details && rich(t.details), t.output && rich(t.output)));
}

// -- elements

function element(e, block, where) {
  if (e.type === "button") {
    if (e.visible_to_user_ids && !e.visible_to_user_ids.includes(at.as)) return null;
    const run = (event) => press(event.currentTarget, e, block, where, undefined);
    const about = { class: `btn ${e.style || ""}`, type: "button", "data-key": e.action_id, "aria-label": e.accessibility_label };
    return h("button", { ...about, onclick: run }, emoji(e.text.text), e.url && " ↗");
  }
  const options = [...(e.options || []), ...(e.option_groups || []).flatMap((g) => g.options)];
  if (e.type === "users_select") options.push(...data.world.users.map((u) => ({ value: u.id, text: { text: u.name } })));
  if (e.type === "image") return h("span", { class: "unknown" }, pictured(e));
  if (!options.length) return h("span", { class: "unknown" }, `[${e.type}]`);
  return chooser(e, block, where, options);
}

// Arrow keys only look through the choices; Enter, leaving it, or a pointer chooses.
function chooser(e, block, where, options) {
  const first = e.type === "overflow" ? "⋯" : e.placeholder?.text || "Choose…";
  const start = e.initial_option?.value || "";
  let isLooking = false;
  const choose = () => {
    const value = box.value;
    isLooking = false;
    box.value = start;
    if (value && value !== start) press(box, e, block, where, value);
  };
  const keys = (event) => {
    if (event.key === "Enter" && isLooking) { event.preventDefault(); choose(); }
    else if (event.key === "Escape") { isLooking = false; box.value = start; }
    else if (event.key !== "Tab") isLooking = true;
  };
  const about = { class: e.type === "overflow" ? "btn over" : "btn", "data-key": e.action_id };
  const box = h("select", {
    ...about, "aria-label": e.type === "overflow" ? "More actions" : first, onkeydown: keys,
    onpointerdown: () => { isLooking = false; }, onchange: () => isLooking || choose(), onblur: () => isLooking && choose(),
  }, h("option", { value: "" }, first), options.map((o) => h("option", { value: o.value }, coded(o.text.text))));
  box.value = start;
  return box;
}

async function press(control, e, block, where, value) {
  if (control.getAttribute("aria-busy") === "true" || (e.confirm && !(await confirmed(e.confirm)))) return;
  if (e.url && isSafe(e.url)) window.open(e.url, "_blank", "noopener");
  control.setAttribute("aria-busy", "true");
  const place = where.view_id ? { view_id: where.view_id, values: where.values() } : { channel: where.channel, ts: where.ts };
  const what = { action_id: e.action_id, block_id: block.block_id, ...(value === undefined ? {} : { value }) };
  const done = await send("/sandbox/act/click", { user: at.as, ...place, ...what });
  control.removeAttribute("aria-busy");
  const row = control.parentElement;
  row?.querySelector(".oops")?.remove();
  if (done.error) row?.append(h("span", { class: "oops", role: "alert" }, worded(done.error)));
  else if (!where.view_id) announce(`${control.textContent.trim()}: sent`);
}

// -- the question before it

// A dialog with a title and buttons; the answer is the value of the button, or nothing.
export function ask(title, body, buttons) {
  const box = $("ask"), back = wayBack();
  return new Promise((resolve) => {
    answer = (value) => {
      box.close();
      back();
      resolve(value);
    };
    const submit = (event) => { event.preventDefault(); answer(event.submitter?.value); };
    box.replaceChildren(h("form", { onsubmit: submit },
      h("h2", { id: "asktitle" }, emoji(title)), h("div", { class: "in", id: "asktext" }, body), h("footer", {}, buttons)));
    box.showModal();
  });
}
let answer = () => {};
keepInside($("ask"), () => answer());

async function confirmed(c) {
  const yes = `btn solid ${c.style || "primary"}`;
  return "yes" === await ask(c.title.text, words(c.text), [
    h("button", { class: "btn", value: "no" }, c.deny.text), h("button", { class: yes, value: "yes" }, c.confirm.text),
  ]);
}
