"""Time boxes: words for durations, what the annotations say, the step that writes them, and who else writes there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from handlers.cluster_expire import ClusterExpire, ExpireArguments
from handlers.cluster_list import ClusterGet, ClusterList, GetArguments, ListArguments
from handlers.contract import Caller, Check, Fatal, Inverse, Meaning, Outcome, Plan, Retry, Right, Step, fingerprint
from handlers.kinds import AWS_CLUSTER, CLUSTER, kind_of
from handlers.settings import OperationsSettings
from handlers.steps import decode
from handlers.steps.time_box import time_box_step
from handlers.time_box import (
    ENDS_AT,
    SET_BY,
    Ttl,
    TtlOrNever,
    as_ttl,
    end_of,
    ends_at,
    in_words,
    lasting,
    mended,
    moment,
    stamp,
)
from handlers.workshop import TeamWorkshop
from tests.unit.blueprints import layout, rendered
from tests.unit.kubes import Kube, Sight, running_kube
from tests.unit.living import by_id

NOW = 1_772_352_000.0
"""2026-03-01 08:00 UTC."""
EIGHT = "2026-03-01T16:00:00Z"
ACCOUNTS = {
    "management": {"id": "111122223333", "region": "us-east-1", "access": "ambient"},
    "team-a": {"id": "444455556666", "region": "eu-west-1", "access": "ambient", "identity": "team-a"},
}


def cluster(**annotations: Any) -> dict[str, Any]:
    names = {"end": ENDS_AT, "by": SET_BY}
    return {"metadata": {"name": "demo", "annotations": {names[key]: value for key, value in annotations.items()}}}


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "seconds", "said"), [
    ("30m", 1_800, "30 minutes"), ("8h", 28_800, "8 hours"), ("2d", 172_800, "2 days"), ("1h", 3_600, "1 hour"),
    ("1d", 86_400, "1 day"), ("1m", 60, "1 minute"),
])  # fmt: skip
def test_a_duration_is_exact(word: str, seconds: float, said: str) -> None:
    assert TypeAdapter(Ttl).validate_python(word) == word
    assert (lasting(word), in_words(word)) == (seconds, said)


@pytest.mark.parametrize(
    "wrong", ["8", "h", "0h", "08h", "-8h", "8.5h", "8w", "8h ", "8H", "never", "", "1000000m", "٨h"]
)
def test_what_is_no_duration_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"is not how long \(minutes, hours or days: 30m, 8h, 2d\), such as 8h"):
        TypeAdapter(Ttl).validate_python(wrong)


def test_only_an_end_can_be_never() -> None:
    assert TypeAdapter(TtlOrNever).validate_python("never") == "never"
    with pytest.raises(ValidationError):
        TypeAdapter(TtlOrNever).validate_python("nevermore")


@pytest.mark.parametrize(("wrong", "meant"), [
    ("8 hours", "8h"), ("8H", "8h"), ("90min", "90m"), ("1w", "7d"), ("2 weeks", "14d"), ("1 day", "1d"),
    ("Never", "never"), ("soon", "8h"), ("0h", "8h"),
])  # fmt: skip
def test_what_was_meant_is_guessed(wrong: str, meant: str) -> None:
    metadata = TtlOrNever.__metadata__  # type: ignore[attr-defined]
    meaning = next(item for item in metadata if isinstance(item, Meaning))
    assert meaning.mend(wrong) == meant
    assert isinstance(mended(wrong), str)


@given(st.integers(1, 999_999), st.sampled_from("mhd"))
def test_the_shortest_word_says_the_same(count: int, unit: str) -> None:
    short = as_ttl(lasting(f"{count}{unit}"))
    assert lasting(short) == lasting(f"{count}{unit}")
    assert len(short) <= len(f"{count}{unit}")


def test_a_moment_for_people_says_how_far_off_it_is() -> None:
    assert moment(NOW + 28_799, NOW) == "2026-03-01 15:59 UTC (in 7 h 59 min)"
    assert moment(NOW + 3 * 86_400 + 3_700, NOW) == "2026-03-04 09:01 UTC (in 3 d 1 h)"
    assert moment(NOW - 300, NOW) == "2026-03-01 07:55 UTC (5 min ago)"
    assert moment(NOW, NOW).endswith("(in less than a minute)")


# -- what an object says -----------------------------------------------------------------------------------------


def test_the_end_is_read_as_it_is_written() -> None:
    assert ends_at(cluster(end=stamp(NOW + 0.9))) == NOW
    assert ends_at(cluster(end="2026-03-01T17:00:00.5+01:00")) == NOW + 8 * 3600 + 0.5
    assert stamp(NOW + 8 * 3600) == EIGHT


@pytest.mark.parametrize("odd", [
    "", "soon", "2026-03-01", "2026-03-01T16:00:00", "2026-13-01T16:00:00Z", "2026-02-30T16:00:00Z", "20260301T160000Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-01T16:00:00Z\n", "1772380800",
    "٢٠٢٦-03-01T16:00:00Z",
    5, None, ["2026-03-01T16:00:00Z"],
])  # fmt: skip
def test_what_cannot_be_read_is_no_end(odd: Any) -> None:
    assert ends_at(cluster(end=odd)) is None
    assert end_of(cluster(end=odd), NOW) == ""


@pytest.mark.long
@given(st.recursive(st.none() | st.text() | st.integers(), lambda more: st.lists(more) | st.dictionaries(
    st.sampled_from(["metadata", "annotations", ENDS_AT, "x"]), more)))  # fmt: skip
def test_no_shape_of_an_object_is_an_error(odd: Any) -> None:
    for item in (odd, {"metadata": odd}, {"metadata": {"annotations": odd}}):
        if isinstance(item, dict):
            assert ends_at(item) is None or isinstance(ends_at(item), float)


# -- the step ----------------------------------------------------------------------------------------------------


class World(Sight):
    """With the request that it is for."""

    by = "r-000001"

    def request(self) -> str:
        return self.by


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        for item in rendered():
            running.put(item)
        yield running


RIGHT = Right(verb="patch", resource=CLUSTER.resource, namespace="default", name="demo")


def acting(kube: Kube, by: str = "r-000001", now: float = NOW, rights: tuple[Right, ...] = (RIGHT,)) -> World:
    world = World(kube.cluster("admin", rights), now)
    world.by = by
    return world


def found(kube: Kube) -> dict[str, Any]:
    item = kube.find(CLUSTER, "demo")
    assert item is not None
    return item


def notes(kube: Kube) -> dict[str, str]:
    """The bot's annotations about the end."""
    annotations = found(kube)["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key in (ENDS_AT, SET_BY)}


def carried(kube: Kube, ttl: str = "8h", world: World | None = None, **more: Any) -> Outcome:
    """Observes and applies the step as it comes back from the database."""
    made = time_box_step("demo", "default", ttl, before={}, **{"uid": found(kube)["metadata"]["uid"], **more})
    step, executor = decode(made.model_dump(mode="json"))
    world = world or acting(kube)
    seen = executor.observe(step, world)
    return Outcome(changed=False, evidence=seen.evidence) if seen.so else executor.apply(step, world)


def test_the_end_is_counted_from_the_moment_it_is_applied(kube: Kube) -> None:
    done = carried(kube)
    assert done.changed
    assert done.evidence == f"demo has 8 hours from now, until {EIGHT}."
    assert notes(kube) == {ENDS_AT: EIGHT, SET_BY: "r-000001"}


def test_a_repetition_an_hour_later_keeps_the_end(kube: Kube) -> None:
    carried(kube)
    assert not carried(kube, world=acting(kube, now=NOW + 3600)).changed
    assert notes(kube)[ENDS_AT] == EIGHT


def test_another_request_moves_it_and_never_takes_both_away(kube: Kube) -> None:
    carried(kube)
    assert carried(kube, "2d", acting(kube, "r-000002")).changed
    assert notes(kube) == {ENDS_AT: "2026-03-03T08:00:00Z", SET_BY: "r-000002"}
    assert carried(kube, "never", acting(kube, "r-000003")).changed
    assert notes(kube) == {}
    assert not carried(kube, "never", acting(kube, "r-000003")).changed


def test_an_end_without_its_other_half_is_written_whole(kube: Kube) -> None:
    kube.change(CLUSTER, "demo", {"metadata": {"annotations": {SET_BY: "r-000001"}}})
    assert carried(kube).changed
    assert notes(kube) == {ENDS_AT: EIGHT, SET_BY: "r-000001"}
    kube.change(CLUSTER, "demo", {"metadata": {"annotations": {SET_BY: None}}})
    assert carried(kube, "never").changed
    assert notes(kube) == {}


def test_an_object_without_any_annotation(kube: Kube) -> None:
    kube.drop(CLUSTER, "demo")
    item = next(item for item in rendered() if kind_of(item) is CLUSTER)
    kube.put({**item, "metadata": {key: value for key, value in item["metadata"].items() if key != "annotations"}})
    assert "annotations" not in found(kube)["metadata"]
    carried(kube)
    assert notes(kube) == {ENDS_AT: EIGHT, SET_BY: "r-000001"}


def test_server_side_apply_of_the_cluster_leaves_the_end_alone_and_the_other_way_round(kube: Kube) -> None:
    """What was applied without these annotations is applied again without them, and they stay."""
    item = next(item for item in rendered() if kind_of(item) is CLUSTER)
    rights = (RIGHT, Right(verb="create", resource=CLUSTER.resource, namespace="default", name="demo"))
    bot = kube.cluster("admin", rights)
    kube.drop(CLUSTER, "demo")
    bot.apply(item)
    carried(kube)
    changed = {**item, "metadata": {**item["metadata"], "labels": {"cni": "other"}}}
    bot.apply(changed)
    assert found(kube)["metadata"]["labels"]["cni"] == "other"
    assert notes(kube) == {ENDS_AT: EIGHT, SET_BY: "r-000001"}
    carried(kube, "never", acting(kube, "r-000002"))
    config = item["metadata"]["annotations"]
    assert config.items() <= found(kube)["metadata"]["annotations"].items()
    bot.apply(changed)
    assert notes(kube) == {}


def test_another_cluster_of_that_name_is_left_alone(kube: Kube) -> None:
    with pytest.raises(Fatal, match="another one than when this was asked for"):
        carried(kube, uid="somebody-elses")
    with pytest.raises(Fatal, match="another one"):
        carried(kube, uid="", config="0123456789ab")
    assert notes(kube) == {}
    config = found(kube)["metadata"]["annotations"]["tkgbot/config"]
    assert carried(kube, uid="", config=config).changed


def test_a_cluster_that_is_going_or_gone(kube: Kube) -> None:
    uid = found(kube)["metadata"]["uid"]
    kube.change(CLUSTER, "demo", {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}})
    kube.drop(CLUSTER, "demo")
    with pytest.raises(Fatal, match="is being deleted already"):
        carried(kube)
    kube.change(CLUSTER, "demo", {"metadata": {"finalizers": []}})
    step, executor = decode(time_box_step("demo", "default", "8h", before={}, uid=uid).model_dump(mode="json"))
    with pytest.raises(Fatal, match="not there any more"):
        executor.observe(step, acting(kube))


