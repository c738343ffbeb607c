"""IAM policy documents: read, compared by meaning, and changed without touching what others wrote.

They are compared in one spelling (`handlers.iam.comparison`), and written in the spelling that they had: an update
replaces the whole document, so what others wrote has to go back as it came.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import unquote

from handlers.iam.changes import changes
from handlers.iam.comparison import canonical, normal_statement
from handlers.iam.sentences import elements, sentence, shown

Document = dict[str, Any]
Statement = dict[str, Any]

ASSUME = "sts:AssumeRole"
VERSION = "2012-10-17"
FIRST_VERSION = "2008-10-17"
"""What IAM takes a document without a Version for (IAM User Guide, "IAM JSON policy elements: Version")."""


class Malformed(ValueError):
    """This is no IAM document, or not one that can be changed without loss. The text is a sentence for people."""


def parsed(raw: str | Mapping[str, Any]) -> Document:
    """A document from what AWS gave: decoded already, JSON, or JSON that is URL-encoded. Raises `Malformed`."""
    document = _decoded(raw) if isinstance(raw, str) else deepcopy(dict(raw))
    if not isinstance(document, dict):
        raise Malformed("The policy document is not a JSON object.")
    if "Statement" not in document:
        raise Malformed("The policy document has no Statement.")
    for number, statement in enumerate(elements(document["Statement"]), start=1):
        if not isinstance(statement, dict):
            raise Malformed(f"Statement number {number} of the policy document is not a JSON object.")
    return document


def _decoded(text: str) -> Any:
    """GetRole's document is URL-encoded by RFC 3986, so a plus sign stands for itself (IAM API Reference, Role)."""
    plain = text if text.lstrip().startswith("{") else unquote(text)
    try:
        return json.loads(plain, object_pairs_hook=_pairs, parse_constant=_constant)
    except Malformed:
        raise
    except json.JSONDecodeError as error:
        raise Malformed(
            f"The policy document is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise Malformed("The policy document holds a number or a nesting that no policy has.") from error


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two equal keys counts, so a document that has such is not read at all."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Malformed(f"The policy document has the key {shown(twice)} twice in one object.")
    return found


def _constant(name: str) -> Any:
    raise Malformed(f"The policy document holds {name}, which is not JSON.")


def statements(document: Mapping[str, Any]) -> list[Statement]:
    """The statements, also where a single one stands without its list."""
    return elements(document["Statement"])


# -- compared by meaning -----------------------------------------------------------------------------------------


def normalised(document: Mapping[str, Any]) -> Document:
    """The document in the one spelling that all documents of its meaning share. For comparison only."""
    found = {"Version": FIRST_VERSION, **document}
    found["Statement"] = sorted(map(normal_statement, statements(document)), key=canonical)
    return found


def same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Do the two mean the same?"""
    return canonical(normalised(left)) == canonical(normalised(right))


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's meaning, in hexadecimal: equal for all spellings of it."""
    return hashlib.sha256(canonical(normalised(document)).encode()).hexdigest()


def compact(document: Mapping[str, Any]) -> str:
    """The document as it is sent to AWS: JSON without white space."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def size(document: Mapping[str, Any]) -> int:
    """Its length in characters as AWS counts it against a quota: white space between elements does not count."""
    return len(compact(document))


# -- changed without touching what others wrote ------------------------------------------------------------------


def merged(document: Document, statement: Statement) -> Document:
    """The document with our statement in it, in place of the one with its Sid or at the end; the same document when it
    is there already."""
    sid = statement.get("Sid")
    if not isinstance(sid, str) or not sid:
        raise Malformed("A statement without a Sid cannot be found again, so it is not merged.")
    places = [place for place, there in enumerate(statements(document)) if there.get("Sid") == sid]
    ours = [statements(document)[place] for place in places]
    if same({"Statement": ours}, {"Statement": statement}):
        return document
    kept = [there for there in statements(document) if there.get("Sid") != sid]
    kept.insert(places[0] if places else len(kept), statement)
    return {**document, "Statement": kept}


def without(document: Document, sid: str) -> Document:
    """The document without the statement of that Sid. It may have no statement left, which AWS does not take."""
    kept = [there for there in statements(document) if there.get("Sid") != sid]
    return document if len(kept) == len(statements(document)) else {**document, "Statement": kept}


def widened(document: Document | None, sid: str, resource: str) -> Document:
    """The policy whose statement `sid` also lets the role `resource` be assumed. Raises `Malformed` when the statement
    of that name is about something else."""
    found = document if document is not None else {"Version": VERSION, "Statement": []}
    there, resources = _assuming(found, sid)
    if resource in resources:
        return found
    return merged(found, _assume(there, sid, [*resources, resource]))


def narrowed(document: Document | None, sid: str, resource: str) -> Document | None:
    """The policy whose statement `sid` no longer names `resource`; None when nothing is left of the policy."""
    if document is None:
        return None
    there, resources = _assuming(document, sid)
    if resource not in resources:
        return document if statements(document) else None
    left = [other for other in resources if other != resource]
    found = merged(document, _assume(there, sid, left)) if left else without(document, sid)
    return found if statements(found) else None


def _assume(there: Statement, sid: str, resources: list[str]) -> Statement:
    made = {"Sid": sid, "Effect": "Allow", "Action": ASSUME}
    return {**(there or made), "Resource": sorted(set(resources))}


def _assuming(document: Document, sid: str) -> tuple[Statement, list[str]]:
    """Our statement and the roles that it lets be assumed; both empty when it is not there."""
    ours = [there for there in statements(document) if there.get("Sid") == sid]
    if not ours:
        return {}, []
    if len(ours) > 1:
        raise Malformed(f"{len(ours)} statements of the policy have the Sid {shown(sid)}. Leave one by hand.")
    there, resources = ours[0], elements(ours[0].get("Resource", []))
    actions = normal_statement(there).get("Action")
    fits = there.get("Effect") == "Allow" and actions == [ASSUME.lower()]
    if not fits or "NotResource" in there or not all(isinstance(resource, str) for resource in resources):
        raise Malformed(f"Statement {shown(sid)} is not as it was written: it {sentence(there)}. Mend it by hand.")
    return there, resources


def difference(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What a change takes away (`- …`) and brings (`+ …`), a line a statement, for people. Of a statement whose list of
    resources alone changes, the resources that go and come are told."""
    before, after = ([] if document is None else statements(document) for document in (old, new))
    return (*_headed("-", old, new), *_headed("+", new, old), *changes(before, after))


def _headed(sign: str, document: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> list[str]:
    """What stands beside the statements and is not the same in the other document."""
    if document is None or other is None:
        return []
    return [
        f"{sign} {shown(key)} of the document is {shown(value)}"
        for key, value in document.items()
        if key != "Statement" and (key not in other or other[key] != value)
    ]
