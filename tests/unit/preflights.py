"""A cluster's layout in the sandbox's AWS, and an administrator's eyes that can be told not to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from handlers.clients.aws import IAM_PREFIXES, PAGES
from handlers.clients.aws_errors import from_client
from handlers.contract import Check, Json
from handlers.network import subnets_by_id
from handlers.preflight import Layout, Pool, checks
from handlers.subnet_scope import Where
from tests.unit.clouds import HOME, REGION, Cloud

WHERE = Where("management", REGION, "aws", HOME)
KEY, OWNER = "ops", "819546954734"
PROFILES = tuple(f"{role}.cluster-api-provider-aws.sigs.k8s.io" for role in ("control-plane", "nodes"))
PREFIXES = {**IAM_PREFIXES, "service-quotas": "servicequotas"}


def refusal(code: str, message: str = "") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}}, "Any")


@dataclass
class Eyes:
    """Reads as the administrator. `denied` and `throttled` are IAM actions; `answers` changes an operation's answer."""

    cloud: Cloud
    denied: set[str] = field(default_factory=set)
    throttled: set[str] = field(default_factory=set)
    answers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One call, with real errors."""
        client = self.cloud.admin(service)
        action = f"{PREFIXES.get(service, service)}:{client.meta.method_to_api_mapping[operation]}"
        self.calls.append(action)
        try:
            self.weather(service, action)
            answer: Any = getattr(client, operation)(**parameters)
        except ClientError as error:
            raise from_client(error, action, "management") from error
        answer.pop("ResponseMetadata", None)
        made: Json = self.answers.get(operation, lambda same: same)(answer)
        return made

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items."""
        asked, answered = PAGES.get(service, ("NextToken", "NextToken"))
        more: dict[str, Any] = {}
        while True:
            answer: Any = self.read(service, operation, **parameters, **more)
            yield from answer.get(key, [])
            if not answer.get(answered):
                return
            more = {asked: answer[answered]}

    def weather(self, service: str, action: str) -> None:
        """What goes wrong before AWS answers."""
        if {action, "*"} & self.throttled:
            raise refusal("RequestLimitExceeded")
        if {action, "*"} & self.denied:
            raise refusal("UnauthorizedOperation" if service == "ec2" else "AccessDeniedException")


def pool(name: str, zone: str | None = None, *, count: int = 1, type: str = "m5.large") -> Pool:
    """A pool that rolls one machine at a time."""
    return Pool(name=name, count=count, surge=1, type=type, zone=zone)


def layout(cloud: Cloud, **changes: Any) -> Layout:
    """A prod cluster in the VPC `demo`, that nothing is wrong with. Subnets may be given by id."""
    made: dict[str, Any] = {
        "cluster": "shop",
        "where": WHERE,
        "vpc": cloud.vpc(),
        "public": cloud.public(),
        "private": [cloud.subnet(f"private-{zone}") for zone in "abc"],
        "pools": (pool("control-plane", count=3, type="t3.large"), *(pool(f"md-{z}", f"{REGION}{z}") for z in "abc")),
        "production": True,
        "ssh_key": KEY,
        "kubernetes_version": "v1.33.1",
        "ami_owner": OWNER,
        "ami_base_os": "ubuntu-24.04",
        "ami_id": None,
        "instance_profiles": PROFILES,
        **changes,
    }  # fmt: skip
    eyes = Eyes(cloud)
    for kind in ("public", "private"):
        made[kind] = tuple(subnets_by_id(eyes, made[kind]))
    return Layout(**made)


def seen(cloud: Cloud, eyes: Eyes | None = None, *, begun: bool = False, **changes: Any) -> dict[str, Check]:
    """The checks by id."""
    found = checks(layout(cloud, **changes), eyes or Eyes(cloud), begun=begun)
    by_id = {check.id: check for check in found}
    assert len(by_id) == len(found), "two checks have one id"
    return by_id