class Racing:
    """A cluster that somebody else changes between the bot's look and its change."""

    def __init__(self, kube: Kube, change: dict[str, Any]) -> None:
        self.kube, self.change, self.inner = kube, change, kube.cluster("admin", (RIGHT,))

    def get(self, *place: Any) -> Any:
        return self.inner.get(*place)

    def patch(self, *given: Any) -> Any:
        self.kube.change(CLUSTER, "demo", {"metadata": {"annotations": self.change}})
        return self.inner.patch(*given)


def test_an_end_that_somebody_else_has_moved_meanwhile_is_not_written_over_unseen(kube: Kube) -> None:
    carried(kube)
    world = acting(kube, "r-000002")
    world.kube = Racing(kube, {ENDS_AT: "2027-01-01T00:00:00Z"})
    with pytest.raises(Retry):
        carried(kube, "1h", world)
    assert notes(kube)[ENDS_AT] == "2027-01-01T00:00:00Z"


def test_what_it_may_not_change_is_a_sentence(kube: Kube) -> None:
    with pytest.raises(Fatal, match="The plan does not declare to patch"):
        carried(kube, world=acting(kube, rights=()))


# -- the operation -----------------------------------------------------------------------------------------------


class Clock:
    """Set by hand."""

    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(kube: Kube, clock: Clock) -> TeamWorkshop:
    settings = OperationsSettings.model_validate(
        {"accounts": ACCOUNTS, "default_account": "management", "management_cluster": {"kubeconfig": kube.file()}}
    )
    return TeamWorkshop(settings, clock=clock)


