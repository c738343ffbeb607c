// The messages of a channel or a thread: drawing them, and walking through them by keyboard.

import { $, at, data, send, user, worded } from "/page/state.js";
import { announce, h, wayBack } from "/page/dom.js";
import { EMOJI, dayName, face, mrkdwn, spoken, stamp, timeOf, when } from "/page/text.js";
import { kit } from "/page/blocks.js";
import { shownFiles, spokenFiles } from "/page/files.js";

// -- drawing

const PEOPLE = ["member", "app", "slackbot"];
const replies = (count) => `${count} ${count === 1 ? "reply" : "replies"}`;

export const told = (message) => [(message.text || !message.files) && spoken(message), spokenFiles(message.files)].filter(Boolean).join(". ");

function drawn(message, isCompact, inThread, openThread) {
  const who = user(message.user), blocks = message.blocks || [];
  const badge = message.bot_id || who.is_bot ? h("span", { class: "app" }, "APP")
    : PEOPLE.includes(who.kind) ? null : h("span", { class: "kind" }, who.kind.toUpperCase());
  const edited = message.edited && h("span", { class: "edited" }, "(edited)");
  const body = h("div", { class: "body" }, blocks.length
    ? h("div", { class: "card" }, kit(blocks, { channel: message.channel, ts: message.ts }), edited)
    : h("div", {}, mrkdwn(message.text), edited), shownFiles(message.files));
  for (const r of message.reactions || []) {
    const names = r.users.map((u) => user(u).name).join(", ");
    body.append(h("span", { class: "react", title: names }, EMOJI[r.name] || `:${r.name}:`, h("span", {}, r.count)));
  }
  const isRoot = !inThread && message.reply_count;
  if (isRoot) body.append(h("div", {}, h("button", { class: "replies", "data-key": "replies", onclick: () => openThread(message.ts) },
    face("UTKGBOT001", true), replies(message.reply_count),
    message.latest_reply && h("small", {}, `last ${timeOf(message.latest_reply)}`))));
  const open = () => openThread(message.thread_ts || message.ts);
  const tools = !message.ephemeral && h("div", { class: "tools" },
    !inThread && !isRoot && h("button", { "data-key": "thread", onclick: open }, "Reply in thread"),
    data.world.shortcuts.filter((s) => s.type === "message").map((s) => h("button",
      { "data-key": s.callback_id, title: s.description, onclick: () => choose(s, message) }, s.name)));
  const only = message.ephemeral && "Only visible to you";
  const label = [only, `${who.name}, ${timeOf(message.ts)}`, told(message), isRoot && replies(message.reply_count)];
  const looks = `msg${isCompact ? " more" : ""}${message.ephemeral ? " hush" : ""}`;
  return h("article", { class: looks, tabIndex: -1, "data-ts": message.ts, "aria-label": label.filter(Boolean).join(". ") },
    only && h("div", { class: "only" }, h("span", { "aria-hidden": "true" }, "◐"), only),
    face(message.user), h("div", { class: "by" }, h("b", {}, who.name), badge, stamp(message.ts)), body, tools);
}

// A shortcut on a message. What it opens comes as a view.
async function choose(shortcut, message) {
  const on = { channel: message.channel, ts: message.ts };
  const done = await send("/sandbox/act/shortcut", { user: at.as, callback_id: shortcut.callback_id, ...on });
  if (done.error) announce(worded(done.error));
}

const held = new WeakMap(); // what is drawn in a log, by key, so that only what changed is made anew

