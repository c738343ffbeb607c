"""moto, typed: the only module that knows its inside. Importing it imports moto, so only a start does."""

import os
from collections.abc import Callable
from typing import Any

from moto.core.base_backend import BackendDict
from moto.ec2 import utils
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.models.internet_gateways import InternetGateway
from moto.ec2.models.route_tables import Route
from moto.elb.models import elb_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sts.models import sts_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.aws.policy import Document, Held, like, parse
from sandbox.aws.wire import Answer, Environ

__all__ = [
    "all_roles",
    "application",
    "boundary",
    "ec2_backends",
    "elb_backends",
    "elbv2_backends",
    "entity",
    "group_in_use",
    "has_account",
    "held",
    "iam_backends",
    "instance",
    "instance_type",
    "managed",
    "mock_random",
    "named",
    "policies",
    "reset",
    "role",
    "running",
    "serve",
    "subnet",
    "user",
    "vcpus",
    "zones_offering",
]


_matches = utils.is_filter_matching


def _route_state(route: Any) -> str:
    """moto says 'active' always; a route to a gateway that is detached or gone is a blackhole (EC2 API, Route)."""
    return "blackhole" if isinstance(route.gateway, InternetGateway) and route.gateway.vpc is None else "active"


def _has_key(matches: Callable[[Any, str, Any], bool]) -> Callable[[Any, str, Any], bool]:
    """moto wants all the keys that a filter names, or no other ones; EC2 any of them (EC2 API, Filter)."""

    def matching(thing: Any, name: str, wanted: Any) -> bool:
        if name != "tag-key" or not isinstance(wanted, list):
            return matches(thing, name, wanted)
        return any(like(pattern, key) for key in thing.get_filter_value(name) for pattern in wanted)

    return matching


def reset() -> None:
    """moto's state is the process's."""
    utils.is_filter_matching = _has_key(_matches)
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # 1,301 images, a second to load
    os.environ.pop("MOTO_ACCOUNT_ID", None)  # would put every caller into that account
    Route.state = property(_route_state)
    ours = (ec2_backends, iam_backends, sts_backends, elb_backends, elbv2_backends)
    for backends in ours:
        backends.clear()  # resetting these one by one would make their networks anew
    BackendDict.reset()
    for backends in ours:
        backends.clear()  # the reset of another one can have made them again, before the seed of our ids


def user(access_key: str) -> Any:
    """None if nobody has this key."""
    users = [entry for account in list(iam_backends) for entry in list(iam_backends[account]["aws"].users.values())]
    return next(
        (
            entry
            for entry in users
            for key in entry.access_keys
            if key.access_key_id == access_key and key.status == "Active"
        ),
        None,
    )


def role(arn: str) -> Any:
    account = (arn.split(":") + [""] * 5)[4]
    roles = list(iam_backends[account]["aws"].roles.values()) if account in iam_backends else []
    return next((entry for entry in roles if entry.arn == arn), None)


def has_account(number: str) -> bool:
    return number in iam_backends


def named(account: str, kind: str, name: str) -> Any:
    """The role or user of that name; None if the account has none."""
    iam = iam_backends[account]["aws"]
    entities = iam.roles if kind == "role" else iam.users
    return next((entry for entry in list(entities.values()) if entry.name == name), None)


def entity(arn: str) -> Any:
    """The role or user with this ARN; None if nobody has it."""
    account, name = (arn.split(":") + [""] * 5)[4], arn.rpartition("/")[2]
    found = named(account, "user", name) if ":user/" in arn and account in iam_backends else None
    return role(arn) if found is None or found.arn != arn else found


def all_roles() -> list[Any]:
    return [entry for account in list(iam_backends) for entry in list(iam_backends[account]["aws"].roles.values())]


def held() -> dict[str, Held]:
    """Every role's and user's documents now, by its ARN."""
    users = [entry for account in list(iam_backends) for entry in list(iam_backends[account]["aws"].users.values())]
    return {
        entry.arn: Held(getattr(entry, "assume_role_policy_document", None), policies(entry), boundary(entry))
        for entry in [*all_roles(), *users]
    }