EXPIRE = "cluster expire"


def caller(request: str = "r-000001", *steps: Step) -> Caller:
    return Caller(request=request, person="U1", rights=tuple(right for step in steps for right in step.rights))


def words(ttl: str, **more: Any) -> dict[str, Any]:
    return ExpireArguments.model_validate({"cluster": "demo", "account": "management", "ttl": ttl, **more}).model_dump()


def planned(shop: TeamWorkshop, ttl: str = "8h", request: str = "r-000001", **more: Any) -> Plan:
    return shop.plan(EXPIRE, shop.resolve(words(ttl, **more)), caller(request))


def run(shop: TeamWorkshop, ttl: str = "8h", request: str = "r-000001", **more: Any) -> tuple[Plan, Check]:
    """A whole request; what proves it."""
    plan = planned(shop, ttl, request, **more)
    for step in plan.steps:
        assert shop.act(step.model_dump(mode="json"), caller(request, step)).changed
    [proof] = shop.verify(EXPIRE, shop.resolve(words(ttl, **more)), plan, caller(request))
    return plan, proof


def test_a_plan_says_the_end_now_and_then(shop: TeamWorkshop, kube: Kube) -> None:
    plan, proof = run(shop)
    assert plan.headline == "delete cluster demo in 8 hours"
    assert not plan.blocked
    [step] = plan.steps
    assert step.title == "end demo 8 hours from the moment this runs"
    assert step.rights == (RIGHT,)
    assert step.before == {ENDS_AT: None, SET_BY: None}
    assert plan.impact.changes == ("the end of demo: none → 8 hours from the moment this runs",)
    assert plan.impact.undo == (
        "kubectl annotate cluster --overwrite --namespace default demo tkgbot/ends-at- tkgbot/time-box-"
    )
    assert plan.targets == ("cluster demo",)
    assert plan.details is not None
    assert plan.details.rows[0][1:3] == ("none", "8 hours from the moment this runs")
    assert (proof.result, proof.evidence) == ("pass", "demo ends 2026-03-01 16:00 UTC (in 8 h).")
    later = planned(shop, "2d", "r-000002")
    assert later.impact.changes[0].startswith("the end of demo: 2026-03-01 16:00 UTC (in 8 h) → 2 days from")
    assert later.impact.undo.endswith(f"demo tkgbot/ends-at={EIGHT} tkgbot/time-box=r-000001")