function draw(log, messages, inThread, openThread) {
  const cache = held.get(log) || new Map(), next = new Map(), nodes = [];
  const keep = (key, sign, make) => {
    const old = cache.get(key), entry = old?.sign === sign ? old : { sign, node: make() };
    next.set(key, entry);
    nodes.push(entry.node);
  };
  let last = null;
  messages.forEach((message, index) => {
    const day = dayName(when(message.ts)), isFirst = !last || dayName(when(last.ts)) !== day;
    const isCompact = !isFirst && !(inThread && index === 1) && last.user === message.user
      && message.ts - last.ts < 300 && !message.ephemeral && !last.ephemeral;
    if (isFirst && !inThread) keep(`day ${day}`, day, () => h("div", { class: "day" }, day));
    if (inThread && index === 1) keep("count", messages.length, () => h("div", { class: "day" }, replies(messages.length - 1)));
    keep(message.ts, JSON.stringify([message, isCompact, at.as]), () => drawn(message, isCompact, inThread, openThread));
    last = message;
  });
  if (!nodes.length) nodes.push(h("div", { class: "empty" },
    h("b", {}, inThread ? "No such message" : "Nothing here yet"),
    inThread ? "It may have been deleted." : "Type / to see the commands."));
  const isLow = log.scrollHeight - log.scrollTop - log.clientHeight < 90;
  const back = log.contains(document.activeElement) ? wayBack() : null;
  [...log.children].filter((n) => !nodes.includes(n)).forEach((n) => n.remove());
  nodes.forEach((node, i) => { if (log.children[i] !== node) log.insertBefore(node, log.children[i] || null); });
  held.set(log, next);
  if (log.dataset.last !== last?.ts) delete log.dataset.current;
  log.dataset.last = last?.ts || "";
  if (isLow || !cache.size) log.scrollTop = log.scrollHeight;
  if (back && !log.contains(document.activeElement)) back();
  roam(log);
}

export function drawAll(openThread) {
  const all = [...(data.store.get(at.channel) || new Map()).values()].sort((a, b) => a.ts - b.ts);
  const isReply = (m) => m.thread_ts && m.thread_ts !== m.ts;
  draw($("log"), all.filter((m) => !isReply(m) || m.broadcast), false, openThread);
  if (at.thread) draw($("threadlog"), all.filter((m) => m.ts === at.thread || m.thread_ts === at.thread), true, openThread);
}
export const redraw = (log) => held.delete(log);

// -- walking: one message can be tabbed to (the newest, or where one was); what is inside it, while the focus is there

const INSIDE = "a[href], button, select, summary, .tablebox";

function roam(log, now = document.activeElement) {
  const items = [...log.querySelectorAll(".msg")], inside = items.find((item) => item.contains(now));
  const current = inside || items.find((item) => item.dataset.ts === log.dataset.current) || items.at(-1);
  for (const item of items) {
    item.tabIndex = item === current ? 0 : -1;
    for (const part of item.querySelectorAll(INSIDE)) {
      const isUseful = !part.matches(".tablebox") || part.scrollWidth > part.clientWidth;
      part.tabIndex = item === inside && isUseful ? 0 : -1;
    }
  }
}

function goTo(log, item, fromBelow) {
  if (!item) return;
  item.focus({ preventScroll: true });
  const isTall = item.offsetHeight > log.clientHeight;
  item.scrollIntoView({ block: isTall ? (fromBelow ? "end" : "start") : "nearest" });
}

// A message that is longer than the screen is read to its end before the next one comes.
function step(log, item, down) {
  const seen = log.getBoundingClientRect(), its = item.getBoundingClientRect();
  const left = down ? its.bottom - seen.bottom : seen.top - its.top;
  if (left > 4) return log.scrollBy({ top: (down ? 1 : -1) * Math.min(left + 2, log.clientHeight * 0.8) });
  const items = [...log.querySelectorAll(".msg")];
  goTo(log, items[items.indexOf(item) + (down ? 1 : -1)], !down);
}

export function walkable(log, { composer, enter, leave }) {
  log.addEventListener("focusin", (event) => {
    log.dataset.current = event.target.closest(".msg")?.dataset.ts || "";
    roam(log, event.target);
  });
  log.addEventListener("focusout", (event) => { if (!log.contains(event.relatedTarget)) roam(log, event.relatedTarget); });
  log.addEventListener("keydown", (event) => {
    const item = event.target.closest(".msg"), isOn = event.target === item;
    if (!item || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const items = [...log.querySelectorAll(".msg")];
    const act = {
      ArrowDown: () => step(log, item, true), ArrowUp: () => step(log, item, false),
      Home: () => goTo(log, items[0]), End: () => goTo(log, items.at(-1), true),
      Enter: isOn && (() => enter(item)), Escape: isOn ? leave : () => item.focus(),
    }[event.key];
    if (act) { event.preventDefault(); event.stopPropagation(); act(); }
    else if (isOn && event.key.length === 1 && event.key !== " ") composer.focus(); // typing goes to the message box
  });
}

// The message that a link or a key leads to.
export function focusMessage(log, ts) {
  const item = log.querySelector(`.msg[data-ts="${ts}"]`);
  if (item) {
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: item.offsetHeight > log.clientHeight ? "start" : "center" });
  } else announce("That message is not here.");
  return !!item;
}
