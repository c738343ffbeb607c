// Slack's text: times, emoji, mrkdwn and rich text, as nodes.

import { at, data, place, user } from "/page/state.js";
import { h } from "/page/dom.js";

// -- people and places

const HUES = ["#3f6fa3", "#8a5a9e", "#a65434", "#47743f", "#a5486a", "#5a6ab8", "#7d6428", "#35727a"];

export function face(id, small) {
  const who = user(id), parts = who.name.split(/[-_ .]+/);
  const initials = parts.length > 1 ? parts[0][0] + parts[1][0] : who.name.slice(0, 2);
  const node = h("span", { class: small ? "face s" : "face", "aria-hidden": "true" }, initials.toUpperCase());
  const own = { app: "#0f766e", slackbot: "#5f6970" }[who.kind];
  node.style.background = own || HUES[data.world.users.findIndex((u) => u.id === id) % HUES.length] || HUES[0];
  return node;
}
export const glyph = (c) => (c.is_im ? "●" : c.is_private ? "◆" : c.is_ext_shared ? "⇄" : "#");

// -- times

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const when = (ts) => new Date(parseFloat(ts) * 1000);
export const timeOf = (ts) => clock.format(when(ts));

export function dayName(date) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 864e5);
  if (days === 0 || days === 1) return days ? "Yesterday" : "Today";
  return date.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}
export function stamp(ts) {
  const date = when(ts);
  return h("time", { dateTime: date.toISOString(), title: date.toLocaleString() }, clock.format(date));
}
function ago(date) {
  const gap = Math.round((date - Date.now()) / 1000);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, s]) => Math.abs(gap) >= s) || units[3];
  return new Intl.RelativeTimeFormat([], { numeric: "auto" }).format(Math.round(gap / size), unit);
}
function dated(seconds, format) {
  const date = new Date(seconds * 1000), day = (o) => date.toLocaleDateString([], o);
  const near = /^(Today|Yesterday)$/.test(dayName(date)) ? dayName(date).toLowerCase() : null;
  const long = day({ month: "long", day: "numeric", year: "numeric" });
  const short = day({ month: "short", day: "numeric", year: "numeric" });
  const parts = {
    date: long, date_short: short, date_num: day({ year: "numeric", month: "2-digit", day: "2-digit" }),
    date_long: day({ weekday: "long", month: "long", day: "numeric", year: "numeric" }),
    date_pretty: near || long, date_short_pretty: near || short, date_long_pretty: near || long,
    time: clock.format(date), time_secs: date.toLocaleTimeString([], { hourCycle: "h23" }), ago: ago(date),
  };
  return format.replace(/\{(\w+)\}/g, (all, name) => parts[name] ?? all);
}

// -- emoji; the marks of states are drawn, so that they show without an emoji font

export const EMOJI = {
  white_check_mark: "✅", x: "❌", warning: "⚠️", rocket: "🚀", tada: "🎉", eyes: "👀", "+1": "👍", thumbsup: "👍",
  "-1": "👎", wave: "👋", fire: "🔥", lock: "🔒", key: "🔑", bulb: "💡", memo: "📝", hourglass: "⌛",
  hourglass_flowing_sand: "⏳", large_green_circle: "🟢", large_yellow_circle: "🟡", large_blue_circle: "🔵",
  large_orange_circle: "🟠", red_circle: "🔴", white_circle: "⚪", black_circle: "⚫", heavy_check_mark: "✔️",
  arrow_forward: "▶️", arrow_right: "➡️", no_entry: "⛔", no_entry_sign: "🚫", construction: "🚧", gear: "⚙️",
  wrench: "🔧", cloud: "☁️", sunny: "☀️", bell: "🔔", mag: "🔍", link: "🔗", bar_chart: "📊", clock3: "🕒",
  package: "📦", robot_face: "🤖", smile: "😄", heart: "❤️", question: "❓", exclamation: "❗",
  information_source: "ℹ️", recycle: "♻️", chart_with_upwards_trend: "📈", computer: "💻",
  ballot_box_with_check: "☑️", zap: "⚡", stopwatch: "⏱️", point_right: "👉", label: "🏷️",
};
const MARKS = {
  "🟢": ["#2f9e5b"], "🟡": ["#e9b949"], "🔵": ["#3b82d0"], "🟠": ["#e58a35"], "🔴": ["#d64541"], "⚪": ["#e6e8ea"],
  "⚫": ["#3a4045"], "✅": ["#257d48", "✓"], "❌": ["#c73b37", "✕"], "⬜": ["#d5d9dc", " "], "▶️": ["#2f6fb5", "▸"],
  "⚠️": ["#b26a00", "!"], "❓": ["#6b5fb0", "?"], "❔": ["#6b5fb0", "?"],
};
const MARKED = /(🟢|🟡|🔵|🟠|🔴|⚪|⚫|✅|❌|⬜|▶️|⚠️|❓|❔)/u;
export const coded = (text) => text.replace(/:([\w+-]+):/g, (all, name) => EMOJI[name] ?? all);

export function emoji(text) {
  return coded(text).split(MARKED).map((part) => {
    if (!MARKS[part]) return part;
    const [color, sign] = MARKS[part];
    const node = h("span", { class: sign ? "mark sq" : "mark", "data-m": sign }, h("span", { class: "vh" }, part));
    node.style.setProperty("--c", color);
    return node;
  });
}