def test_never_lets_it_live_on(shop: TeamWorkshop, kube: Kube) -> None:
    plan = planned(shop, "never")
    assert (plan.headline, plan.steps, plan.blocked) == ("let cluster demo live on", (), False)
    run(shop)
    plan, proof = run(shop, "never", "r-000002")
    assert [step.title for step in plan.steps] == ["let demo live on, without an end"]
    assert (proof.result, proof.evidence) == ("pass", "demo has no end.")
    assert notes(kube) == {}


def test_the_proof_finds_what_somebody_has_changed_since(shop: TeamWorkshop, kube: Kube) -> None:
    plan, _ = run(shop)
    kube.change(CLUSTER, "demo", {"metadata": {"annotations": {SET_BY: "r-999999"}}})
    [proof] = shop.verify(EXPIRE, words("8h"), plan, caller())
    assert (proof.result, proof.evidence) == ("block", "demo ends 2026-03-01 16:00 UTC (in 8 h). r-999999 said so.")
    kube.change(CLUSTER, "demo", {"metadata": {"annotations": {ENDS_AT: None, SET_BY: None}}})
    [proof] = shop.verify(EXPIRE, words("8h"), plan, caller())
    assert (proof.result, proof.evidence) == ("block", "demo has no end.")
    kube.drop(CLUSTER, "demo")
    [proof] = shop.verify(EXPIRE, words("8h"), plan, caller())
    assert (proof.result, proof.evidence) == ("block", "demo is not there any more.")


