// What the page knows, and how it asks the sandbox.

const query = new URLSearchParams(location.search);
const here = permalink(location.href);

// Who one is and what is shown. `aim` is the message that a link led to.
export const at = {
  as: query.get("as") || "UDEV000001",
  channel: here?.channel || query.get("channel") || "CPLATFORM1",
  thread: here?.thread || query.get("thread"),
  aim: here?.ts || null,
};

// Messages by channel and timestamp; unread counts by channel.
export const data = {
  world: { team: {}, users: [], channels: [], groups: [], commands: [], shortcuts: [] },
  store: new Map(),
  unread: new Map(),
};

export const $ = (id) => document.getElementById(id);

export async function get(path, ask) {
  return (await fetch(`${path}?${new URLSearchParams(ask || {})}`)).json();
}

export async function send(path, body) {
  const headers = { "Content-Type": "application/json" };
  try {
    return await (await fetch(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  } catch {
    return { ok: false, error: "the sandbox does not answer" };
  }
}

// An error of the sandbox as Slack words it.
export function worded(error) {
  if (error === "operation_timeout") return "⚠ The app did not respond in time (operation_timeout).";
  return `⚠ ${error}`;
}

export const user = (id) => data.world.users.find((u) => u.id === id) || { id, name: id, kind: "" };
export const place = (id) => data.world.channels.find((c) => c.id === id);
export const direct = () => `D${at.as.slice(1)}`;

export function maySee(channel) {
  const me = user(at.as);
  const full = me.team_id === data.world.team.id && !me.is_restricted;
  return channel.members.includes(at.as) || (full && !channel.is_private && !channel.is_im);
}

// The message that a link of this workspace leads to: …/archives/C123/p1700000000000001?thread_ts=…
export function permalink(address) {
  const url = address && URL.canParse(address) ? new URL(address) : null;
  const found = url?.origin === location.origin && /^\/archives\/(\w+)\/p(\d+)(\d{6})$/.exec(url.pathname);
  if (!found) return null;
  const ts = `${found[2]}.${found[3]}`;
  return { channel: found[1], ts, thread: url.searchParams.get("thread_ts") || ts };
}