def boundary(entity: Any) -> Document | None:
    """The document that bounds a role; nothing is allowed by one that is gone."""
    arn = getattr(entity, "permissions_boundary_arn", None)
    if not arn:
        return None
    known = managed(arn)
    versions = {version.version_id: version.document for version in known.versions} if known else {}
    return parse(versions[known.default_version_id]) if versions else {"Statement": []}


def managed(arn: str) -> Any:
    """A managed policy of one of the accounts; None if there is none."""
    account = (arn.split(":") + [""] * 5)[4]
    return iam_backends[account]["aws"].managed_policies.get(arn) if account in iam_backends else None


def policies(entity: Any) -> tuple[Document, ...]:
    """Inline and attached ones of a user or role."""
    managed = [
        version.document
        for policy in entity.managed_policies.values()
        for version in policy.versions
        if version.version_id == policy.default_version_id
    ]
    return tuple(parse(text) for text in [*entity.policies.values(), *managed])


def subnet(ec2: Any, subnet_id: str) -> Any:
    """None if this account has no such subnet in this region."""
    return next((zone[subnet_id] for zone in ec2.subnets.values() if subnet_id in zone), None)


def instance_type(name: str) -> dict[str, Any] | None:
    """What DescribeInstanceTypes says of it."""
    known: dict[str, Any] | None = INSTANCE_TYPES.get(name)
    return known


def vcpus(name: str) -> int:
    known = instance_type(name)
    return int(known["VCpuInfo"]["DefaultVCpus"]) if known else 0


def zones_offering(name: str, region: str) -> list[str]:
    """The zones of the region in which an instance type can be had."""
    offered = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return sorted(entry["Location"] for entry in offered if entry["InstanceType"] == name)


def running(ec2: Any) -> list[Any]:
    return list(ec2.all_running_instances())


def instance(ec2: Any, image: str, kind: str, subnet_id: str, profile: Any) -> Any:
    """One that runs, with an instance profile, and takes no address away from its subnet."""
    made = ec2.run_instances(
        image, 1, None, [], instance_type=kind, subnet_id=subnet_id, is_instance_type_default=False
    ).instances[0]
    ec2.associate_iam_instance_profile(made.id, profile.name)
    subnet(ec2, subnet_id)._available_ip_addresses += 1
    return made


def group_in_use(ec2: Any, group: str) -> bool:
    """By an instance that is not terminated, by a load balancer, by a network interface, or by a rule of another
    group."""
    place = (ec2.account_id, ec2.region_name)
    instances = [entry for entry in ec2.all_instances() if entry.state_code != 48]
    balancers = [
        entry
        for backends in (elb_backends, elbv2_backends)
        if place[0] in backends
        for entry in backends[place[0]][place[1]].load_balancers.values()
    ]
    if any(group in (entry.security_groups or []) for entry in balancers):
        return True
    if any(group == member.id for entry in instances for member in entry.security_groups):
        return True
    others = [other for groups in ec2.groups.values() for other in groups.values() if other.id != group]
    loose = [card for card in ec2.enis.values() if card.instance is None]
    if any(group == member.id for card in loose for member in card._group_set):
        return True
    rules = [rule for other in others for rule in other.ingress_rules]
    return any((rule.source_group or {}).get("GroupId") == group for rule in rules)


def application() -> Callable[[Environ], Answer]:
    app = DomainDispatcherApplication(create_backend_app)
    app.app_instances.update({service: create_backend_app(service) for service in ("ec2", "iam", "sts")})

    def forward(environ: Environ) -> Answer:
        head: list[Any] = []
        body = b"".join(app(environ, lambda status, headers, _error=None: head.extend((status, headers))))
        kept = [(name, value) for name, value in head[1] if name.lower() != "content-length"]
        return Answer(int(head[0].split()[0]), kept, body)

    return forward


def serve(app: Callable[..., Any], port: int) -> Any:
    """werkzeug's threaded server, silent: its log of requests would mix into the program's own."""
    silent = {"log_request": lambda *_args: None, "protocol_version": "HTTP/1.1"}
    handler = type("Handler", (WSGIRequestHandler,), silent)
    return make_server("127.0.0.1", port, app, threaded=True, request_handler=handler)
