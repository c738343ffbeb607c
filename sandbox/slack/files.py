"""Files: the upload in three calls, the file as apps and people see it, and who may read its bytes.

Facts: "files.getUploadURLExternal" and "files.completeUploadExternal" (arguments, errors, one completion), "File
object". The completion answers before the file is shared ("Uploading files": processed asynchronously). A file that is
no picture and was given `alt_txt` is never shared, though the answer is ok (slackapi/python-slack-sdk issue 1818).
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.slack.arguments import Args
from sandbox.slack.workspace import BOT_USER, TEAM, Json, SlackError, Workspace, ensure, found

MAX_ALT_TXT, MAX_SNIPPET_BYTES = 1_000, 2**20
MAX_FILE_BYTES = 2**23
"""This sandbox's own: Slack takes a gigabyte."""
MAX_PREVIEW_LINES, MAX_PREVIEW_CHARS = 5, 800
PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
SNIPPETS = frozenset({"text", "javascript", "json", "python", "shell", "yaml", "diff", "markdown", "csv", "xml", "sql"})
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class File:
    """One file, from its upload ticket on. `shares` are the channels and messages that it was shared in."""

    id: str
    name: str
    length: int
    alt_txt: str
    snippet_type: str
    created: int
    key: str
    title: str = ""
    content: bytes | None = None
    is_complete: bool = False
    shares: list[tuple[str, Json]] = field(default_factory=list)

    @property
    def ending(self) -> str:
        return self.name.rpartition(".")[2].lower() if "." in self.name else ""

    @property
    def mimetype(self) -> str:
        if self.snippet_type:
            return "text/plain"
        return PICTURES.get(self.ending) or mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @property
    def is_picture(self) -> bool:
        return self.mimetype in PICTURES.values()