// -- mrkdwn

export const plain = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
export const isSafe = (url) => /^(https?:|mailto:)/i.test(url);

function link(url, text) {
  return isSafe(url) ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text) : text;
}
const mention = (id) => h("span", { class: id === at.as ? "at me" : "at" }, `@${user(id).name}`);

function angled(inside) {
  const [head, name] = inside.split(/\|(.*)/s), id = head.slice(1);
  if (head[0] === "@") return mention(id);
  if (head[0] === "#") return h("span", { class: "at" }, `#${place(id)?.name || plain(name || id)}`);
  if (head.startsWith("!subteam^")) {
    const group = data.world.groups.find((g) => g.id === head.slice(9));
    return h("span", { class: "at" }, `@${group?.handle || plain(name || head)}`);
  }
  if (head.startsWith("!date^")) {
    const [, seconds, format, url] = head.split("^");
    const text = plain(isFinite(seconds) ? dated(+seconds, format) : name || "");
    return h("span", { title: plain(name || "") }, url ? link(plain(url), text) : text);
  }
  if (head[0] === "!") return h("span", { class: "at me" }, `@${plain(id)}`);
  return link(plain(head), plain(name || head.replace(/^mailto:/, "")));
}

const INLINE = new RegExp([
  /(```[\s\S]+?```)/, /`([^`\n]+)`/, /<([^<>\n]+)>/, /(?<![\w*])\*(?=\S)([^*\n]*\S)\*(?![\w*])/,
  /(?<![\w_])_(?=\S)([^_\n]*\S)_(?![\w_])/, /(?<![\w~])~(?=\S)([^~\n]*\S)~(?![\w~])/,
].map((part) => part.source).join("|"));

function inline(text) {
  const out = [];
  for (let hit; text && (hit = INLINE.exec(text)); text = text.slice(hit.index + hit[0].length)) {
    out.push(...emoji(plain(text.slice(0, hit.index))));
    const [, pre, code, angle, bold, italic, strike] = hit;
    if (pre) out.push(h("pre", {}, plain(pre.slice(3, -3).replace(/^\n|\n$/g, ""))));
    else if (code !== undefined) out.push(h("code", {}, plain(code)));
    else if (angle !== undefined) out.push(angled(angle));
    else out.push(h(bold !== undefined ? "b" : italic !== undefined ? "i" : "s", {}, inline(bold ?? italic ?? strike)));
  }
  return [...out, ...emoji(plain(text))];
}
export const lines = (text) => text.split("\n").flatMap((line, i) => (i ? [h("br"), ...inline(line)] : inline(line)));
export const broken = (text) => text.split("\n").flatMap((t, i) => (i ? [h("br"), ...emoji(t)] : emoji(t)));

export function mrkdwn(text) {
  const out = [];
  for (const part of text.split(/(```[\s\S]+?```)/)) {
    if (/^```[\s\S]+```$/.test(part)) { out.push(...inline(part)); continue; }
    for (const run of part.split(/((?:^(?:&gt;|>).*(?:\n|$))+)/m)) {
      const quoted = run.replace(/\n$/, "").replace(/^(&gt;|>) ?/gm, "");
      if (/^(&gt;|>)/.test(run)) out.push(h("blockquote", {}, lines(quoted)));
      else if (run) out.push(...lines(run));
    }
  }
  return out;
}

// A text object; what a message says in one line, for those who hear it.
export const words = (text) => (text ? (text.type === "mrkdwn" ? mrkdwn(text.text) : broken(text.text)) : []);
export function spoken(message) {
  const text = h("p", {}, mrkdwn(message.text)).textContent.replace(/\s+/g, " ").trim();
  return text.length > 240 ? `${text.slice(0, 240)}…` : text || "a message without text";
}

// -- rich text

const TAGS = { bold: "b", italic: "i", strike: "s", code: "code" };

function span(e) {
  const known = {
    text: () => broken(e.text), link: () => link(e.url, e.text || e.url), user: () => mention(e.user_id),
    usergroup: () => angled(`!subteam^${e.usergroup_id}`), channel: () => angled(`#${e.channel_id}`),
    broadcast: () => angled(`!${e.range}`), date: () => dated(e.timestamp, e.format), color: () => e.value,
    emoji: () => (EMOJI[e.name] ? emoji(EMOJI[e.name]) : e.unicode ? points(e.unicode) : `:${e.name}:`),
  }[e.type];
  const made = known ? known() : "";
  const inner = Array.isArray(made) ? h("span", {}, made) : made;
  return Object.keys(TAGS).reduce((node, name) => (e.style?.[name] ? h(TAGS[name], {}, node) : node), inner);
}
const points = (hex) => String.fromCodePoint(...hex.split("-").map((c) => parseInt(c, 16)));

export function rich(block) {
  return h("div", { class: "rt" }, block.elements.map((part) => {
    if (part.type === "rich_text_list") {
      const items = part.elements.map((item) => h("li", {}, item.elements.map(span)));
      return h(part.style === "ordered" ? "ol" : "ul", { start: (part.offset || 0) + 1 }, items);
    }
    if (part.type === "rich_text_preformatted") {
      return h("pre", {}, part.elements.map((e) => e.text || e.url));
    }
    return h(part.type === "rich_text_quote" ? "blockquote" : "p", {}, part.elements.map(span));
  }));
}
