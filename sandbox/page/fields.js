// Input blocks: a labelled field with hint and error, what was filled in, and what is wrong with it.

import { data } from "/page/state.js";
import { h } from "/page/dom.js";
import { coded, words } from "/page/text.js";

// The field of an input block. `where.before(block, action)` is what had been filled in before it was drawn anew.
export function field(b, where) {
  const e = b.element, id = `in-${b.block_id}`;
  const before = where.before(b.block_id, e.action_id);
  const isGroup = e.type === "checkboxes" || e.type === "radio_buttons";
  const control = isGroup ? choices(b, e, before) : chosen(e, id, before) || typed(e, id, before);
  const label = [b.label.text, b.optional && h("span", { class: "hint" }, " (optional)")];
  const hint = b.hint && h("div", { class: "hint", id: `${id}-hint` }, b.hint.text);
  const about = { class: "field", "data-block": b.block_id, "data-action": e.action_id, "data-type": e.type };
  if (e.focus_on_load) about["data-first"] = true;
  const node = isGroup
    ? h("fieldset", about, h("legend", {}, label), control, hint)
    : h("div", about, h("label", { class: "f", htmlFor: id }, label), control, hint);
  if (!b.optional && !isGroup) control.setAttribute("aria-required", "true");
  described(node, hint ? [`${id}-hint`] : []);
  node.addEventListener("input", () => node.matches(".wrong") && blame(node, ""));
  return node;
}

function typed(e, id, before) {
  const start = before ?? e.initial_value ?? "", placeholder = e.placeholder?.text || "", maxLength = e.max_length || 3000;
  const common = { id, value: start, placeholder, maxLength, autocomplete: "off" };
  if (!e.multiline) return h("input", { type: "text", ...common });
  return h("textarea", { rows: Math.min(8, Math.max(3, start.split("\n").length + 1)), ...common });
}

function chosen(e, id, before) {
  const people = e.type === "users_select" ? data.world.users.map((u) => ({ value: u.id, text: { text: u.name } })) : [];
  const options = [...(e.options || []), ...people];
  if (!options.length && !e.option_groups) return null;
  const entry = (o) => h("option", { value: o.value }, coded(o.text.text));
  const groups = (e.option_groups || []).map((g) => h("optgroup", { label: g.label.text }, g.options.map(entry)));
  const box = h("select", { id }, h("option", { value: "" }, e.placeholder?.text || "Choose…"), options.map(entry), groups);
  box.value = before ?? e.initial_option?.value ?? "";
  return box;
}

function choices(b, e, before) {
  const start = before ?? (e.initial_options || [e.initial_option]).map((o) => o?.value);
  const type = e.type === "checkboxes" ? "checkbox" : "radio";
  return e.options.map((o, i) => h("label", { class: "choice" },
    h("input", { id: `in-${b.block_id}-${i}`, type, name: b.block_id, value: o.value, checked: [start].flat().includes(o.value) }),
    h("span", {}, words(o.text), o.description && h("span", { class: "hint" }, " ", words(o.description)))));
}

const controls = (node) => [...node.querySelectorAll("input, select, textarea")];

function described(node, ids) {
  for (const control of node.matches("fieldset") ? [node] : controls(node)) {
    if (ids.length) control.setAttribute("aria-describedby", ids.join(" "));
    else control.removeAttribute("aria-describedby");
  }
}

function value(node) {
  const all = controls(node), ticked = all.filter((c) => c.checked).map((c) => c.value);
  if (node.dataset.type === "checkboxes") return ticked;
  return node.dataset.type === "radio_buttons" ? ticked[0] || "" : all[0].value;
}

// What is filled in, by block and action.
export function filled(form) {
  const values = {};
  for (const node of form.querySelectorAll(".field")) values[node.dataset.block] = { [node.dataset.action]: value(node) };
  return values;
}

// What cannot be sent, by block, in the words that Slack's client uses for it.
export function mistakes(form, blocks) {
  const found = {}, values = filled(form);
  for (const b of blocks.filter((block) => block.type === "input")) {
    const given = values[b.block_id][b.element.action_id];
    if (!b.optional && !given.length) found[b.block_id] = "Please complete this field.";
    else if (given.length && b.element.type === "plain_text_input" && given.length < (b.element.min_length || 0)) {
      found[b.block_id] = `Please enter at least ${b.element.min_length} characters.`;
    }
  }
  return found;
}

function blame(node, text) {
  const id = `in-${node.dataset.block}`;
  node.querySelector(".oops")?.remove();
  node.classList.toggle("wrong", !!text);
  for (const control of controls(node)) control.setAttribute("aria-invalid", String(!!text));
  const hints = node.querySelector(`#${CSS.escape(id)}-hint`) ? [`${id}-hint`] : [];
  if (text) node.append(h("div", { class: "oops", id: `${id}-error`, role: "alert" }, text));
  described(node, text ? [`${id}-error`, ...hints] : hints);
}

// Shows what is wrong at each field until it is changed, says it, and goes to the first of them.
export function complain(form, errors) {
  for (const node of form.querySelectorAll(".field")) blame(node, errors[node.dataset.block]);
  const first = form.querySelector(".field.wrong");
  if (first) { controls(first)[0].focus(); first.scrollIntoView({ block: "nearest" }); }
}

// Where typing begins.
export const firstField = (form) => {
  const node = form.querySelector(".field[data-first]") || form.querySelector(".field");
  return node && controls(node)[0];
};
