"""What a template makes with some parameters: its conditions worked out, as CloudFormation does it.

Source: AWS CloudFormation User Guide, "Condition functions". Only the long forms are known, and only comparisons of
parameters: the templates of this project have no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def resources_made(template: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The logical ids of the resources, sorted. A parameter that is left out has its default."""
    values = {name: str(entry.get("Default", "")) for name, entry in template.get("Parameters", {}).items()}
    values.update(parameters)
    return tuple(
        sorted(
            name
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or _holds({"Condition": resource["Condition"]}, template, values)
        )
    )


def _holds(rule: Mapping[str, Any], template: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    ((function, content),) = rule.items()
    if function == "Condition":
        return _holds(template["Conditions"][content], template, values)
    if function == "Fn::Equals":
        one, other = (_value(side, values) for side in content)
        return one == other
    found = [_holds(part, template, values) for part in content]
    if function == "Fn::Not":
        return not found[0]
    return all(found) if function == "Fn::And" else any(found)


def _value(side: Any, values: Mapping[str, str]) -> str:
    return values[side["Ref"]] if isinstance(side, Mapping) else str(side)
