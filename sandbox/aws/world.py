"""What stands in the sandbox's AWS at the start: four accounts, ten VPCs, each good for one kind of trouble."""

import json
from typing import Any

from sandbox.aws import emulator, equipment, roles

REGION, ELSEWHERE = "us-east-1", "eu-west-1"
MANAGEMENT, TENANT = "111122223333", "444455556666"
SECOND, THIRD = "777788889999", "222233334444"
LOOKS = (
    "sts:GetCallerIdentity ec2:Describe* elasticloadbalancing:Describe* servicequotas:Get* servicequotas:List* "
    "iam:GetInstanceProfile"
)
CLEANS = (
    "ec2:TerminateInstances ec2:DeleteNetworkInterface ec2:ReleaseAddress ec2:DeleteVolume ec2:DeleteSecurityGroup "
    "ec2:RevokeSecurityGroupIngress ec2:RevokeSecurityGroupEgress elasticloadbalancing:DeleteLoadBalancer "
    "elasticloadbalancing:DeleteTargetGroup"
)
"""What takes away the leftovers of deleted clusters."""
BOT = f"arn:aws:iam::{MANAGEMENT}:user/tkgbot"
TEXTBOOK = {"public": "public-a public-b public-c", "private": "private-a private-b private-c"}
NETWORKS: list[tuple[str, str, str, dict[str, str]]] = [  # route table: subnets; the last letter is the zone
    (MANAGEMENT, REGION, "demo", TEXTBOOK),
    (MANAGEMENT, REGION, "legacy", {"main": "main-a main-b", "blackhole": "blackhole-c"}),
    (MANAGEMENT, REGION, "crowded", {"public": "full-a owned-b 49-c tiny-a"}),
    (TENANT, REGION, "tenant", TEXTBOOK),
    (MANAGEMENT, ELSEWHERE, "europe", {"public": "public-a"}),
    (MANAGEMENT, REGION, "closed", {"public": "public-a public-b public-c", "isolated": TEXTBOOK["private"]}),
    (MANAGEMENT, REGION, "narrow", {"public": "public-a", "private": "private-a"}),
]
LATER: list[tuple[str, str, str, dict[str, str]]] = [  # account, VPC, its network, tables: the ids above stay the same
    (SECOND, "second", "10.7", TEXTBOOK),
    (SECOND, "overlap", "10.0", {"public": "public-a", "private": "private-a"}),
    (THIRD, "third", "10.8", TEXTBOOK),
]
PLACES = ((MANAGEMENT, REGION), (TENANT, REGION), (MANAGEMENT, ELSEWHERE))


def build() -> tuple[dict[str, Any], tuple[str, str]]:
    """The description of everything, and the bot's own keys. The order matters: ids come off a seed."""
    emulator.reset()
    emulator.mock_random.seed(20)
    accounts = {
        number: _account(number, name, external_id)
        for number, name, external_id in ((MANAGEMENT, "management", None), (TENANT, "tenant", "sandbox-external-id"))
    }
    ambient = _user(
        MANAGEMENT,
        "tkgbot",
        {
            roles.ASSUME: [roles.OURS],
            f"{LOOKS} {CLEANS} ec2:CreateTags ec2:DeleteTags": ["*"],
        },
    )
    for place in PLACES:
        _cleared(*place)
    for number, (account, region, name, tables) in enumerate(NETWORKS):
        vpc = _network(emulator.ec2_backends[account][region], region, name, f"10.{number}", tables)
        accounts[account]["vpcs"][name] = {"id": vpc.pop(""), "region": region, "subnets": vpc}
    _crowd(emulator.ec2_backends[MANAGEMENT][REGION], accounts[MANAGEMENT]["vpcs"]["crowded"]["subnets"])
    accounts[MANAGEMENT]["controllers"] = _equip()
    accounts |= _later()
    demo = accounts[MANAGEMENT]["vpcs"]["demo"]["subnets"]["demo-private-a"]
    accounts[MANAGEMENT]["management"] = equipment.management(MANAGEMENT, REGION, demo)
    roles.bot_reads_iam(MANAGEMENT)
    emulator.mock_random.seed()  # keys made later must not repeat: a restart would reissue an old session's
    return {"region": REGION, "accounts": accounts}, ambient


def _equip() -> dict[str, str]:
    """What machines need; the answer is the keys of the user that the cluster's controllers are."""
    equipment.profiles(MANAGEMENT)
    for account, region in PLACES:
        equipment.region(emulator.ec2_backends[account][region], region)
    return _keys(MANAGEMENT, "capa-controllers", equipment.controllers_rights())


def _cleared(account: str, region: str) -> Any:
    ec2 = emulator.ec2_backends[account][region]
    for default in (ec2.vpcs, ec2.subnets, ec2.route_tables, ec2.network_acls, ec2.groups):
        default.clear()
    return ec2


