// The page: where one is, who one is, what comes in, and the keys that work everywhere.

import { $, at, data, direct, get, maySee, permalink, place, user } from "/page/state.js";
import { announce, arrows, h, isShown } from "/page/dom.js";
import { face, glyph } from "/page/text.js";
import { ask } from "/page/blocks.js";
import { closeViews, showView } from "/page/modals.js";
import { drawAll, focusMessage, redraw, told, walkable } from "/page/messages.js";
import { composer } from "/page/composer.js";

const BOT = "UTKGBOT001";
let socket = null, loading = 0;

// -- what is shown

const visible = () => [...data.world.channels.filter((c) => !c.is_im && maySee(c)), dm()];
const dm = () => place(direct()) || { id: direct(), is_im: true, members: [] };
const label = (c) => (c.is_im ? "tkgbot" : c.name);

function about(here) {
  if (!here) return `${user(at.as).name} cannot see any channel`;
  if (here.is_im) return "Direct messages with the app";
  const notes = [`${here.members.length} members`];
  if (!here.members.includes(at.as)) notes.push("you are not a member");
  if (!here.members.includes(BOT)) notes.push("tkgbot is not in here");
  if (here.is_ext_shared) notes.push("shared with another workspace");
  return notes.join(" · ");
}

function show() {
  const here = place(at.channel) || (at.channel === direct() ? dm() : null);
  $("title").textContent = here ? (here.is_im ? "tkgbot" : `${glyph(here)} ${here.name}`) : "No channel";
  $("sub").textContent = about(here);
  $("tag").hidden = !(here?.is_ext_shared || here?.is_private) || here.is_im;
  $("tag").textContent = here?.is_ext_shared ? "Shared" : "Private";
  $("threadsub").textContent = here ? (here.is_im ? "tkgbot" : `#${here.name}`) : "";
  $("thread").hidden = !at.thread;
  document.body.classList.toggle("threaded", !!at.thread);
  document.title = `${here ? label(here) : "—"} · sandbox`;
  $("me").replaceChildren(face(at.as, true), h("span", {}, h("small", {}, "You are: "), user(at.as).name), "▾");
  showChannels();
  const { aim: _, ...words } = at;
  history.replaceState(null, "", `/?${new URLSearchParams(Object.entries(words).filter(([, v]) => v))}`);
}

function showChannels() {
  const held = document.activeElement?.dataset?.channel;
  const entry = (c) => {
    const count = data.unread.get(c.id), isHere = c.id === at.channel;
    const props = { class: count ? "unread" : "", "aria-current": isHere ? "page" : null, "data-channel": c.id };
    return h("button", { ...props, onclick: () => go(c.id) }, h("i", { "aria-hidden": "true" }, glyph(c)),
      label(c), count ? h("b", { "aria-label": `${count} new` }, count) : null);
  };
  const all = visible();
  $("nav").replaceChildren(h("h2", {}, "Channels"), ...all.slice(0, -1).map(entry),
    h("h2", {}, "Direct messages"), entry(all.at(-1)));
  if (held) $("nav").querySelector(`[data-channel="${held}"]`)?.focus();
}

function put(message) {
  if (!data.store.has(message.channel)) data.store.set(message.channel, new Map());
  data.store.get(message.channel).set(message.ts, message);
}

async function load() {
  const mine = ++loading, where = { channel: at.channel, as: at.as };
  for (const more of at.thread ? [{}, { thread: at.thread }] : [{}]) {
    const answer = await get("/sandbox/messages", { ...where, ...more });
    if (mine !== loading) return;
    if (!more.thread) data.store.set(at.channel, new Map());
    (answer.messages || []).forEach(put);
  }
  drawAll(openThread);
}

// -- going somewhere

function go(channel) {
  Object.assign(at, { channel, thread: null });
  data.unread.delete(channel);
  redraw($("log"));
  drawer(false);
  show();
  load();
  box.focus({ preventScroll: true });
}

function openThread(ts) {
  at.thread = ts;
  redraw($("threadlog"));
  show();
  load();
  threadBox.focus({ preventScroll: true });
}

