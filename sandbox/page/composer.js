// The box in which messages and commands are typed, with completion of commands.

import { at, data, send, worded } from "/page/state.js";
import { arrows, h } from "/page/dom.js";

export function composer(parent, placeholder, inThread) {
  const id = inThread ? "threadbox" : "box", listId = `${id}-commands`, noteId = `${id}-note`;
  const menu = h("div", { class: "menu", role: "listbox", id: listId, "aria-label": "Commands", hidden: true });
  const note = h("div", { class: "note", id: noteId, role: "status" });
  const input = h("textarea", {
    rows: 1, id, placeholder, autocomplete: "off", role: "combobox", "aria-label": placeholder, "aria-expanded": "false",
    "aria-autocomplete": "list", "aria-controls": listId, "aria-describedby": noteId,
  });
  const button = h("button", { class: "send", "aria-label": "Send", disabled: true }, "➤");
  const bolt = !inThread && h("button", {
    type: "button", class: "bolt", "aria-label": "Shortcuts", "aria-haspopup": "menu", "aria-expanded": "false",
    "aria-controls": `${id}-shortcuts`, onclick: () => shortcuts(deck.hidden),
  }, "⚡");
  const deck = h("div", { class: "menu", role: "menu", id: `${id}-shortcuts`, "aria-label": "Shortcuts", hidden: true });
  let found = [], chosen = 0, recent = [], back = -1;

  const tell = (text, isBad) => {
    note.textContent = text;
    note.className = isBad ? "note bad" : "note";
  };
  const option = (c, i) => h("div", {
    role: "option", id: `${listId}-${i}`, "aria-selected": String(i === chosen),
    onmousedown: (event) => { event.preventDefault(); chosen = i; complete(); },
  }, h("b", {}, c.command), h("em", {}, c.usage_hint), h("span", {}, c.description));

  function refresh() {
    const typed = input.value;
    button.disabled = !typed.trim();
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
    const starts = (c) => c.command.startsWith(typed.toLowerCase());
    found = !inThread && /^\/\S*$/.test(typed) ? data.world.commands.filter(starts) : [];
    chosen = Math.min(chosen, Math.max(0, found.length - 1));
    menu.hidden = !found.length;
    menu.replaceChildren(...found.map(option));
    input.setAttribute("aria-expanded", String(!!found.length));
    if (!found.length) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${listId}-${chosen}`);
    menu.children[chosen].scrollIntoView({ block: "nearest" });
  }
  function shut() {
    found = [];
    menu.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }
  function hint() {
    const typing = !inThread && data.world.commands.find((c) => input.value.startsWith(`${c.command} `));
    tell(typing ? `${typing.command} ${typing.usage_hint} · ${typing.description}` : "");
  }
  function complete() {
    input.value = `${found[chosen].command} `;
    refresh();
    hint();
  }
  // Shortcuts that belong to no message.
  function shortcuts(isOpen) {
    deck.hidden = !isOpen;
    bolt.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    const pick = async (s) => {
      shortcuts(false);
      bolt.focus();
      const done = await send("/sandbox/act/shortcut", { user: at.as, callback_id: s.callback_id });
      tell(done.error ? worded(done.error) : "", true);
    };
    deck.replaceChildren(...data.world.shortcuts.filter((s) => s.type === "global").map((s) => h("button",
      { type: "button", role: "menuitem", onclick: () => pick(s) }, h("b", {}, s.name), h("span", {}, s.description))));
    deck.firstChild?.focus();
  }
  deck.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && event.key !== "Tab") return;
    event.stopPropagation();
    shortcuts(false);
    if (event.key === "Escape") bolt.focus();
  });
  deck.addEventListener("focusout", (event) => {
    if (!deck.contains(event.relatedTarget) && event.relatedTarget !== bolt) shortcuts(false);
  });
  arrows(deck, "button");
  async function submit(event) {
    event?.preventDefault();
    const text = input.value.replace(/\s+$/, "");
    if (!text) return;
    const isCommand = text.startsWith("/");
    if (isCommand && inThread) {
      return tell("Slash commands do not work in threads. Use the channel, or mention @tkgbot.", true);
    }
    const [, command, rest] = /^(\S+)\s*([\s\S]*)$/.exec(text);
    const isKnown = data.world.commands.some((c) => c.command === command);
    if (isCommand && !isKnown) return tell(`${command} is not a valid command.`, true);
    recent.unshift(text);
    back = -1;
    input.value = "";
    refresh();
    tell(isCommand ? `Sending ${command}…` : "");
    const log = parent.previousElementSibling;
    log.scrollTop = log.scrollHeight; // what is answered comes there
    const where = { user: at.as, channel: at.channel }, thread = inThread ? { thread_ts: at.thread } : {};
    const done = isCommand
      ? await send("/sandbox/act/command", { ...where, command, text: rest })
      : await send("/sandbox/act/message", { ...where, ...thread, text });
    tell(done.error ? worded(done.error) : "", true);
    if (isCommand && done.error && !input.value) { input.value = text; refresh(); }
  }
  function keys(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], isOpen = found.length > 0;
    const isPlain = !event.altKey && !event.ctrlKey && !event.metaKey;
    if (isOpen && step && isPlain) {
      event.preventDefault();
      chosen = (chosen + step + found.length) % found.length;
      refresh();
    } else if (isOpen && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      complete();
    } else if (isOpen && event.key === "Enter" && input.value !== found[chosen].command) {
      event.preventDefault();
      complete();
    } else if (isOpen && event.key === "Escape") {
      event.stopPropagation();
      shut();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    else if (step && isPlain && recent.length && (!input.value || back >= 0)) {
      event.preventDefault();
      back = Math.max(-1, Math.min(back - step, recent.length - 1));
      input.value = recent[back] || "";
      refresh();
      if (back >= 0) shut();
    }
  }
  input.addEventListener("input", () => { chosen = 0; back = -1; refresh(); hint(); });
  input.addEventListener("keydown", keys);
  input.addEventListener("blur", shut);
  parent.append(menu, deck, h("form", { onsubmit: submit }, bolt, input, button), note);
  return input;
}