def _later() -> dict[str, dict[str, Any]]:
    """Accounts that wait to be onboarded: into one the bot has a way, in the other only people have rights."""
    found: dict[str, dict[str, Any]] = {}
    for number, name in ((SECOND, "second"), (THIRD, "third")):
        admin = _keys(number, "admin", {"*": ["*"]})
        found[number] = {"name": name, "admin": admin, "role_arn": None, "external_id": None, "vpcs": {}}
        ec2 = _cleared(number, REGION)
        for account, vpc, net, tables in LATER:
            if account == number:
                ids = _network(ec2, REGION, vpc, net, tables)
                found[number]["vpcs"][vpc] = {"id": ids.pop(""), "region": REGION, "subnets": ids}
        equipment.region(ec2, REGION)
    found[SECOND]["bootstrap"] = roles.bootstrap(SECOND, BOT)
    return found


def _user(account: str, name: str, grants: dict[str, list[str]]) -> tuple[str, str]:
    iam = emulator.iam_backends[account]["aws"]
    iam.create_user(REGION, name)
    iam.put_user_policy(name, name, roles.policy(grants))
    key = iam.create_access_key(name)
    return key.access_key_id, key.secret_access_key


def _keys(account: str, name: str, grants: dict[str, list[str]]) -> dict[str, str]:
    return dict(zip(("access_key", "secret_key"), _user(account, name, grants), strict=True))


def _account(number: str, name: str, external_id: str | None) -> dict[str, Any]:
    """The bot's role may look, and tag subnets; its trust names the bot's user and, for a stranger, the id."""
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": BOT},
        "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}} if external_id else {},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = emulator.iam_backends[number]["aws"]
    role = iam.create_role("tkgbot", document, "/", None, "", [], None)
    iam.put_role_policy(
        "tkgbot",
        "tkgbot",
        roles.policy(
            {
                f"{LOOKS} {CLEANS}": ["*"],
                "ec2:CreateTags ec2:DeleteTags": [f"arn:aws:ec2:*:{number}:subnet/*"],
            }
        ),
    )
    admin = _keys(number, "admin", {"*": ["*"]})
    return {"name": name, "admin": admin, "role_arn": role.arn, "external_id": external_id, "vpcs": {}}


def _network(ec2: Any, region: str, vpc: str, net: str, tables: dict[str, str]) -> dict[str, str]:
    """One VPC straight into the emulator (HTTP would double the start). Subnet ids by name; '' is the VPC's."""

    def named(resource: str, name: str) -> str:
        ec2.create_tags([resource], {"Name": name})
        return resource

    ids = {"": named(ec2.create_vpc(f"{net}.0.0/16").id, vpc)}
    main = next(table.id for table in ec2.route_tables.values() if table.vpc_id == ids[""])
    gateway = named(ec2.create_internet_gateway().id, vpc)
    ec2.attach_internet_gateway(gateway, ids[""])
    for kind, names in tables.items():
        for name in names.split():
            cidr = f"{net}.{len(ids)}.0/{28 if name.startswith('tiny') else 24}"
            subnet = ec2.create_subnet(ids[""], cidr, availability_zone=region + name[-1])
            subnet.default_for_az = subnet.map_public_ip_on_launch = False  # moto: a zone's first is the default
            ids[f"{vpc}-{name}"] = named(subnet.id, f"{vpc}-{name}")
        table = named(main if kind == "main" else ec2.create_route_table(ids[""]).id, f"{vpc}-{kind}")
        for name in names.split() if kind != "main" else []:
            ec2.associate_route_table(table, subnet_id=ids[f"{vpc}-{name}"])
        if kind == "private":
            nat = ec2.create_nat_gateway(ids[f"{vpc}-public-a"], ec2.allocate_address("vpc").allocation_id)
            ec2.create_route(table, "0.0.0.0/0", nat_gateway_id=named(nat.id, vpc))
        elif kind == "isolated":
            continue
        elif kind == "blackhole":
            lost = ec2.create_internet_gateway().id
            ec2.create_route(table, "0.0.0.0/0", gateway_id=lost)
            ec2.delete_internet_gateway(lost)
        else:
            ec2.create_route(table, "0.0.0.0/0", gateway_id=gateway)
    return ids


def _crowd(ec2: Any, subnets: dict[str, str]) -> None:
    """Tags: none left, one left, and another cluster's ownership beside ours. Name counts."""
    for name, count in (("crowded-full-a", 50), ("crowded-49-c", 49)):
        ec2.create_tags([subnets[name]], {f"inventory/{number:02}": "x" for number in range(1, count)})
    owned = {f"kubernetes.io/cluster/{cluster}": "owned" for cluster in ("other", "demo")}
    ec2.create_tags([subnets["crowded-owned-b"]], owned)