function closeThread() {
  const ts = at.thread;
  at.thread = null;
  show();
  if ($("log").querySelector(`.msg[data-ts="${ts}"]`)) focusMessage($("log"), ts);
  else box.focus();
}

// A link to a message: its channel, its thread, and the message itself.
async function follow(link) {
  const where = place(link.channel);
  if (!(where ? maySee(where) : link.channel === direct())) return announce("You cannot see the channel that this link leads to.");
  closeViews();
  Object.assign(at, { channel: link.channel, thread: link.thread });
  data.unread.delete(link.channel);
  redraw($("log"));
  redraw($("threadlog"));
  drawer(false);
  show();
  await load();
  const isThere = focusMessage(isShown($("main")) && link.ts === link.thread ? $("log") : $("threadlog"), link.ts);
  if (!isThere) box.focus();
}

async function become(id) {
  at.as = id;
  data.store = new Map();
  data.unread = new Map();
  redraw($("log"));
  redraw($("threadlog"));
  closeViews();
  const here = place(at.channel);
  if (at.channel !== direct() && (!here || !maySee(here))) Object.assign(at, { channel: visible()[0].id, thread: null });
  show();
  connect();
  await load();
}

// -- who one is

function personas(isOpen) {
  const menu = $("personas"), others = data.world.users.filter((u) => !["app", "slackbot"].includes(u.kind));
  menu.hidden = !isOpen;
  $("me").setAttribute("aria-expanded", String(isOpen));
  if (!isOpen) return;
  const pick = (id) => { personas(false); $("me").focus(); become(id); announce(`You are ${user(id).name} now.`); };
  menu.replaceChildren(...others.map((u) => h("button",
    { role: "menuitemradio", "aria-checked": String(u.id === at.as), onclick: () => pick(u.id) },
    face(u.id, true), u.name, h("small", {}, u.deleted ? "deactivated" : u.kind))));
  (menu.querySelector("[aria-checked=true]") || menu.firstChild).focus();
}

// On a phone the sidebar lies over the channel.
function drawer(isOpen) {
  const was = document.body.classList.toggle("drawer", isOpen);
  $("burger").setAttribute("aria-expanded", String(isOpen));
  $("main").inert = $("thread").inert = isOpen;
  return was;
}

// -- what comes in

function heard(message, before) {
  if (message.user === at.as) return;
  const isHere = message.channel === at.channel, isNews = !before || told(before) !== told(message);
  const who = `${message.ephemeral ? "Only visible to you. " : ""}${user(message.user).name}`;
  if (isHere && isNews) announce(`${who}: ${told(message)}`);
  if (isHere || before) return;
  data.unread.set(message.channel, (data.unread.get(message.channel) || 0) + 1);
  announce(`New in ${label(place(message.channel) || dm())}`);
  show();
}

function changed(change) {
  if (change.type === "state") return refreshWorld();
  if (change.type === "view") return showView(change.view);
  if (change.type !== "message") return;
  const { message, deleted } = change, before = data.store.get(message.channel)?.get(message.ts);
  if (deleted) data.store.get(message.channel)?.delete(message.ts);
  else put(message);
  if (message.channel === at.channel) drawAll(openThread);
  if (!deleted) heard(message, before);
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const now = new WebSocket(`${scheme}://${location.host}/sandbox/ws?as=${encodeURIComponent(at.as)}`);
  socket?.close();
  socket = now;
  let wasOpen = false;
  const state = (isLive) => {
    $("net").classList.toggle("off", !isLive);
    $("net").textContent = isLive ? "live" : "connection lost, trying again…";
  };
  now.onopen = async () => {
    wasOpen = true;
    state(true);
    if (connect.before) { await refreshWorld(); load(); }
    connect.before = true;
  };
  now.onclose = () => {
    if (socket !== now) return;
    state(false);
    setTimeout(() => socket === now && connect(), wasOpen ? 400 : 1500);
  };
  now.onmessage = (event) => { if (socket === now) changed(JSON.parse(event.data)); };
}

