"""The sandbox's AWS in the hands of an administrator, and the operations side in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import boto3
import botocore.session

from handlers.contract import Caller, Inverse, Json, Plan
from handlers.settings import OperationsSettings
from handlers.workshop import TeamWorkshop
from sandbox.aws import AwsSandbox

HOME = "111122223333"
REGION = "us-east-1"
SETTINGS = OperationsSettings.model_validate({
    "default_account": "management",
    "aws": {"connect_timeout": 2, "read_timeout": 5, "attempts": 1},
    "accounts": {
        "management": {"id": HOME, "region": REGION, "role_arn": f"arn:aws:iam::{HOME}:role/tkgbot"},
        "mistaken": {"id": "444455556666", "region": REGION, "access": "ambient"},
    },
})  # fmt: skip
CALLER = Caller(request="r-7f3a2c", person="UDEV000001")
ROLE = "kubernetes.io/role/elb"


def key(cluster: str) -> str:
    """The tag key of a cluster."""
    return f"kubernetes.io/cluster/{cluster}"


class Cloud:
    """The management account, by its administrator."""

    def __init__(self, sandbox: AwsSandbox) -> None:
        self.sandbox = sandbox
        self.known = sandbox.describe()["accounts"][HOME]

    def admin(self, service: str) -> Any:
        """A plain client."""
        keys = self.known["admin"]
        return _client(self.sandbox.url, service, keys["access_key"], keys["secret_key"])

    def vpc(self, name: str = "demo") -> str:
        """A VPC's id."""
        found: str = self.known["vpcs"][name]["id"]
        return found

    def subnet(self, name: str, vpc: str = "demo") -> str:
        """A subnet's id: `public-a` of the VPC `demo`."""
        found: str = self.known["vpcs"][vpc]["subnets"][f"{vpc}-{name}"]
        return found

    def public(self) -> list[str]:
        """The three public subnets of the VPC `demo`."""
        return [self.subnet(f"public-{zone}") for zone in "abc"]

    def tags(self, subnets: Sequence[str] = ()) -> dict[str, dict[str, str]]:
        """The tags of subnets, or of all of them, without names."""
        found = self.admin("ec2").describe_subnets(**({"SubnetIds": list(subnets)} if subnets else {}))["Subnets"]
        return {
            raw["SubnetId"]: {tag["Key"]: tag["Value"] for tag in raw.get("Tags", []) if tag["Key"] != "Name"}
            for raw in found
        }

    def put(self, subnets: Sequence[str], **tags: str) -> None:
        """Tags subnets for clusters: `put(ids, demo="shared")`."""
        self.write(subnets, {key(cluster): value for cluster, value in tags.items()})

    def write(self, subnets: Sequence[str], tags: dict[str, str]) -> None:
        """Puts tags on subnets."""
        pairs = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.admin("ec2").create_tags(Resources=list(subnets), Tags=pairs)

    def clear_tags(self) -> None:
        """Takes all tags off the subnets of the VPC `demo`, but for their names."""
        for subnet, tags in self.tags(list(self.known["vpcs"]["demo"]["subnets"].values())).items():
            if tags:
                self.admin("ec2").delete_tags(Resources=[subnet], Tags=[{"Key": name} for name in tags])

    def clear(self) -> None:
        """Takes away what a test has made: tags of the VPC `demo`, load balancers, instances, interfaces."""
        self.clear_tags()
        ec2, new, old = self.admin("ec2"), self.admin("elbv2"), self.admin("elb")
        for raw in new.describe_load_balancers()["LoadBalancers"]:
            new.delete_load_balancer(LoadBalancerArn=raw["LoadBalancerArn"])
        for raw in old.describe_load_balancers()["LoadBalancerDescriptions"]:
            old.delete_load_balancer(LoadBalancerName=raw["LoadBalancerName"])
        kept = self.sandbox.describe()["accounts"][HOME]["management"]["instance"]
        found = [raw["InstanceId"] for part in ec2.describe_instances()["Reservations"] for raw in part["Instances"]]
        nodes = [node for node in found if node != kept]
        if nodes:
            ec2.terminate_instances(InstanceIds=nodes)
        for raw in ec2.describe_network_interfaces()["NetworkInterfaces"]:
            if raw.get("Description", "").startswith("ELB "):
                ec2.delete_network_interface(NetworkInterfaceId=raw["NetworkInterfaceId"])
        gateways = [raw["NatGatewayId"] for raw in ec2.describe_nat_gateways()["NatGateways"]]
        ec2.delete_tags(Resources=gateways, Tags=[{"Key": key("demo")}])

    def balancer(self, name: str, subnets: Sequence[str], tags: dict[str, str], kind: str = "network") -> None:
        """Makes a load balancer: `application`, `network` or `classic`."""
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        more = {"Tags": pairs} if pairs else {}
        if kind == "classic":
            listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}
            self.admin("elb").create_load_balancer(
                LoadBalancerName=name, Listeners=[listener], Subnets=list(subnets), **more
            )
        else:
            self.admin("elbv2").create_load_balancer(Name=name, Type=kind, Subnets=list(subnets), **more)

    def node(self, subnet: str, tags: dict[str, str]) -> str:
        """Starts an instance."""
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        made = self.admin("ec2").run_instances(
            ImageId="ami-12345678", InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet,
            TagSpecifications=[{"ResourceType": "instance", "Tags": pairs}],
        )  # fmt: skip
        found: str = made["Instances"][0]["InstanceId"]
        return found


@lru_cache
def _client(url: str, service: str, access_key: str, secret_key: str) -> Any:
    session = boto3.Session(botocore_session=botocore.session.Session())
    return session.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=access_key, aws_secret_access_key=secret_key
    )


def planned(shop: TeamWorkshop, operation: str, **arguments: Any) -> Plan:
    """A plan, from the arguments as they would be typed."""
    return shop.plan(operation, asked(shop, operation, **arguments), CALLER)


def asked(shop: TeamWorkshop, operation: str, **arguments: Any) -> Json:
    """The whole arguments, as a request holds them."""
    model = shop.operations[operation].arguments.model_validate(arguments)
    return shop.resolve(model.model_dump(mode="json"))


def carried_out(shop: TeamWorkshop, plan: Plan) -> list[int]:
    """Runs a plan with exactly its rights; the positions of the steps that changed something."""
    assert not plan.blocked, [check for check in plan.checks if check.blocks]
    caller = replace(CALLER, actions=tuple(action for step in plan.steps for action in step.actions))
    outcomes = [shop.act(step.model_dump(mode="json"), caller) for step in plan.steps]
    return [position for position, outcome in enumerate(outcomes) if outcome.changed]


def turned(shop: TeamWorkshop, operation: str, arguments: Json, plan: Plan, touched: Sequence[int]) -> Inverse | None:
    """The inverse of a run, from the plan as it is stored."""
    return shop.inverse(operation, arguments, Plan.model_validate(plan.model_dump(mode="json")), touched)
