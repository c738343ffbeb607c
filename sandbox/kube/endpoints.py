"""What each verb does at a resource's URL. Source: apiserver's `endpoints/handlers`, and answers of a real server."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.kube import errors, logs, patches
from sandbox.kube.access import Access, Attempt
from sandbox.kube.errors import ApiError, Cause, Obj, bad_request, invalid
from sandbox.kube.forms import Form, flag, loaded, parsed, repeated, revision, unsupported
from sandbox.kube.requests import Target
from sandbox.kube.resources import Resource
from sandbox.kube.scale import scale_of, scaled
from sandbox.kube.schema import copied
from sandbox.kube.selectors import Match, both
from sandbox.kube.store import Store
from sandbox.kube.watching import Wanted, snapshot
from sandbox.kube.writes import Write, check_type

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH, APPLY_PATCH = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
ANEW = -1
"""In place of a revision in a continue token: go on with what there is now."""
PAGE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results, "
    "which may then not fit what was listed before."
)
VALIDATIONS = ("", "Ignore", "Strict", "Warn")


@dataclass
class Call:
    """One request to a resource, read and allowed."""

    target: Target
    resource: Resource
    verb: str
    user: str
    query: Mapping[str, str]
    media: str
    agent: str
    body: bytes
    form: Form
    warnings: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Empty for what is cluster-scoped."""
        return self.target.namespace if self.resource.namespaced else ""

    def write(self) -> Write:
        """The options of a write; 422 for those that make no sense."""
        dry, strictness = self.query.get("dryRun", ""), self.query.get("fieldValidation", "")
        causes = []
        if dry not in ("", "All"):
            text = f'Unsupported value: {errors.shown(dry.split(","))}: supported values: "All"'
            causes.append(Cause("FieldValueNotSupported", "dryRun", text))
        if strictness not in VALIDATIONS:
            text = f'Unsupported value: "{strictness}": supported values: "", "Ignore", "Strict", "Warn"'
            causes.append(Cause("FieldValueNotSupported", "fieldValidation", text))
        applying = self.media == APPLY_PATCH
        if applying and not self.query.get("fieldManager"):
            causes.append(errors.required("fieldManager", "is required for apply patch"))
        if not applying and flag(self.query, "force"):
            causes.append(Cause("FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch"))
        if causes:
            kind = {"create": "Create", "patch": "Patch"}.get(self.verb, "Update")
            raise invalid(f"{kind}Options", "meta.k8s.io", "", causes)
        manager = self.query.get("fieldManager") or self.agent.partition("/")[0] or "unknown"
        scaling = self.target.subresource == "scale"
        sub = "" if scaling else self.target.subresource
        write = Write(manager, sub, bool(dry), strictness or "Warn", flag(self.query, "force"), self.warnings, scaling)
        if self.verb != "patch" and write.strictness != "Ignore":
            write.repeated = repeated(self.body)
        return write


Result = tuple[int, Any]


