"""The sandbox's AWS as far as machines need it: quotas, images, keys, profiles, and what EC2 refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.aws import AwsSandbox, quotas

HOME = "111122223333"
STANDARD, GRAPHICS, ACCELERATED = quotas.STANDARD, quotas.GRAPHICS, quotas.ACCELERATED
PROFILE = "nodes.cluster-api-provider-aws.sigs.k8s.io"


@pytest.fixture(scope="module")
def running() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def aws(running: AwsSandbox) -> Iterator[AwsSandbox]:
    yield running
    running.set_faults(dict.fromkeys(running.get_faults()))


def client(aws: AwsSandbox, service: str, who: str = "controllers", region: str = "us-east-1") -> Any:
    env, account = aws.env(), aws.describe()["accounts"][HOME]
    bot = {"access_key": env["AWS_ACCESS_KEY_ID"], "secret_key": env["AWS_SECRET_ACCESS_KEY"]}
    keys = bot if who == "bot" else account[who]
    return boto3.client(
        service, region_name=region, endpoint_url=aws.url, config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip


def subnet(aws: AwsSandbox, vpc: str, name: str) -> str:
    return str(aws.describe()["accounts"][HOME]["vpcs"][vpc]["subnets"][f"{vpc}-{name}"])


def image(ec2: Any, version: str = "1.33.1", architecture: str = "x86_64") -> str:
    pattern = {"name": f"capa-ami-ubuntu-24.04-?{version}-*", "architecture": architecture}
    filters = [{"Name": name, "Values": [value]} for name, value in pattern.items()]
    (found,) = ec2.describe_images(Owners=["819546954734"], Filters=filters)["Images"]
    assert found["State"] == "available"
    return str(found["ImageId"])


def wanted(aws: AwsSandbox, **other: Any) -> dict[str, Any]:
    ec2 = client(aws, "ec2")
    given = {"ImageId": image(ec2), "InstanceType": "t3.large", "SubnetId": subnet(aws, "demo", "private-a")}
    given |= {"MinCount": 1, "MaxCount": 1, "KeyName": "ops", "IamInstanceProfile": {"Name": PROFILE}}
    return given | other


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_what_is_applied_and_what_is_default(aws: AwsSandbox) -> None:
    service = client(aws, "service-quotas", "bot")
    assert service.get_service_quota(ServiceCode="ec2", QuotaCode=STANDARD)["Quota"]["Value"] == 256
    assert service.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=STANDARD)["Quota"]["Value"] == 5
    assert refused(service.get_service_quota, ServiceCode="ec2", QuotaCode=ACCELERATED)[0] == "NoSuchResourceException"
    assert service.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=ACCELERATED)["Quota"]["Value"] == 0
    aws.set_faults({"quota": [f"{STANDARD}=4", f"{ACCELERATED}=96"]})
    listed = service.list_service_quotas(ServiceCode="ec2")["Quotas"]
    assert {entry["QuotaCode"]: entry["Value"] for entry in listed} == {STANDARD: 4, GRAPHICS: 64, ACCELERATED: 96}


def test_quotas_are_authorised_like_everything(aws: AwsSandbox) -> None:
    code, message = refused(client(aws, "service-quotas").list_service_quotas, ServiceCode="ec2")
    assert code == "AccessDeniedException"
    assert "capa-controllers is not authorized to perform: servicequotas:ListServiceQuotas" in message
    assert aws.calls[-1]["outcome"] == "AccessDeniedException"


@pytest.mark.parametrize("entry", ["L-1216C47A", "L-1216C47A=many", "L-0000=4"])
def test_a_quota_switch_that_means_nothing(aws: AwsSandbox, entry: str) -> None:
    with pytest.raises(ValueError, match="fault quota"):
        aws.set_faults({"quota": [entry]})
    assert aws.get_faults()["quota"] == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("t3.large", STANDARD), ("im4gn.large", STANDARD), ("g4dn.xlarge", GRAPHICS), ("gr6.4xlarge", GRAPHICS),
        ("p5.48xlarge", ACCELERATED), ("inf2.xlarge", None), ("hpc7a.12xlarge", None), ("", None),
    ],
)  # fmt: skip
def test_the_bucket_of_a_type(kind: str, code: str | None) -> None:
    assert quotas.bucket(kind) == code


def test_a_machine_runs_with_everything_that_is_there(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2")
    (made,) = ec2.run_instances(**wanted(aws))["Instances"]
    assert made["KeyName"] == "ops"
    assert made["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{PROFILE}")
    assert made["Placement"]["AvailabilityZone"] == "us-east-1a"
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"KeyName": "default"}, "InvalidKeyPair.NotFound", "The key pair 'default' does not exist"),
        ({"ImageId": "ami-0abc"}, "InvalidAMIID.NotFound", "The image id '[ami-0abc]' does not exist"),
        ({"SubnetId": "subnet-0abc"}, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0abc' does not exist"),
        ({"InstanceType": "t3.enormous"}, "InvalidParameterValue", "Invalid value 't3.enormous' for InstanceType."),
        ({"InstanceType": "t4g.large"}, "InvalidParameterValue", "does not match the architecture 'x86_64'"),
        ({"IamInstanceProfile": {"Name": "x"}}, "InvalidParameterValue", "Invalid IAM Instance Profile name"),
        ({"InstanceType": "p4d.24xlarge"}, "VcpuLimitExceeded", "your current vCPU limit of 0 allows"),
        ({"InstanceType": "g4dn.8xlarge", "MinCount": 3, "MaxCount": 3}, "VcpuLimitExceeded", "vCPU limit of 64"),
    ],
)
def test_run_instances_is_refused_in_awss_words(aws: AwsSandbox, change: Any, code: str, text: str) -> None:
    found = refused(client(aws, "ec2").run_instances, **wanted(aws, **change))
    assert found[0] == code
    assert text in found[1]


def test_a_type_that_the_zone_does_not_have(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2")
    filters = [{"Name": "instance-type", "Values": ["g7e.2xlarge"]}]
    offered = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters)
    assert {e["Location"] for e in offered["InstanceTypeOfferings"]} == {"us-east-1a", "us-east-1c"}
    there = wanted(aws, InstanceType="g7e.2xlarge", SubnetId=subnet(aws, "demo", "private-b"))
    assert refused(ec2.run_instances, **there) == (
        "Unsupported",
        "Your requested instance type (g7e.2xlarge) is not supported in your requested Availability Zone "
        "(us-east-1b). Please retry your request by not specifying an Availability Zone or choosing us-east-1a, "
        "us-east-1c.",
    )


def test_capacity_runs_out_by_switch(aws: AwsSandbox) -> None:
    aws.set_faults({"no_capacity": ["t3.*"]})
    code, message = refused(client(aws, "ec2").run_instances, **wanted(aws))
    assert code == "InsufficientInstanceCapacity"
    assert "do not have sufficient t3.large capacity in the Availability Zone you requested (us-east-1a)" in message


def test_addresses_run_out(aws: AwsSandbox) -> None:
    ec2, tiny = client(aws, "ec2"), subnet(aws, "crowded", "tiny-a")
    free = ec2.describe_subnets(SubnetIds=[tiny])["Subnets"][0]["AvailableIpAddressCount"]
    code, message = refused(
        ec2.run_instances, **wanted(aws, InstanceType="t3.micro", SubnetId=tiny, MinCount=free + 1, MaxCount=free + 1)
    )
    assert code == "InsufficientFreeAddressesInSubnet"
    assert tiny in message


def test_the_quota_counts_what_runs(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2")
    aws.set_faults({"quota": [f"{STANDARD}=3"]})
    (made,) = ec2.run_instances(**wanted(aws))["Instances"]
    assert refused(ec2.run_instances, **wanted(aws))[0] == "VcpuLimitExceeded"
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    (again,) = ec2.run_instances(**wanted(aws))["Instances"]
    ec2.terminate_instances(InstanceIds=[again["InstanceId"]])


def test_a_dry_run_is_about_permissions_alone(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2")
    assert refused(ec2.run_instances, **wanted(aws, KeyName="default", DryRun=True))[0] == "DryRunOperation"
    bot = client(aws, "ec2", "bot")
    assert refused(bot.run_instances, **wanted(aws, DryRun=True))[0] == "UnauthorizedOperation"


def test_a_role_that_may_not_be_passed(aws: AwsSandbox) -> None:
    iam = client(aws, "iam", "admin")
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}'
    )
    iam.create_role(RoleName="other", AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName="other")
    iam.add_role_to_instance_profile(InstanceProfileName="other", RoleName="other")
    code, message = refused(client(aws, "ec2").run_instances, **wanted(aws, IamInstanceProfile={"Name": "other"}))
    assert code == "UnauthorizedOperation"
    assert f"iam:PassRole on resource: arn:aws:iam::{HOME}:role/other" in message


def test_images_are_the_same_for_every_account_and_differ_by_region(aws: AwsSandbox) -> None:
    assert image(client(aws, "ec2")) != image(client(aws, "ec2", region="eu-west-1"))
    assert image(client(aws, "ec2")) != image(client(aws, "ec2"), architecture="arm64")


def test_a_key_pair_that_is_not_there(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2", "bot")
    assert ec2.describe_key_pairs(KeyNames=["ops"])["KeyPairs"]
    assert refused(ec2.describe_key_pairs, KeyNames=["nope"])[1] == "The key pair 'nope' does not exist"


def test_a_group_in_use_stays(aws: AwsSandbox) -> None:
    ec2, elb = client(aws, "ec2"), client(aws, "elb")
    vpc = aws.describe()["accounts"][HOME]["vpcs"]["demo"]["id"]
    group = ec2.create_security_group(GroupName="used", Description="used", VpcId=vpc)["GroupId"]
    listener = {"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}
    elb.create_load_balancer(
        LoadBalancerName="used", Listeners=[listener], Subnets=[subnet(aws, "demo", "public-a")], SecurityGroups=[group]
    )
    code, message = refused(ec2.delete_security_group, GroupId=group)
    assert (code, message) == ("DependencyViolation", f"resource {group} has a dependent object")
    elb.delete_load_balancer(LoadBalancerName="used")
    ec2.delete_security_group(GroupId=group)


def test_a_group_that_a_rule_of_another_one_names_stays(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2")
    vpc = aws.describe()["accounts"][HOME]["vpcs"]["demo"]["id"]
    named, naming, aside = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("named", "naming", "aside")
    )
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": named}]}
    open_to_all = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=naming, IpPermissions=[rule, open_to_all])
    assert refused(ec2.delete_security_group, GroupId=named)[0] == "DependencyViolation"
    ec2.delete_security_group(GroupId=aside)
    ec2.revoke_security_group_ingress(GroupId=naming, IpPermissions=[rule])
    ec2.delete_security_group(GroupId=named)
    ec2.delete_security_group(GroupId=naming)


def test_the_networks_answer_for_dns_and_ways_out(aws: AwsSandbox) -> None:
    ec2, vpcs = client(aws, "ec2", "bot"), aws.describe()["accounts"][HOME]["vpcs"]
    for vpc in (vpcs[name]["id"] for name in ("demo", "closed", "narrow")):
        assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
        assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsSupport")["EnableDnsSupport"]["Value"]
    ways = {}
    for vpc in ("demo", "closed", "narrow"):
        filters = [{"Name": "association.subnet-id", "Values": [subnet(aws, vpc, "private-a")]}]
        (table,) = ec2.describe_route_tables(Filters=filters)["RouteTables"]
        ways[vpc] = any(route["DestinationCidrBlock"] == "0.0.0.0/0" for route in table["Routes"])
    assert ways == {"demo": True, "closed": False, "narrow": True}
