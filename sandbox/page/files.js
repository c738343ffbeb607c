// Files of a message: a picture as its thumbnail, which opens large; a text as its first lines; each to be saved.

import { $, at } from "/page/state.js";
import { h, keepInside, wayBack } from "/page/dom.js";

// Where this page reads a file: as whoever one is, who may see the channel that it is in.
const address = (url) => `${new URL(url).pathname}?${new URLSearchParams({ as: at.as })}`;
const isPicture = (file) => /^image\/(png|jpeg|gif|webp)$/.test(file.mimetype);
const described = (file) => file.alt_txt || file.title || file.name;

function weight(bytes) {
  const [size, unit] = bytes < 1000 ? [bytes, "bytes"] : bytes < 1e6 ? [bytes / 1000, "kB"] : [bytes / 1e6, "MB"];
  return `${size < 10 && unit !== "bytes" ? size.toFixed(1) : Math.round(size)} ${unit}`;
}

const download = (file) => h("a", {
  href: address(file.url_private_download), download: file.name, "aria-label": `Download ${file.name}, ${weight(file.size)}`,
}, "Download");

function named(file) {
  const own = file.title && file.title !== file.name;
  return h("div", { class: "filehead" },
    h("div", {}, h("b", {}, own ? file.title : file.name), h("small", {}, own && `${file.name} · `, weight(file.size))), download(file));
}

function pictured(file) {
  const size = { width: file.original_w, height: file.original_h };
  const image = h("img", { src: address(file.thumb_360 || file.url_private), alt: described(file), loading: "lazy", ...size });
  const open = h("button", {
    class: "thumb", type: "button", "data-key": `file ${file.id}`, "aria-label": `Open the picture: ${described(file)}`,
    onclick: () => view(file),
  }, image);
  return h("div", { class: "file" }, named(file), open);
}

function written(file) {
  const left = file.lines_more || 0;
  const more = left ? `${left} more ${left === 1 ? "line" : "lines"}: download the file` : file.preview_is_truncated && "There is more in the file.";
  return h("div", { class: "file" }, named(file), file.preview && h("pre", {}, file.preview), more && h("div", { class: "hint" }, more));
}

export const shownFiles = (files) => (files || []).map((file) => (isPicture(file) ? pictured(file) : written(file)));

export const spokenFiles = (files) => (files || []).map((file) => `${isPicture(file) ? "Picture" : "File"}: ${described(file)}`).join(". ");

// -- the picture, large: first as wide as the window, then as wide as it is

let leave = () => {};

function view(file) {
  const box = $("viewer"), back = wayBack();
  const image = h("img", { src: address(file.url_private), alt: described(file) });
  const sized = h("button", { class: "btn", type: "button", "aria-pressed": "false", onclick: () => {
    const isWhole = box.classList.toggle("whole");
    sized.setAttribute("aria-pressed", String(isWhole));
  } }, "Actual size");
  leave = () => { box.close(); back(); };
  box.classList.remove("whole");
  box.replaceChildren(
    h("header", {}, h("div", {}, h("h2", { id: "viewertitle" }, file.title || file.name)), sized, download(file),
      h("button", { class: "icon", type: "button", "aria-label": "Close the picture", onclick: () => leave() }, "✕")),
    h("div", { class: "canvas", tabIndex: 0, role: "region", "aria-label": "The picture" }, image));
  box.showModal();
}
keepInside($("viewer"), () => leave());
