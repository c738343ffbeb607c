"""What CloudFormation does in IAM for each kind of resource, in the caller's name.

Source: CloudFormation User Guide, "AWS::IAM resource type reference" (what Ref and GetAtt give, what needs a
replacement), and the permissions that each resource's handlers ask for.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sandbox.aws.wire import Answer, Refusal

Ask = Callable[[str, dict[str, str]], Answer]
Properties = Mapping[str, Any]
Made = dict[str, str]
"""A resource's Ref and its attributes."""


def _text(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _given(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _inline(props: Properties) -> dict[str, str]:
    return {entry["PolicyName"]: _text(entry["PolicyDocument"]) for entry in props.get("Policies", [])}


def _tags(props: Properties) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, tag in enumerate(props.get("Tags", []), 1):
        found |= {f"Tags.member.{number}.Key": tag["Key"], f"Tags.member.{number}.Value": tag["Value"]}
    return found


@contextlib.contextmanager
def _undone(back: Callable[[], None]) -> Iterator[None]:
    """What is half made when something is refused goes again, as far as it can."""
    try:
        yield
    except Refusal:
        with contextlib.suppress(Refusal):
            back()
        raise


class Role:
    """AWS::IAM::Role."""

    name, fixed = "RoleName", ("RoleName", "Path")

    def create(self, ask: Ask, name: str, props: Properties) -> Made:
        told = ask(
            "iam:CreateRole",
            {
                **_given(
                    RoleName=name, Path=props.get("Path", "/"), Description=props.get("Description"),
                    AssumeRolePolicyDocument=_text(props["AssumeRolePolicyDocument"]),
                    MaxSessionDuration=props.get("MaxSessionDuration"),
                    PermissionsBoundary=props.get("PermissionsBoundary"),
                ),
                **_tags(props),
            },
        )  # fmt: skip
        with _undone(lambda: self.delete(ask, {"Ref": name}, {})):
            self._fill(ask, name, {}, props)
            ask("iam:GetRole", {"RoleName": name})
        return {"Ref": name, "Arn": told.element("Arn"), "RoleId": told.element("RoleId")}

    def update(self, ask: Ask, made: Made, old: Properties, new: Properties) -> None:
        role = {"RoleName": made["Ref"]}
        if new["AssumeRolePolicyDocument"] != old["AssumeRolePolicyDocument"]:
            ask("iam:UpdateAssumeRolePolicy", {**role, "PolicyDocument": _text(new["AssumeRolePolicyDocument"])})
        if any(new.get(name) != old.get(name) for name in ("Description", "MaxSessionDuration")):
            more = _given(
                Description=new.get("Description", ""), MaxSessionDuration=new.get("MaxSessionDuration", 3600)
            )
            ask("iam:UpdateRole", {**role, **more})
        if new.get("PermissionsBoundary") != old.get("PermissionsBoundary"):
            if "PermissionsBoundary" in new:
                ask("iam:PutRolePermissionsBoundary", {**role, "PermissionsBoundary": new["PermissionsBoundary"]})
            else:
                ask("iam:DeleteRolePermissionsBoundary", role)
        self._fill(ask, made["Ref"], old, new)

    def delete(self, ask: Ask, made: Made, props: Properties) -> None:
        """Only what the template put on it is taken off first; what others put there keeps it."""
        self._fill(ask, made["Ref"], props, {})
        ask("iam:DeleteRole", {"RoleName": made["Ref"]})

    def _fill(self, ask: Ask, name: str, old: Properties, new: Properties) -> None:
        before, after = _inline(old), _inline(new)
        for policy in [policy for policy in before if policy not in after]:
            ask("iam:DeleteRolePolicy", {"RoleName": name, "PolicyName": policy})
        for policy, document in after.items():
            if before.get(policy) != document:
                ask("iam:PutRolePolicy", {"RoleName": name, "PolicyName": policy, "PolicyDocument": document})
        _attached(ask, name, old.get("ManagedPolicyArns", []), new.get("ManagedPolicyArns", []))


def _attached(ask: Ask, role: str, old: Iterable[str], new: Iterable[str]) -> None:
    for arn in [arn for arn in old if arn not in new]:
        ask("iam:DetachRolePolicy", {"RoleName": role, "PolicyArn": arn})
    for arn in [arn for arn in new if arn not in old]:
        ask("iam:AttachRolePolicy", {"RoleName": role, "PolicyArn": arn})


class ManagedPolicy:
    """AWS::IAM::ManagedPolicy."""

    name, fixed = "ManagedPolicyName", ("ManagedPolicyName", "Path", "Description")

    def create(self, ask: Ask, name: str, props: Properties) -> Made:
        form = _given(PolicyName=name, Path=props.get("Path", "/"), Description=props.get("Description"))
        arn = ask("iam:CreatePolicy", {**form, "PolicyDocument": _text(props["PolicyDocument"])}).element("Arn")
        with _undone(lambda: self.delete(ask, {"Ref": arn}, {})):
            for role in props.get("Roles", []):
                _attached(ask, role, [], [arn])
        return {"Ref": arn, "PolicyArn": arn}

    def update(self, ask: Ask, made: Made, old: Properties, new: Properties) -> None:
        policy = {"PolicyArn": made["Ref"]}
        if new["PolicyDocument"] != old["PolicyDocument"]:
            document = {"PolicyDocument": _text(new["PolicyDocument"]), "SetAsDefault": "true"}
            self._drop_versions(ask, policy)
            ask("iam:CreatePolicyVersion", {**policy, **document})
        for role in [role for role in old.get("Roles", []) if role not in new.get("Roles", [])]:
            _attached(ask, role, [made["Ref"]], [])
        for role in [role for role in new.get("Roles", []) if role not in old.get("Roles", [])]:
            _attached(ask, role, [], [made["Ref"]])

    def delete(self, ask: Ask, made: Made, props: Properties) -> None:
        for role in props.get("Roles", []):
            _attached(ask, role, [made["Ref"]], [])
        self._drop_versions(ask, {"PolicyArn": made["Ref"]})
        ask("iam:DeletePolicy", {"PolicyArn": made["Ref"]})

    def _drop_versions(self, ask: Ask, policy: dict[str, str]) -> None:
        """All but the default one, so that there is room for one more, or nothing in the way of the end."""
        listed = ask("iam:ListPolicyVersions", policy)
        for entry in listed.elements("member"):
            if "<IsDefaultVersion>false" in entry:
                version = entry.partition("<VersionId>")[2].partition("<")[0]
                ask("iam:DeletePolicyVersion", {**policy, "VersionId": version})


class InstanceProfile:
    """AWS::IAM::InstanceProfile."""

    name, fixed = "InstanceProfileName", ("InstanceProfileName", "Path")

    def create(self, ask: Ask, name: str, props: Properties) -> Made:
        told = ask("iam:CreateInstanceProfile", {"InstanceProfileName": name, "Path": props.get("Path", "/")})
        with _undone(lambda: self.delete(ask, {"Ref": name}, {"Roles": []})):
            self._roles(ask, name, [], props["Roles"])
        return {"Ref": name, "Arn": told.element("Arn")}

    def update(self, ask: Ask, made: Made, old: Properties, new: Properties) -> None:
        self._roles(ask, made["Ref"], old["Roles"], new["Roles"])

    def delete(self, ask: Ask, made: Made, props: Properties) -> None:
        self._roles(ask, made["Ref"], props["Roles"], [])
        ask("iam:DeleteInstanceProfile", {"InstanceProfileName": made["Ref"]})

    def _roles(self, ask: Ask, name: str, old: list[str], new: list[str]) -> None:
        for role in [role for role in old if role not in new]:
            ask("iam:RemoveRoleFromInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
        for role in [role for role in new if role not in old]:
            ask("iam:AddRoleToInstanceProfile", {"InstanceProfileName": name, "RoleName": role})


class InlinePolicy:
    """AWS::IAM::Policy: one inline policy, the same on each of its roles."""

    name, fixed = "", ("PolicyName",)

    def create(self, ask: Ask, name: str, props: Properties) -> Made:
        with _undone(lambda: self.delete(ask, {"Ref": name}, props)):
            self.update(ask, {"Ref": name}, {}, props)
        return {"Ref": name}

    def update(self, ask: Ask, _made: Made, old: Properties, new: Properties) -> None:
        policy = {"PolicyName": new["PolicyName"]}
        for role in [role for role in old.get("Roles", []) if role not in new["Roles"]]:
            ask("iam:DeleteRolePolicy", {"RoleName": role, **policy})
        for role in new["Roles"]:
            if new["PolicyDocument"] != old.get("PolicyDocument") or role not in old.get("Roles", []):
                document = _text(new["PolicyDocument"])
                ask("iam:PutRolePolicy", {"RoleName": role, **policy, "PolicyDocument": document})

    def delete(self, ask: Ask, _made: Made, props: Properties) -> None:
        for role in props["Roles"]:
            ask("iam:DeleteRolePolicy", {"RoleName": role, "PolicyName": props["PolicyName"]})


KINDS: dict[str, Role | ManagedPolicy | InstanceProfile | InlinePolicy] = {
    "AWS::IAM::Policy": InlinePolicy(),
    "AWS::IAM::Role": Role(),
    "AWS::IAM::ManagedPolicy": ManagedPolicy(),
    "AWS::IAM::InstanceProfile": InstanceProfile(),
}
