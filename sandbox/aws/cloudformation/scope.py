"""A template's functions and conditions, carried out for given parameters and the resources that are there. Pure.

Source: CloudFormation User Guide, "Intrinsic functions", "Rules" and "Pseudo parameters".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.aws.cloudformation.template import NAMED, Template, invalid, mentioned, text

NO_VALUE = object()
UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"


class Scope:
    """What names stand for: parameters and pseudo parameters, and resources as far as they are made.

    `made` gives a resource's Ref and attributes; one that is not made yet is unknown in a change set (`strict` False).
    """

    def __init__(
        self,
        template: Template,
        values: Mapping[str, Any],
        made: Mapping[str, Mapping[str, str]],
        *,
        strict: bool = True,
    ) -> None:
        self.template, self._values, self._made, self._strict = template, values, made, strict
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": lambda name: self._named(name, "Ref"),
            "Fn::GetAtt": self._attribute,
            "Fn::Sub": self._sub,
            "Fn::If": lambda parts: self.value(parts[1] if self.true({"Condition": parts[0]}) else parts[2]),
            "Fn::Join": lambda parts: text(parts[0]).join(map(text, self.value(parts[1]))),
            "Fn::Split": lambda parts: self.value(parts[1]).split(parts[0]),
            "Fn::Select": lambda parts: self.value(parts[1])[int(self.value(parts[0]))],
        }

    def value(self, node: Any) -> Any:
        """The node with every function carried out; what is NoValue is left out."""
        if isinstance(node, list):
            return [found for found in map(self.value, node) if found is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in self._functions:
                return self._functions[name](argument)
            if name.startswith("Fn::"):
                raise invalid(f"Template error: the sandbox does not know the function {name}")
        found = {name: self.value(entry) for name, entry in node.items()}
        return {name: entry for name, entry in found.items() if entry is not NO_VALUE}

    def true(self, node: Any) -> bool:
        """A condition."""
        ((name, argument),) = node.items()
        if name == "Condition":
            if argument not in self.template.body.get("Conditions", {}):
                raise invalid(f"Template format error: Unresolved condition {argument}")
            return self.true(self.template.body["Conditions"][argument])
        if name == "Fn::Equals":
            return text(self.value(argument[0])) == text(self.value(argument[1]))
        if name == "Fn::Contains":
            return text(self.value(argument[1])) in map(text, self.value(argument[0]))
        if name not in ("Fn::And", "Fn::Or", "Fn::Not"):
            raise invalid(f"Template error: the sandbox does not know the condition {name}")
        found = [self.true(entry) for entry in argument]
        return all(found) if name == "Fn::And" else any(found) if name == "Fn::Or" else not found[0]

    def check_rules(self) -> None:
        """Refusal with the text of the first assertion that does not hold."""
        for rule in self.template.body.get("Rules", {}).values():
            if "RuleCondition" in rule and not self.true(rule["RuleCondition"]):
                continue
            for entry in rule["Assertions"]:
                if not self.true(entry["Assert"]):
                    raise invalid(f"Template validation error: {entry.get('AssertDescription', 'a rule fails')}")

    def active(self) -> list[str]:
        """The resources whose condition holds, each after those that it speaks of."""
        wanted = {
            name: entry
            for name, entry in self.template.resources.items()
            if "Condition" not in entry or self.true({"Condition": entry["Condition"]})
        }
        order: list[str] = []

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise invalid(f"Circular dependency between resources: [{', '.join(path)}]")
            needs = wanted[name].get("DependsOn", [])
            for other in [*([needs] if isinstance(needs, str) else needs), *mentioned(wanted[name])]:
                if other in wanted and other != name:
                    visit(other, (*path, name))
            if name not in order:
                order.append(name)

        for name in wanted:
            visit(name, ())
        return order

    def outputs(self) -> list[dict[str, Any]]:
        """As DescribeStacks gives them."""
        found = []
        for name, entry in self.template.body.get("Outputs", {}).items():
            if "Condition" in entry and not self.true({"Condition": entry["Condition"]}):
                continue
            value = {"OutputKey": name, "OutputValue": text(self.value(entry["Value"]))}
            found.append(value | ({"Description": entry["Description"]} if "Description" in entry else {}))
        return found

    def _named(self, name: str, attribute: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if attribute == "Ref" and name in self._values:
            return self._values[name]
        if name in self._made and attribute in self._made[name]:
            return self._made[name][attribute]
        if not self._strict and name in self.template.resources:
            return UNKNOWN
        raise invalid(
            f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
        )

    def _attribute(self, argument: Any) -> Any:
        name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        return self._named(name, attribute)

    def _sub(self, argument: Any) -> str:
        whole, more = argument if isinstance(argument, list) else (argument, {})

        def put(found: re.Match[str]) -> str:
            literal, name = found.groups()
            if literal:
                return f"${{{name}}}"
            if name in more:
                return text(self.value(more[name]))
            place, _, attribute = name.partition(".")
            return text(self._named(place, attribute or "Ref"))

        return NAMED.sub(put, whole)
