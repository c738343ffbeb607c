"""`cluster verify --loadbalancer` on a management cluster whose controllers work: proven, or disproven, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.cluster_verify import PATIENCE, SERVICE_NAME, VerifyArguments
from handlers.contract import Check, Fatal, Plan
from handlers.kinds import AWS_CLUSTER, CLUSTER, SERVICE
from handlers.network import cluster_key
from tests.contract.server import wait_for
from tests.unit.clouds import Cloud
from tests.unit.living import Living, by_id, caller_of, running_clusters

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def standing(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """One cluster, `shop`, for all of these."""
    with running_clusters(standing_cloud, tmp_path_factory.mktemp("living")) as made:
        made.create()
        yield made


@pytest.fixture
def living(standing: Living) -> Iterator[Living]:
    """The same, as it was at the start."""
    yield standing
    standing.calm()
    standing.workload().faults(unreachable=False)
    standing.cloud.put(subnets(standing), shop="shared")
    if standing.workload().find(SERVICE, SERVICE_NAME) is not None:
        standing.workload().drop(SERVICE, SERVICE_NAME)
    wait_for(lambda: balancers(standing) == [], "the proof's load balancer gone")


def subnets(living: Living) -> list[str]:
    """The subnets that the cluster uses."""
    return [living.cloud.subnet("public-a"), living.cloud.subnet("private-a")]


def untag(living: Living, *ids: str) -> None:
    living.cloud.admin("ec2").delete_tags(Resources=list(ids), Tags=[{"Key": cluster_key("shop")}])


def balancers(living: Living) -> list[str]:
    """The load balancers that are not the API server's."""
    found = living.cloud.admin("elbv2").describe_load_balancers()["LoadBalancers"]
    old = living.cloud.admin("elb").describe_load_balancers()["LoadBalancerDescriptions"]
    names = [raw["LoadBalancerName"] for raw in (*found, *old)]
    return [name for name in names if not name.endswith("-apiserver")]


def planned(living: Living, cluster: str = "shop", **more: Any) -> Plan:
    return living.plan("cluster verify", cluster, loadbalancer=True, **more)


def checks(plan: Plan) -> dict[str, Check]:
    return by_id(plan.checks)


def proof(living: Living, plan: Plan) -> Check:
    return living.proof("cluster verify", plan, loadbalancer=True)["verify clean"]


# -- what is planned ---------------------------------------------------------------------------------------------


def test_a_command_that_does_not_say_what_to_prove_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not say what to prove: add --loadbalancer"):
        VerifyArguments(cluster="shop", account="management", region="us-east-1")


@pytest.mark.long
def test_a_running_cluster_is_proven_in_three_steps_with_no_more_rights_than_they_need(living: Living) -> None:
    plan = planned(living)
    assert {name: check.result for name, check in checks(plan).items()} == dict.fromkeys(
        ("account", "cluster", "nodes", "subnets"), "pass"
    )
    assert checks(plan)["nodes"].evidence == "It has 2 nodes."
    assert [step.kind for step in plan.steps] == ["apply", "await-balancer", "remove"]
    rights = {(r.verb, r.resource, r.namespace, r.name, r.cluster) for step in plan.steps for r in step.rights}
    assert rights == {
        (verb, "services", "default", SERVICE_NAME, "default/shop") for verb in ("create", "patch", "delete")
    }
    assert {action.name.partition(":")[2][:8] for step in plan.steps for action in step.actions} == {"Describe"}
    assert (plan.targets, plan.impact.reversible) == (("cluster shop",), False)


def test_a_cluster_that_is_not_there_blocks(living: Living) -> None:
    for plan in (planned(living, "nowhere"), planned(living, namespace="platform")):
        assert checks(plan)["cluster"].result == "block"
        assert "There is no cluster" in checks(plan)["cluster"].evidence
        assert plan.steps == ()


@pytest.mark.long
def test_a_cluster_that_is_being_made_blocks(living: Living) -> None:
    living.faults(control_plane_never_comes=True)
    living.begin("early")
    plan = planned(living, "early")
    assert checks(plan)["cluster"].result == "block"
    assert "early is creating" in checks(plan)["cluster"].evidence
    assert checks(plan)["nodes"].result == "unknown"
    assert plan.steps == ()
    living.calm()
    living.run(living.plan("cluster delete", "early"))
    assert living.kube.find(CLUSTER, "early") is None


def test_a_cluster_whose_api_does_not_answer_is_unknown(living: Living) -> None:
    living.workload().faults(unreachable=True)
    plan = planned(living)
    assert checks(plan)["nodes"].result == "unknown"
    assert "cannot be reached" in checks(plan)["nodes"].evidence
    assert plan.steps == ()


