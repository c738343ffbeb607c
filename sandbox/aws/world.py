"""What stands in the sandbox's AWS at the start: two accounts, five VPCs, each good for one kind of trouble."""

import json
from typing import Any

from sandbox.aws import emulator

REGION, ELSEWHERE = "us-east-1", "eu-west-1"
MANAGEMENT, TENANT = "111122223333", "444455556666"
BOT = f"arn:aws:iam::{MANAGEMENT}:user/tkgbot"
TEXTBOOK = {"public": "public-a public-b public-c", "private": "private-a private-b private-c"}
NETWORKS: list[tuple[str, str, str, dict[str, str]]] = [  # route table: subnets; the last letter is the zone
    (MANAGEMENT, REGION, "demo", TEXTBOOK),
    (MANAGEMENT, REGION, "legacy", {"main": "main-a main-b", "blackhole": "blackhole-c"}),
    (MANAGEMENT, REGION, "crowded", {"public": "full-a owned-b 49-c tiny-a"}),
    (TENANT, REGION, "tenant", TEXTBOOK),
    (MANAGEMENT, ELSEWHERE, "europe", {"public": "public-a"}),
]


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
            "sts:AssumeRole sts:SetSourceIdentity sts:TagSession": [entry["role_arn"] for entry in accounts.values()],
            "sts:GetCallerIdentity ec2:Describe* ec2:CreateTags ec2:DeleteTags": ["*"],
        },
    )
    for account, region in ((MANAGEMENT, REGION), (TENANT, REGION), (MANAGEMENT, ELSEWHERE)):
        ec2 = emulator.ec2_backends[account][region]
        for default in (ec2.vpcs, ec2.subnets, ec2.route_tables, ec2.network_acls, ec2.groups):
            default.clear()
    for number, (account, region, name, tables) in enumerate(NETWORKS):
        vpc = _network(emulator.ec2_backends[account][region], region, name, f"10.{number}", tables)
        accounts[account]["vpcs"][name] = {"id": vpc.pop(""), "region": region, "subnets": vpc}
    _crowd(emulator.ec2_backends[MANAGEMENT][REGION], accounts[MANAGEMENT]["vpcs"]["crowded"]["subnets"])
    emulator.mock_random.seed()  # keys made later must not repeat: a restart would reissue an old session's
    return {"region": REGION, "accounts": accounts}, ambient


def _policy(grants: dict[str, list[str]]) -> str:
    statements = [{"Effect": "Allow", "Action": actions.split(), "Resource": on} for actions, on in grants.items()]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _user(account: str, name: str, grants: dict[str, list[str]]) -> tuple[str, str]:
    iam = emulator.iam_backends[account]["aws"]
    iam.create_user(REGION, name)
    iam.put_user_policy(name, name, _policy(grants))
    key = iam.create_access_key(name)
    return key.access_key_id, key.secret_access_key


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
        _policy(
            {
                "ec2:Describe* sts:GetCallerIdentity": ["*"],
                "ec2:CreateTags ec2:DeleteTags": [f"arn:aws:ec2:*:{number}:subnet/*"],
            }
        ),
    )
    admin = dict(zip(("access_key", "secret_key"), _user(number, "admin", {"*": ["*"]}), strict=True))
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
