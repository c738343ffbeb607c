"""A template's text, its parameters, conditions and functions. Pure.

Source: CloudFormation User Guide, "Template reference" (parameters, rules, conditions, intrinsic functions, pseudo
parameters; no YAML aliases; dates are text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import yaml

from sandbox.aws.wire import Refusal

BODY_LIMIT = 51_200
NAMED = re.compile(r"\$\{(!?)([^}]+)\}")
NAMES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
}
"""The property with which a template names an IAM resource itself, which needs a capability of its own."""


def invalid(message: str) -> Refusal:
    """What CloudFormation answers to most mistakes."""
    return Refusal("ValidationError", message)


class _Loader(yaml.SafeLoader):
    """YAML as CloudFormation reads it."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise invalid("Template error: YAML aliases are not allowed in CloudFormation templates")
        return super().compose_node(parent, index)


def _short(loader: Any, name: str, node: Any) -> Any:
    """`!Sub x` is `Fn::Sub: x`; a name with a dot is GetAtt's list."""
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _short)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text(value: Any) -> str:
    """As CloudFormation compares and joins."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class Template:
    """One that has been read; a mistake in its form raises Refusal."""

    def __init__(self, source: str) -> None:
        if len(source.encode()) > BODY_LIMIT:
            raise invalid(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have "
                f"length less than or equal to {BODY_LIMIT}"
            )
        self.source = source
        try:
            body = yaml.load(source, _Loader)  # noqa: S506  # a SafeLoader that knows the short forms
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark
            place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
            raise invalid(f"Template format error: YAML not well-formed.{place}") from problem
        if not isinstance(body, dict) or not body.get("Resources"):
            raise invalid("Template format error: At least one Resources member must be defined.")
        self.body: dict[str, Any] = body

    @property
    def resources(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["Resources"]
        return found

    @property
    def description(self) -> str | None:
        given = self.body.get("Description")
        return None if given is None else str(given)

    @cached_property
    def capability(self) -> str | None:
        """What whoever deploys this has to acknowledge."""
        kinds = [entry for entry in self.resources.values() if str(entry.get("Type")).startswith("AWS::IAM::")]
        named = any(NAMES.get(entry["Type"], "") in entry.get("Properties", {}) for entry in kinds)
        return "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM" if kinds else None

    def parameters(self, given: Mapping[str, str]) -> dict[str, str]:
        """Given values and defaults; Refusal names the first that will not do."""
        declared: dict[str, Any] = self.body.get("Parameters", {})
        strange = sorted(set(given) - set(declared))
        if strange:
            raise invalid(f"Parameters: [{', '.join(strange)}] do not exist in the template")
        missing = [name for name, entry in declared.items() if name not in given and "Default" not in entry]
        if missing:
            raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
        values = {name: text(given.get(name, entry.get("Default"))) for name, entry in declared.items()}
        for name, value in values.items():
            _check_parameter(name, declared[name], value)
        return values


def _check_parameter(name: str, entry: Mapping[str, Any], value: str) -> None:
    told = entry.get("ConstraintDescription")
    failed = f"Parameter '{name}' failed to satisfy constraint: {told}" if told else None
    if "AllowedValues" in entry and value not in map(text, entry["AllowedValues"]):
        raise invalid(failed or f"Parameter '{name}' must be one of AllowedValues")
    if "AllowedPattern" in entry and not re.fullmatch(entry["AllowedPattern"], value):
        raise invalid(failed or f"Parameter '{name}' must match pattern {entry['AllowedPattern']}")
    if not int(entry.get("MinLength", 0)) <= len(value) <= int(entry.get("MaxLength", len(value))):
        raise invalid(failed or f"Parameter '{name}' has a length that the template does not allow")


def mentioned(node: Any) -> Iterator[str]:
    """The names of parameters and resources that a part of a template speaks of."""
    if isinstance(node, list):
        for entry in node:
            yield from mentioned(entry)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "Ref":
                yield value
            elif name == "Fn::GetAtt":
                yield value[0] if isinstance(value, list) else value.partition(".")[0]
            elif name == "Fn::Sub":
                whole = value[0] if isinstance(value, list) else value
                yield from (found[2].partition(".")[0] for found in NAMED.finditer(whole))
            yield from mentioned(value)