@pytest.mark.parametrize(("ttl", "said", "fix"), [
    ("14m", "14 minutes is shorter than 15 minutes.", "Ask for 15m."),
    ("91d", "91 days is longer than 90 days.", "Ask for 90d."),
    ("999999d", "999999 days is longer than 90 days.", "Ask for 90d."),
])  # fmt: skip
def test_the_settings_limits(shop: TeamWorkshop, ttl: str, said: str, fix: str) -> None:
    plan = planned(shop, ttl)
    check = by_id(plan.checks)["time-box"]
    assert (check.result, check.evidence, check.fix, plan.steps) == ("block", said, fix, ())
    assert not planned(shop, "15m").blocked
    assert not planned(shop, "90d").blocked


def test_a_cluster_that_is_not_there_or_is_going(shop: TeamWorkshop, kube: Kube) -> None:
    plan = planned(shop, cluster="other")
    assert by_id(plan.checks)["cluster"].evidence == "There is no cluster other in namespace default."
    assert (plan.steps, plan.details) == ((), None)
    kube.change(CLUSTER, "demo", {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}})
    kube.drop(CLUSTER, "demo")
    plan = planned(shop)
    assert (by_id(plan.checks)["cluster"].evidence, plan.steps) == ("demo is being deleted already.", ())


def test_a_paused_cluster_has_an_end_like_any_other(shop: TeamWorkshop, kube: Kube) -> None:
    kube.change(CLUSTER, "demo", {"spec": {"paused": True}})
    _, proof = run(shop)
    assert proof.result == "pass"


def test_the_account_that_the_policy_was_asked_about_is_the_clusters(shop: TeamWorkshop, kube: Kube) -> None:
    """Else whoever may end clusters in one account could end those of another by naming the wrong one."""
    plan = planned(shop, account="team-a")
    assert (by_id(plan.checks)["cluster-account"].result, plan.steps) == ("block", ())
    reference = {"kind": "AWSClusterRoleIdentity", "name": "team-a"}
    kube.change(AWS_CLUSTER, "demo", {"spec": {"identityRef": reference, "region": "eu-west-1"}})
    assert not planned(shop, account="team-a").blocked
    assert planned(shop).blocked
    kube.faults(forbid=[f"get {AWS_CLUSTER.group}/{AWS_CLUSTER.plural}"])
    plan = planned(shop)
    assert by_id(plan.checks)["cluster"].evidence == "AWSCluster of demo cannot be read, so its account is not known."


def test_an_undo_gives_back_what_was_left_or_no_end(shop: TeamWorkshop, clock: Clock) -> None:
    first, _ = run(shop)
    assert inverse(first, "8h") == {"ttl": "never"}
    clock.now = NOW + 3 * 3600
    second = planned(shop, "2d", "r-000002")
    assert inverse(second, "2d") == {"ttl": "5h"}
    clock.now = NOW + 8 * 3600 - 60
    assert inverse(planned(shop, "2d", "r-000003"), "2d") == {"ttl": "15m"}, "its owner can still be warned"
    clock.now = NOW + 9 * 3600
    assert inverse(planned(shop, "2d", "r-000004"), "2d") == {"ttl": "15m"}