def test_public_subnets_without_the_tag_are_warned_of_and_the_proof_may_be_made(living: Living) -> None:
    untag(living, living.cloud.subnet("public-a"))
    plan = planned(living)
    check = checks(plan)["subnets"]
    assert check.result == "warn"
    assert living.cloud.subnet("public-a") in check.evidence
    assert "/tkg subnet tag shop" in check.fix
    assert len(plan.steps) == 3
    untag(living, living.cloud.subnet("private-a"))  # only the public ones matter here
    living.cloud.put([living.cloud.subnet("public-a")], shop="shared")
    assert checks(planned(living))["subnets"].result == "pass"


def test_a_cluster_without_public_subnets_is_warned_of(living: Living) -> None:
    stored = living.kube.find(AWS_CLUSTER, "shop")
    assert stored is not None
    kept = stored["spec"]["network"]["subnets"]
    private = [each for each in kept if each["id"] == living.cloud.subnet("private-a")]
    living.kube.change(AWS_CLUSTER, "shop", {"spec": {"network": {"subnets": private}}})
    assert checks(planned(living))["subnets"].evidence == "It has no public subnet."
    living.kube.change(AWS_CLUSTER, "shop", {"spec": {"network": {"subnets": kept}}})
    assert checks(planned(living))["subnets"].result == "pass"


# -- the proof ---------------------------------------------------------------------------------------------------


def test_proven_and_nothing_left(living: Living) -> None:
    plan = planned(living)
    made = living.until_so(plan, 0)
    assert made.evidence == "It is there as planned."
    seen = living.until_so(plan, 1)
    assert "its load balancer stands in demo-public-a (us-east-1a), tagged for shop" in seen.evidence
    assert len(balancers(living)) == 1
    unclean = proof(living, plan)
    assert unclean.result == "block"
    assert unclean.evidence.startswith("Still there: the service, ")
    assert living.until_so(plan, 2).evidence == f"Gone: Service {SERVICE_NAME}."
    wait_for(lambda: proof(living, plan).result == "pass", "service and load balancer gone")
    assert balancers(living) == []


def test_a_load_balancer_that_outlives_its_service_is_no_clean_end(living: Living) -> None:
    plan = planned(living)
    tags = {"kubernetes.io/service-name": f"default/{SERVICE_NAME}", cluster_key("shop"): "owned"}
    living.cloud.balancer("left", [living.cloud.subnet("public-a")], tags)
    found = proof(living, plan)
    assert (found.result, found.evidence) == ("block", "Still there: left.")
    listed = living.cloud.admin("elbv2").describe_load_balancers(Names=["left"])["LoadBalancers"]
    living.cloud.admin("elbv2").delete_load_balancer(LoadBalancerArn=listed[0]["LoadBalancerArn"])
    assert proof(living, plan).result == "pass"


def test_the_load_balancer_of_another_clusters_proof_is_not_ours(living: Living) -> None:
    plan = planned(living)
    tags = {"kubernetes.io/service-name": f"default/{SERVICE_NAME}", cluster_key("other"): "owned"}
    living.cloud.balancer("others", [living.cloud.subnet("public-a")], tags)
    assert proof(living, plan).result == "pass"
    listed = living.cloud.admin("elbv2").describe_load_balancers(Names=["others"])["LoadBalancers"]
    living.cloud.admin("elbv2").delete_load_balancer(LoadBalancerArn=listed[0]["LoadBalancerArn"])


def test_disproven_without_tags_and_nothing_left(living: Living) -> None:
    living.faults(newer_subnet_rule=False)
    untag(living, *subnets(living))
    plan = planned(living)
    living.until_so(plan, 0)
    step, caller = plan.steps[1].model_dump(mode="json"), caller_of(plan)

    def told() -> bool:
        seen = living.shop.observe(step, caller)
        assert not seen.so
        return "The cloud provider said" in seen.evidence

    wait_for(told, "the cloud provider's word")
    living.ahead = PATIENCE + 60
    with pytest.raises(Fatal, match=r"got no address in .*, and was taken away again") as error:
        living.shop.observe(step, caller)
    assert "The cloud provider said: " in error.value.message
    assert "/tkg subnet check shop" in error.value.hint
    living.ahead = 0.0
    wait_for(lambda: living.workload().find(SERVICE, SERVICE_NAME) is None, "the service gone")
    assert proof(living, plan).result == "pass"


def test_a_second_proof_while_the_first_ones_service_is_there_goes_on_with_it(living: Living) -> None:
    plan = planned(living)
    living.until_so(plan, 0)
    again = planned(living)
    step = again.steps[0].model_dump(mode="json")
    assert not living.shop.act(step, caller_of(again)).changed
    living.until_so(again, 1)
    living.until_so(again, 2)
