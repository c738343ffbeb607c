// Making nodes, speaking to screen readers, and knowing the way back for the focus.
// All data reaches the page as text nodes and properties; nothing is ever parsed as HTML.

import { $ } from "/page/state.js";

export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && !name.startsWith("aria") && name !== "role" && name !== "list") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false && c !== ""));
  return node;
}

// Said politely: after what the reader is saying now.
export function announce(text) {
  const line = h("p", {}, text);
  $("news").append(line);
  setTimeout(() => line.remove(), 10_000);
}

export const isShown = (node) => node?.isConnected && node.getClientRects().length > 0;

// Back to where the focus is now, also when that was drawn anew meanwhile: to the same control, else to its message.
export function wayBack() {
  const node = document.activeElement;
  const log = node?.closest(".log")?.id;
  const { ts } = node?.closest(".msg")?.dataset || {};
  const { key } = node?.dataset || {};
  return () => {
    if (isShown(node) && node !== document.body) return node.focus();
    const message = ts && document.querySelector(`#${log} .msg[data-ts="${ts}"]`);
    const twin = message && key && message.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const target = [twin, message, $("box"), $("threadbox")].find(isShown);
    target?.focus();
  };
}

const TABBABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']";

// Keeps Tab inside a dialog, and Escape for `leave`.
export function keepInside(box, leave) {
  box.addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); leave(); }
    if (event.key !== "Tab") return;
    const all = [...box.querySelectorAll(TABBABLE)].filter((n) => isShown(n) && !n.disabled && n.tabIndex >= 0);
    const from = event.shiftKey ? all[0] : all.at(-1), to = event.shiftKey ? all.at(-1) : all[0];
    const outside = !all.includes(document.activeElement) && (event.shiftKey || !box.contains(document.activeElement));
    if (to && (document.activeElement === from || outside)) { event.preventDefault(); to.focus(); }
  });
}

// Up and down among the entries of a list, round and round.
export function arrows(list, selector) {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const items = [...list.querySelectorAll(selector)], now = items.indexOf(document.activeElement);
    if (!step || event.altKey || now < 0) return;
    event.preventDefault();
    items[(now + step + items.length) % items.length].focus();
  });
}
