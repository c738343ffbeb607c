"""As whom the Cluster API's AWS provider calls AWS: that principal, and no other, has to be let into an account.

Looked for in the order in which the AWS SDK would: the role of the service account (IRSA), static keys in the manager's
secret, and the instance role of the node on which the manager runs. (kubernetes-sigs/cluster-api-provider-aws, book:
"Specify management IAM role"; clusterawsadm controller zero-credentials; AWS SDK: "Default credential provider chain".)
"""

from __future__ import annotations

import base64
import binascii
import configparser
import re
from dataclasses import dataclass
from typing import Any, Literal

from handlers.contract import AwsRead, AwsRefused, Fatal, Json, KubeRead, ReadWorld
from handlers.kinds import NODE, POD, SECRET, SERVICE_ACCOUNT

NAMESPACE = "capa-system"
ACCOUNT = "capa-controller-manager"
CREDENTIALS = "capa-manager-bootstrap-credentials"
LABELS = "cluster.x-k8s.io/provider=infrastructure-aws"
OLDER_LABELS = "control-plane=capa-controller-manager"
IRSA = "eks.amazonaws.com/role-arn"
INSTANCE = re.compile(r"aws:///[a-z0-9-]+/(i-[0-9a-f]{8,17})", re.ASCII)
PRINCIPAL = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):(role|user)/(?:[^/]+/)*([\w+=,.@-]+)", re.ASCII)
MEND = "The platform team can name it: `operations.onboarding.controllers_principal`."


@dataclass(frozen=True)
class Principal:
    """An IAM role or user. `how` says in words where it was found; `vpc` is the management cluster's, where its node is
    an instance of EC2."""

    arn: str
    partition: str
    account_id: str
    kind: Literal["role", "user"]
    name: str
    how: str
    vpc: str = ""


def controllers_principal(world: ReadWorld, aws: AwsRead) -> Principal:
    """Who it is; `aws` is the management account. Fatal, with what to do, where it cannot be found out."""
    named = world.onboarding().controllers_principal
    if named is not None:
        return principal(named, "named in the settings")
    kube = world.management()
    account = kube.get(SERVICE_ACCOUNT, ACCOUNT, NAMESPACE)
    role = str(_annotations(account).get(IRSA, "")) if account else ""
    if role:
        return principal(role, f"the role of the service account {NAMESPACE}/{ACCOUNT}")
    key = _access_key(kube.get(SECRET, CREDENTIALS, NAMESPACE))
    if key:
        return _owner_of(key, aws)
    return _of_instance(kube, aws)


def principal(arn: str, how: str, vpc: str = "") -> Principal:
    """Takes an ARN apart. Fatal for one that is neither a role nor a user."""
    found = PRINCIPAL.fullmatch(arn)
    if found is None:
        raise Fatal(f"The controllers run as `{arn}`, which is neither an IAM role nor an IAM user.", MEND)
    kind: Literal["role", "user"] = "role" if found[3] == "role" else "user"
    return Principal(arn, found[1], found[2], kind, found[4], how, vpc)


def _annotations(item: Json) -> dict[str, Any]:
    meta: Any = item.get("metadata") or {}
    return dict(meta.get("annotations") or {})


def _access_key(secret: Json | None) -> str:
    """The id of a static key in the manager's AWS profile; empty where it has none. Nothing else of the secret is
    kept."""
    data: Any = (secret or {}).get("data") or {}
    try:
        text = base64.b64decode(str(data.get("credentials", "")), validate=True).decode()
        profile = configparser.ConfigParser(interpolation=None)
        profile.read_string(text)
    except (binascii.Error, UnicodeDecodeError, configparser.Error):
        raise Fatal(f"The secret {NAMESPACE}/{CREDENTIALS} is no AWS profile that can be read.", MEND) from None
    return profile.get("default", "aws_access_key_id", fallback="").strip()


def _owner_of(key: str, aws: AwsRead) -> Principal:
    """Whose access key that is."""
    try:
        name = str(aws.read("iam", "get_access_key_last_used", AccessKeyId=key)["UserName"])
        user: Any = aws.read("iam", "get_user", UserName=name)["User"]
    except AwsRefused as error:
        raise Fatal(
            f"The controllers use static keys of another account ({error.code}).",
            "The bot can only grant rights in the management cluster's own account. " + MEND,
        ) from error
    return principal(str(user["Arn"]), f"the owner of the static keys in {NAMESPACE}/{CREDENTIALS}")


def _of_instance(kube: KubeRead, aws: AwsRead) -> Principal:
    """The instance profile's role of the node under the manager."""
    pods = [*kube.pages(POD, NAMESPACE, LABELS)] or [*kube.pages(POD, NAMESPACE, OLDER_LABELS)]
    nodes = sorted({str(_spec(pod).get("nodeName", "")) for pod in pods} - {""})
    if not nodes:
        raise Fatal(f"No pod of the AWS provider runs in {NAMESPACE}, so its AWS identity cannot be found out.", MEND)
    node = kube.get(NODE, nodes[0])
    instance = INSTANCE.fullmatch(str(_spec(node or {}).get("providerID", "")))
    if instance is None:
        raise Fatal(f"The AWS provider runs on {nodes[0]}, which is no instance of EC2.", MEND)
    try:
        found: Any = [*aws.pages("ec2", "describe_instances", "Reservations", InstanceIds=[instance[1]])]
    except AwsRefused as error:
        raise Fatal(
            f"The AWS provider runs on the instance {instance[1]}, which is not in the management account and region "
            f"that the settings name ({error.code}).", MEND,
        ) from error  # fmt: skip
    machine: Any = found[0]["Instances"][0]
    profile = str((machine.get("IamInstanceProfile") or {}).get("Arn", ""))
    if not profile:
        raise Fatal(f"The instance {instance[1]} under the AWS provider has no instance profile.", MEND)
    name = profile.rpartition("/")[2]
    answer: Any = aws.read("iam", "get_instance_profile", InstanceProfileName=name)
    roles = answer["InstanceProfile"]["Roles"]
    if not roles:
        raise Fatal(f"The instance profile {name} under the AWS provider has no role.", MEND)
    how = f"the instance role of {nodes[0]} ({instance[1]}), on which the AWS provider runs"
    return principal(str(roles[0]["Arn"]), how, str(machine.get("VpcId", "")))


def _spec(item: Json) -> dict[str, Any]:
    found: Any = item.get("spec") or {}
    return dict(found)