def inverse(plan: Plan, ttl: str, *touched: int) -> dict[str, Any]:
    """What an undo asks for beside the place, from the plan as it is stored."""
    stored = Plan.model_validate(plan.model_dump(mode="json"))
    found = ClusterExpire().inverse(ExpireArguments.model_validate(words(ttl)), stored, touched or (0,))
    assert isinstance(found, Inverse)
    assert found.operation == EXPIRE
    ExpireArguments.model_validate(found.arguments)
    return {"ttl": found.arguments["ttl"]}


def test_what_touched_nothing_needs_no_undo(shop: TeamWorkshop) -> None:
    plan = planned(shop)
    assert ClusterExpire().inverse(ExpireArguments.model_validate(words("8h")), plan, ()) is None


def test_what_is_approved_does_not_change_while_time_passes(shop: TeamWorkshop, clock: Clock) -> None:
    run(shop)
    first = planned(shop, "2d", "r-000002")
    clock.now = NOW + 1800
    later = planned(shop, "2d", "r-000002")
    assert fingerprint(EXPIRE, words("2d"), first) == fingerprint(EXPIRE, words("2d"), later)


# -- who asks ----------------------------------------------------------------------------------------------------


def test_every_cluster_with_a_readable_end_is_listed_in_one_call(shop: TeamWorkshop, kube: Kube) -> None:
    assert shop.time_boxes(caller()) == []
    run(shop)
    for name in ("odd", "going"):
        for item in rendered(layout(cluster=name)):
            kube.put(item)
    kube.change(CLUSTER, "odd", {"metadata": {"annotations": {ENDS_AT: "tomorrow", SET_BY: "r-1"}}})
    going = {"annotations": {ENDS_AT: EIGHT}, "finalizers": ["cluster.cluster.x-k8s.io"]}
    kube.change(CLUSTER, "going", {"metadata": going})
    kube.drop(CLUSTER, "going")
    before = len(kube.asked())
    [box] = shop.time_boxes(caller())
    assert kube.asked()[before:].count(("list", "clusters")) == 1
    assert {resource for _, resource in kube.asked()[before:]} <= {"clusters", ""}
    assert (box.cluster, box.namespace, box.ends_at, box.request) == ("demo", "default", NOW + 8 * 3600, "r-000001")
    assert box.uid == found(kube)["metadata"]["uid"]


def test_without_a_management_cluster_there_are_none() -> None:
    settings = OperationsSettings.model_validate({"accounts": ACCOUNTS, "default_account": "management"})
    assert TeamWorkshop(settings).time_boxes(caller()) == []


def test_a_management_cluster_that_does_not_answer_is_said(shop: TeamWorkshop, kube: Kube) -> None:
    kube.faults(unreachable=True)
    with pytest.raises(Retry, match="cannot be reached to"):
        shop.time_boxes(caller())


def test_the_list_and_one_cluster_say_the_end(shop: TeamWorkshop, kube: Kube) -> None:
    look = Sight(kube.cluster(), NOW)
    assert not [fact for fact in ClusterList().report(ListArguments(), look).facts if "time" in fact]
    run(shop)
    assert ClusterList().report(ListArguments(), look).facts[-1] == "demo: its time ends 2026-03-01 16:00 UTC (in 8 h)"
    assert ClusterGet().report(GetArguments(cluster="demo"), look).facts[-1] == (
        "Its time ends 2026-03-01 16:00 UTC (in 8 h)."
    )
    late = replace(look, time=NOW + 9 * 3600)
    assert ClusterList().report(ListArguments(), late).facts[-1] == (
        "demo: its time was over 2026-03-01 16:00 UTC (1 h ago)"
    )