async function refreshWorld() {
  try { data.world = await get("/sandbox/state"); } catch { return; }
  show();
}

// -- keys

const KEYS = [
  ["Tab", "on to the next thing; in a message, its buttons and links"],
  ["F6, Shift F6", "channels, messages, message box, thread, and round again"],
  ["↑ ↓", "from message to message; a long one is read to its end first"],
  ["Enter", "on a message: its thread"],
  ["Esc", "out of a button, a thread, a menu, a form"],
  ["any letter or /", "on a message: goes on in the message box"],
  ["Alt ↑, Alt ↓", "the channel above, below"],
  ["/ in the message box", "commands: ↑ ↓ choose, Tab or Enter completes"],
  ["↑ in the empty box", "what was typed before"],
  ["Ctrl Enter", "in a form: sends it"],
];

function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  const rows = KEYS.map(([keys, what]) => h("div", { class: "key" }, h("dt", {}, keys), h("dd", {}, what)));
  ask("Keyboard", h("dl", {}, rows), [h("button", { class: "btn solid primary" }, "Close")]);
}

function nextSection(step) {
  const current = (log) => [...log.querySelectorAll(".msg")].find((item) => item.tabIndex === 0);
  const places = [$("nav").querySelector("[aria-current]") || $("me"), current($("log")), box, current($("threadlog")), threadBox];
  const sections = [$("side"), $("log"), $("compose"), $("threadlog"), $("threadcompose")];
  const now = sections.findIndex((section) => section.contains(document.activeElement));
  for (let i = 1; i <= places.length; i += 1) {
    const next = places[(now + i * step + 2 * places.length) % places.length];
    if (isShown(next) && getComputedStyle(next).visibility === "visible") return next.focus();
  }
}

function nextChannel(step) {
  const ids = visible().map((c) => c.id), now = ids.indexOf(at.channel);
  go(ids[(now + step + ids.length) % ids.length]);
  announce($("title").textContent);
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "F6") { event.preventDefault(); nextSection(event.shiftKey ? -1 : 1); }
  else if (event.key === "/" && event.ctrlKey) { event.preventDefault(); showKeys(); }
  else if (step && event.altKey) { event.preventDefault(); nextChannel(step); }
  else if (event.key === "Escape") {
    if (document.body.classList.contains("drawer")) { drawer(false); $("burger").focus(); }
    else if (at.thread && event.target.closest?.("#thread")) closeThread();
  }
});

document.addEventListener("click", (event) => {
  if (!event.target.closest(".who")) personas(false);
  const link = permalink(event.target.closest("a[href]")?.href);
  if (link && !event.ctrlKey && !event.metaKey) { event.preventDefault(); follow(link); }
});

// -- beginning

const box = composer($("compose"), "Message, or / for commands", false);
const threadBox = composer($("threadcompose"), "Reply…", true);
const enter = (item) => {
  if (item.classList.contains("hush")) return announce("Only visible to you: it has no thread.");
  const message = data.store.get(at.channel)?.get(item.dataset.ts);
  openThread(message?.thread_ts || item.dataset.ts);
};
walkable($("log"), { composer: box, enter, leave: () => box.focus() });
walkable($("threadlog"), { composer: threadBox, enter: () => threadBox.focus(), leave: closeThread });
arrows($("nav"), "button");
arrows($("personas"), "button");
$("me").addEventListener("click", () => personas($("personas").hidden));
$("personas").addEventListener("keydown", (event) => {
  if (event.key === "Tab") personas(false);
  if (event.key === "Escape") { event.stopPropagation(); personas(false); $("me").focus(); }
});
$("keys").addEventListener("click", showKeys);
$("close").addEventListener("click", closeThread);
$("burger").addEventListener("click", () => { drawer(true); $("me").focus(); });
$("shade").addEventListener("click", () => { drawer(false); $("burger").focus(); });

await refreshWorld();
await become(data.world.users.some((u) => u.id === at.as) ? at.as : "UDEV000001");
if (at.aim) focusMessage(isShown($("main")) ? $("log") : $("threadlog"), at.aim);
else box.focus({ preventScroll: true });