class Files:
    """The methods, and the uploads. `later` calls something after the seconds that Slack takes to share."""

    def __init__(self, ws: Workspace, later: Callable[[Callable[[], None]], None]) -> None:
        self.ws, self.later = ws, later
        self.files: dict[str, File] = {}

    # -- the three calls

    def ticket(self, args: Args) -> Json:
        """files.getUploadURLExternal."""
        name, length, alt_txt = args.need("filename"), args.count("length"), str(args.get("alt_txt") or "")
        kind = str(args.get("snippet_type") or "")
        ensure(length > 0, "missing_argument")
        ensure(len(alt_txt) <= MAX_ALT_TXT, "alt_txt_too_large")
        ensure(not kind or kind in SNIPPETS, "unknown_snippet_type")
        ensure(not kind or length <= MAX_SNIPPET_BYTES, "snippet_too_large")
        ensure(length <= MAX_FILE_BYTES, "file_upload_size_restricted")
        key, code = self.ws.token(), f"F{len(self.files) + 1:09d}"
        self.files[code] = File(code, name, length, alt_txt, kind, int(self.ws.clock()), key)
        return {"upload_url": f"{self.ws.base_url}/upload/v1/{key}", "file_id": code}

    def upload(self, key: str, content: bytes) -> int:
        """The bytes of a file, once and whole; how many there are."""
        file = found(next((f for f in self.files.values() if f.key == key), None), "not_found", 404)
        ensure(file.content is None, "already_uploaded", 400)
        ensure(len(content) == file.length, "length_mismatch", 400)
        file.content = content
        return file.length

    def complete(self, args: Args, place: Json | None) -> Json:
        """files.completeUploadExternal, which shares in `place` a moment later."""
        named = args.data("files", "invalid_arguments")
        good = isinstance(named, list) and named and all(isinstance(one, dict) and one.get("id") for one in named)
        ensure(good, "invalid_arguments")
        thread = str(args.get("thread_ts") or "")
        ensure(not thread or (place and self.ws.find(place["id"], thread)), "invalid_arguments")
        ready = [found(self.files.get(str(one["id"])), "file_not_found") for one in named]
        ensure(all(file.content is not None and not file.is_complete for file in ready), "file_not_found")
        for file, one in zip(ready, named, strict=True):
            file.title, file.is_complete = str(one.get("title") or file.name), True
        answer = {"files": [self.shown(file) for file in ready]}
        text = str(args.get("initial_comment") or "")
        blocks = None if text else args.blocks()
        if place and not any(file.alt_txt and not file.is_picture for file in ready):
            self.later(lambda: self._share(ready, place["id"], text, blocks, thread or None))
        return answer

    def _share(self, ready: list[File], channel: str, text: str, blocks: list[Json] | None, thread: str | None) -> None:
        if self.ws.faults["lose_share"]:
            self.ws.faults["lose_share"] -= 1
            return
        objects = [self.shown(file) for file in ready]
        message = self.ws.post(channel, BOT_USER, text, blocks, thread_ts=thread, files=objects)
        for file in ready:
            thread_of = {"thread_ts": message.thread_ts} if message.thread_ts else {}
            file.shares.append((channel, {"ts": message.ts, **thread_of, "team_id": TEAM}))
        message.files[:] = [self.shown(file) for file in ready]
        self.ws.changed(message)

    # -- reading

    def info(self, args: Args) -> Json:
        """files.info."""
        file = found(self.files.get(args.need("file")), "file_not_found")
        ensure(file.is_complete, "file_not_found")
        return {"file": self.shown(file), "comments": [], "response_metadata": {"next_cursor": ""}}

    def bytes_for(self, code: str, user: str | None) -> File:
        """The file with its bytes, for somebody who may see a channel that it is in; without `user`, for the app."""
        file = found(self.files.get(code), "file_not_found", 404)
        seen = user is None or any(self.ws.may_see(user, channel) for channel, _ in file.shares)
        if file.content is None or not file.is_complete or not seen:
            raise SlackError("file_not_found", status=404)
        return file

    def shown(self, file: File) -> Json:
        """The file object ("File object"; only what apps read). Shares are empty until it is shared."""
        address = f"{self.ws.base_url}/files-pri/{TEAM}-{file.id}"
        name = re.sub(r"[^\w.-]", "_", file.name.lower())
        public = {c: [share] for c, share in file.shares if not self.ws.channels[c]["is_private"]}
        private = {c: [share] for c, share in file.shares if self.ws.channels[c]["is_private"]}
        kind = file.ending or "binary"
        more: Json = {"alt_txt": file.alt_txt} if file.alt_txt else {}
        return {
            "id": file.id, "created": file.created, "timestamp": file.created, "name": file.name,
            "title": file.title, "mimetype": file.mimetype, "filetype": file.snippet_type or kind,
            "pretty_type": "Plain Text" if file.snippet_type else kind.upper(), "user": BOT_USER,
            "editable": bool(file.snippet_type), "size": file.length, "is_external": False, "external_type": "",
            "mode": "snippet" if file.snippet_type else "hosted", "is_public": bool(public),
            "public_url_shared": False, "display_as_bot": False, "username": "", "user_team": TEAM,
            "url_private": f"{address}/{name}", "url_private_download": f"{address}/download/{name}",
            "permalink": f"{self.ws.base_url}/files/{BOT_USER}/{file.id}/{name}", "has_rich_preview": False,
            "channels": list(public), "groups": list(private), "ims": [], "file_access": "visible",
            "shares": {k: v for k, v in (("public", public), ("private", private)) if v},
            **more, **self._looks(file),
        }  # fmt: skip

    def _looks(self, file: File) -> Json:
        """What a client shows without reading the file: a picture's size, a text's first lines."""
        content = file.content or b""
        if file.is_picture:
            size = [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)] if content[:8] == PNG else []
            thumb = f"{self.ws.base_url}/files-pri/{TEAM}-{file.id}/{file.id.lower()}_360.{file.ending}"
            return {"thumb_360": thumb} | (dict(zip(("original_w", "original_h"), size, strict=True)) if size else {})
        if not file.mimetype.startswith("text/"):
            return {}
        lines = content.decode("utf-8", "replace").splitlines()
        first = "\n".join(lines[:MAX_PREVIEW_LINES])
        preview = first[:MAX_PREVIEW_CHARS]
        more = max(0, len(lines) - MAX_PREVIEW_LINES)
        whole = not more and preview == first
        return {"preview": preview, "lines": len(lines), "lines_more": more, "preview_is_truncated": not whole}