class Endpoints:
    """The verbs, each giving an HTTP status and a body."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store, self._access = store, access

    def perform(self, call: Call) -> Result:
        """Status and body; 405 for a verb that makes no sense at this URL."""
        verbs: dict[str, Callable[[Call], Result]] = {
            "get": self._get, "list": self._list, "create": self._create, "update": self._update,
            "patch": self._patch, "delete": self._delete, "deletecollection": self._delete_collection,
        }  # fmt: skip
        sub = call.target.subresource
        known = {"get", "update", "patch"} if sub else {*call.resource.verbs}
        named = call.verb in ("get", "update", "patch", "delete")
        if call.verb not in known:
            raise errors.method_not_allowed()
        if named and not call.target.name and call.resource.custom:
            raise bad_request("name must be provided")
        if bool(call.target.name) != named and not (call.resource.custom and call.verb == "create"):
            raise errors.method_not_allowed()
        return verbs[call.verb](call)

    # Reading

    def _get(self, call: Call) -> Result:
        stored = self._store.stored(call.resource, call.namespace, call.target.name)
        shown = self._store.present(call.resource, stored)
        if call.target.subresource == "log":
            return 200, logs.answer(self._store, stored, call.query)
        if call.target.subresource == "scale":
            return 200, scale_of(call.resource, shown)
        return 200, call.form.one(call.resource, shown, self._store.clock())

    def match(self, call: Call) -> Match:
        """Both selectors, and for an authorised name the field selector that names it."""
        return both(call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""), call.resource)

    def _list(self, call: Call) -> Result:
        match, memory = self.match(call), self._store.memory
        revision(call.query)
        at, after = self._position(call)
        objects = snapshot(self._store, call.resource, call.namespace, at)
        found = [obj for obj in objects if match(obj) and _place(obj) > after]
        limit = _number(call.query.get("limit", ""))
        page = found[:limit] if limit > 0 else found
        meta: Obj = {"resourceVersion": str(at if at < memory.revision else memory.revision)}
        if len(page) < len(found):
            meta["continue"] = _token(at, _place(page[-1]))
            if not (call.query.get("labelSelector") or call.query.get("fieldSelector")):
                meta["remainingItemCount"] = len(found) - len(page)
        shown = [self._store.present(call.resource, obj) for obj in page]
        return 200, call.form.many(call.resource, shown, meta, self._store.clock())

    def _position(self, call: Call) -> tuple[int, tuple[str, str]]:
        """The revision of the list and the place after which this page begins."""
        text, memory = call.query.get("continue", ""), self._store.memory
        if not text:
            return memory.revision, ("", "")
        try:
            token = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            at, start = int(token["rv"]), str(token["start"])
        except (ValueError, KeyError, TypeError) as wrong:
            raise bad_request("invalid continue token: continue key is not valid") from wrong
        namespace, _, name = start.removesuffix("\0").rpartition("/")
        if at == ANEW:
            at = memory.revision
        if memory.forgotten(at):
            raise ApiError(410, "Expired", PAGE_EXPIRED, meta={"continue": _token(ANEW, (namespace, name))})
        return at, (namespace, name)

    def wanted(self, call: Call) -> Wanted:
        """A watch; one URL of a single object watches that object."""
        match = self.match(call)
        if call.target.name:
            match = both("", f"metadata.name={call.target.name}", call.resource)
        seconds = float(_number(call.query.get("timeoutSeconds", ""))) or 1800.0 + secrets.randbelow(1800)
        bookmarks, initial = flag(call.query, "allowWatchBookmarks"), flag(call.query, "sendInitialEvents")
        start = None if initial else revision(call.query)
        return Wanted(call.resource, call.namespace, match, start, seconds, bookmarks, initial and bookmarks)

    # Writing

    def _create(self, call: Call) -> Result:
        body = parsed(call.body, call.media, call.resource.kind)
        if call.resource.plural == "selfsubjectaccessreviews":
            return 201, self._review(call, body)
        if call.resource.namespaced and not call.namespace:
            raise errors.method_not_allowed()
        made = self._store.insert(call.resource, call.namespace, body, call.write())
        return 201, call.form.one(call.resource, made, self._store.clock())

    def _review(self, call: Call, body: Any) -> Obj:
        check_type(call.resource, body)
        spec = body.get("spec") or {}
        names = ("resourceAttributes", "nonResourceAttributes")
        if not isinstance(spec, dict) or not all(isinstance(spec.get(name) or {}, dict) for name in names):
            raise bad_request(f"{call.resource.kind} cannot be handled: json: its spec is no object of objects")
        asked, other = (spec.get(name) or {} for name in names)
        if bool(asked) == bool(other):
            text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            cause = errors.invalid_value("spec.resourceAttributes", None, text)
            raise invalid("", call.resource.group, "", [cause])
        parts = ("verb", "group", "resource", "namespace", "name", "subresource")
        attempt = Attempt(*(str(asked.get(part, "")) for part in parts))
        allowed = self._access.may(call.user, attempt) if asked else other.get("verb") == "get"
        kind = {"kind": call.resource.kind, "apiVersion": call.resource.api_version, "metadata": {}}
        return kind | {"spec": copied(spec), "status": {"allowed": allowed}}

    def _update(self, call: Call) -> Result:
        body = parsed(call.body, call.media, call.resource.kind)
        if call.target.subresource == "scale":
            return self._scale(call, lambda _: body)
        made = self._store.replace(call.resource, call.namespace, call.target.name, body, call.write())
        return 200, call.form.one(call.resource, made, self._store.clock())

    def _patch(self, call: Call) -> Result:
        write = call.write()
        if call.media == APPLY_PATCH and call.target.subresource != "scale":
            config = loaded(call.body, yaml_too=True)
            made, new = self._store.apply_config(call.resource, call.namespace, call.target.name, config, write)
            return 201 if new else 200, call.form.one(call.resource, made, self._store.clock())
        change = self._changer(call)
        if call.target.subresource == "scale":
            return self._scale(call, change)
        made = self._store.amend(call.resource, call.namespace, call.target.name, change, write)
        return 200, call.form.one(call.resource, made, self._store.clock())

    def _changer(self, call: Call) -> Callable[[Obj], Any]:
        """The patch as a function; 415 for a format that this kind does not take."""
        kinds: dict[str, Callable[[Any, Any], Any]] = {
            JSON_PATCH: patches.json_patch,
            MERGE_PATCH: patches.merge_patch,
        }
        if not call.resource.custom:
            schema = call.resource.schema or {}
            kinds[STRATEGIC_PATCH] = lambda old, patch: patches.strategic_merge(old, patch, schema)
        if call.media not in kinds:
            raise unsupported([*kinds, APPLY_PATCH])
        patch = loaded(call.body)
        if call.media != JSON_PATCH and not isinstance(patch, dict):
            raise bad_request(
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
            )
        return lambda old: kinds[call.media](old, patch)

    def _scale(self, call: Call, change: Callable[[Obj], Any]) -> Result:
        def changed(old: Obj) -> Obj:
            return scaled(call.resource, old, change(scale_of(call.resource, old)))

        made = self._store.amend(call.resource, call.namespace, call.target.name, changed, call.write())
        return 200, scale_of(call.resource, made)

    # Deleting

    def _options(self, call: Call) -> Obj:
        """DeleteOptions of the body, and those of the query."""
        body = parsed(call.body, call.media, call.resource.kind) if call.body.strip() else {}
        if not isinstance(body, dict):
            raise bad_request("the body of a delete must be DeleteOptions")
        asked = {name: call.query[name] for name in ("propagationPolicy",) if name in call.query}
        dry = body.get("dryRun") or call.query.get("dryRun")
        policy = (body | asked).get("propagationPolicy")
        if policy not in (None, "Background", "Foreground", "Orphan"):
            text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
            cause = Cause("FieldValueNotSupported", "propagationPolicy", text)
            raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
        return body | asked | {"dryRun": bool(dry)}

    def _delete(self, call: Call) -> Result:
        options, resource, name = self._options(call), call.resource, call.target.name
        before = self._store.stored(resource, call.namespace, name)
        left = self._store.drop(resource, call.namespace, name, options, dry_run=options["dryRun"])
        if left is not None or resource.key in ("pods", "namespaces"):
            shown = self._store.present(resource, left or before)
            return 200, call.form.one(resource, shown, self._store.clock())
        return 200, errors.success(name, resource.group, resource.plural, before["metadata"]["uid"])

    def _delete_collection(self, call: Call) -> Result:
        options, match = self._options(call), self.match(call)
        options.pop("preconditions", None)
        found = [obj for obj in self._store.memory.all(call.resource.key, call.namespace) if match(obj)]
        for obj in found:
            meta = obj["metadata"]
            try:
                self._store.drop(
                    call.resource, meta.get("namespace", ""), meta["name"], options, dry_run=options["dryRun"]
                )
            except ApiError as gone:
                if gone.code != 404:  # it went with another one of the collection
                    raise
        meta = {"resourceVersion": str(self._store.memory.revision)}
        shown = [self._store.present(call.resource, obj) for obj in found]
        return 200, call.form.many(call.resource, shown, meta, self._store.clock())


def _place(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _number(text: str) -> int:
    if text and not text.isdigit():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text or 0)


def _token(at: int, place: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": at, "start": "/".join(place) + "\0"}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
