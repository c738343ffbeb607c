"""What a digest says: exceptions first, all-quiet in one line, and nothing from outside that acts."""

from __future__ import annotations

from typing import Any

import pytest

from bot import digest_words
from bot.digest_words import Story, Waiting
from bot.messages import Button, Note
from bot.slack import cards
from bot.slack.listeners import ACTIONS
from handlers.contract import ClusterState, Finding, Gap, Gpus, Offer, Survey
from sandbox.slack.blocks import check_blocks

NOW = 1_795_600_000.0


def cluster(name: str, state: str = "running", **more: Any) -> ClusterState:
    values = {"namespace": "default", "account": "management", "kubernetes": "v1.33.1", "workers_ready": 2,
              "workers_wanted": 2, "cost_per_hour_usd": 0.5}  # fmt: skip
    return ClusterState(name=name, state=state, **{**values, **more})


def survey(*clusters: ClusterState, at: float = NOW, **more: Any) -> Survey:
    return Survey(taken_at=at, clusters=clusters, **more)


def told(story: Story) -> str:
    """The whole message as a reader sees it."""
    note, _offers = digest_words.digest(story, "morning", NOW - 1)
    return everything(note)


def everything(note: Note) -> str:
    parts = [note.text, *note.bullets, *note.facts]
    for section in note.sections:
        parts += [section.title, *section.bullets, *section.facts]
    return "\n".join(parts)


LOST = Finding(
    id="tag demo subnet-1", kind="tag", title="subnet-1 lost the tag of demo.", evidence="It has no such tag.",
    repair=Offer(title="Tag it again.", label="Tag again", operation="subnet tag", arguments={"cluster": "demo"}),
)  # fmt: skip


def test_all_quiet_is_one_line() -> None:
    note, offered = digest_words.digest(Story(survey=survey(cluster("demo"), cluster("shop")), now=NOW), "morning", NOW)
    assert "all quiet" in note.text
    assert "2 running" in note.text
    assert "workers 4 of 4 ready" in note.text
    assert "$1.00 an hour" in note.text
    assert (note.bullets, note.facts, note.sections, offered) == ((), (), (), ())


def test_what_is_not_well_stands_before_what_is() -> None:
    ill = cluster("ill", "createStalled", why="AWSMachine/ill-md-0: not sufficient m5.large capacity.", workers_ready=0)
    text = told(Story(survey=survey(cluster("demo"), ill), now=NOW))
    assert "2 clusters, 1 needs attention" in text
    assert "default/ill is createStalled. AWSMachine/ill-md-0: not sufficient m5.large capacity." in text
    assert "default/demo" not in text


def test_what_changed_is_said_first() -> None:
    before = survey(cluster("demo"), cluster("gone"), cluster("ill", "creating"), at=NOW - 86_400, findings=(LOST,))
    now = survey(
        cluster("demo", kubernetes="v1.34.2", workers_wanted=4, workers_ready=4, cost_per_hour_usd=1.0),
        cluster("ill", "createStalled"),
        cluster("new", "creating"),
    )
    note, _ = digest_words.digest(Story(survey=now, now=NOW, before=before), "morning", NOW)
    first = note.sections[0]
    assert first.title == "Changed since the last one"
    assert set(first.facts) == {
        "default/new is new: creating.",
        "default/gone is gone; it was running.",
        "default/ill was creating and is createStalled.",
        "default/demo went from Kubernetes v1.33.1 to v1.34.2.",
        "default/demo has 4 workers, and had 2.",
        "Mended: subnet-1 lost the tag of demo.",
    }
    assert "$0.50 more than last time" in everything(note)


def test_nothing_changed_says_nothing_of_changes() -> None:
    same = survey(cluster("demo"))
    note, _ = digest_words.digest(Story(survey=same, now=NOW, before=same), "morning", NOW)
    assert "all quiet" in note.text
    assert note.sections == ()


def test_an_unreachable_management_cluster_shows_the_last_look_with_its_age() -> None:
    gap = Gap(what="The management cluster", why="It does not answer.")
    before = survey(cluster("demo"), at=NOW - 7200)
    text = told(Story(survey=survey(gaps=(gap,)), now=NOW, before=before))
    assert f"the clusters cannot be seen; what follows is as of <at {int(NOW - 7200)}>" in text
    assert "The management cluster: It does not answer." in text
    assert "1 running" in text
    assert "is gone" not in text, "what cannot be seen is not gone"
    assert "the clusters cannot be seen." in told(Story(survey=survey(gaps=(gap,)), now=NOW))


def test_gpus_are_told_by_what_is_known_of_them() -> None:
    gpus = Gpus(allocatable=4, proven=1, untested=2, failed=1)
    text = told(Story(survey=survey(cluster("vision", gpus=gpus)), now=NOW))
    assert "4 GPUs allocatable (1 proven, 2 untested, 1 failed)" in text
    assert "default/vision is running. 1 GPU failed the test." in text
    unread = Gpus(allocatable=None, why="Its API does not answer.")
    assert "Its API does not answer." in told(Story(survey=survey(cluster("vision", gpus=unread)), now=NOW))


def test_requests_that_wait_and_time_boxes_that_end() -> None:
    waiting = Waiting("r-7f3a2c", "tag 3 subnets for `demo`", "UDEV000001", NOW - 3 * 3600)
    story = Story(
        survey=survey(cluster("demo", ends_at=NOW + 3600), cluster("later", ends_at=NOW + 5 * 86_400)),
        now=NOW,
        waiting=(waiting,),
    )
    text = told(story)
    assert "`r-7f3a2c` for 3 hours: tag 3 subnets for 'demo', asked for by <@UDEV000001>" in text
    assert f"default/demo ends <at {int(NOW + 3600)}>" in text
    assert "default/later" not in text


def test_drift_is_told_with_an_offer_to_repair_it_once() -> None:
    other = LOST.model_copy(update={"id": "tag demo subnet-2", "title": "subnet-2 lost the tag of demo."})
    note, offered = digest_words.digest(Story(survey=survey(findings=(LOST, other)), now=NOW), "morning", NOW)
    assert "subnet-1 lost the tag of demo." in everything(note)
    assert [offer.operation for offer in offered] == ["subnet tag"]


def old(name: str) -> Finding:
    title = f"default/{name}: Kubernetes 1.33 is out of support since 2026-06-28."
    return Finding(id=f"version {name}", kind="version", title=title, evidence="", cluster=name, namespace="default")


def test_what_is_new_and_what_breaks_most_stands_first() -> None:
    trust = Finding(id="trust team-a", kind="trust", title="team-a lets nobody in.", evidence="")
    was = survey(cluster("demo"), findings=(old("demo"), LOST), at=NOW - 86_400)
    is_now = survey(cluster("demo"), findings=(old("demo"), old("new"), LOST, trust))
    seen = digest_words.digest(Story(survey=is_now, now=NOW, before=was), "morning", NOW)[0].sections[-1].facts
    assert seen[0] == "team-a lets nobody in."
    assert seen[-1] == "subnet-1 lost the tag of demo."
    first = digest_words.digest(Story(survey=is_now, now=NOW), "morning", NOW)[0].sections[-1].facts
    assert first[:2] == ("team-a lets nobody in.", "subnet-1 lost the tag of demo.")


def test_what_is_the_same_of_several_clusters_is_said_once() -> None:
    names = ("demo", "far", "shop", "vision", "web")
    text = told(Story(survey=survey(*map(cluster, names), findings=tuple(map(old, names))), now=NOW))
    assert "demo, far, shop and 2 more clusters: Kubernetes 1.33 is out of support since 2026-06-28." in text
    assert text.count("out of support") == 1
    alone = told(Story(survey=survey(cluster("demo"), findings=(old("demo"),)), now=NOW))
    assert "default/demo: Kubernetes 1.33 is out of support" in alone


@pytest.mark.parametrize(
    ("count", "said"), [(1, "all well; 1 thing to put right."), (2, "all well; 2 things to put right.")]
)
def test_well_clusters_do_not_hide_what_has_to_be_put_right(count: int, said: str) -> None:
    text = told(Story(survey=survey(cluster("demo"), findings=(LOST, old("demo"))[:count]), now=NOW))
    assert said in text.splitlines()[0]


def test_a_late_one_says_so() -> None:
    story = Story(survey=survey(cluster("demo")), now=NOW)
    note, _ = digest_words.digest(story, "morning", NOW - 7200)
    assert f"<at {int(NOW - 7200)}>, late: sent <at {int(NOW)}>" in note.text
    on_time, _ = digest_words.digest(story, "morning", NOW - 60)
    assert "late" not in on_time.text
    wanted, _ = digest_words.digest(story, "morning", NOW - 7200, wanted_by="UDEV000001")
    assert "late" not in wanted.text
    assert "<@UDEV000001> wanted it now." in wanted.text


def test_long_lists_end_with_a_count() -> None:
    many = [cluster(f"c{number:02}", "createStalled", why="no room") for number in range(12)]
    note, _ = digest_words.digest(Story(survey=survey(*many), now=NOW), "morning", NOW)
    (unwell,) = note.sections
    assert len(unwell.facts) == 6
    assert unwell.facts[-1] == "and 7 more in the thread"
    (table,) = digest_words.details(Story(survey=survey(*many), now=NOW))
    assert table.table is not None
    assert len(table.table.rows) == 12


@pytest.mark.parametrize("evil", ["<!channel>", "<@UDEV000001>", "<https://evil|Approve>", "`x` <@U1>", "\u202egnp"])
def test_nothing_from_outside_becomes_markup_or_a_mention(evil: str) -> None:
    state = cluster("demo", "createStalled", why=evil)
    waiting = Waiting("r-7f3a2c", evil, "UDEV000001", NOW)
    finding = LOST.model_copy(update={"title": evil})
    gap = Gap(what=evil, why=evil)
    story = Story(survey=survey(state, findings=(finding,), gaps=(gap,)), now=NOW, waiting=(waiting,))
    note, _ = digest_words.digest(story, "morning", NOW)
    shown = cards.note(note)
    kinds = [element for element in _elements(shown.blocks) if element.get("type") in ("user", "link", "broadcast")]
    assert [element.get("user_id") for element in kinds] == ["UDEV000001"], "only the one who asked is mentioned"
    assert "\u202e" not in str(shown.blocks)
    assert "<!channel>" not in shown.text
    assert len(str(shown.blocks)) < 13_200


def _elements(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in blocks:
        found.append(block)
        found += _elements([item for item in block.get("elements", []) if isinstance(item, dict)])
    return found


def test_a_chart_needs_history_and_leaves_gaps_where_nothing_was_seen() -> None:
    first, blind = survey(cluster("a"), at=1.0), survey(at=2.0, gaps=(Gap(what="x", why="y"),))
    last = survey(cluster("a"), cluster("b", "creating", gpus=Gpus(allocatable=2, proven=2)), at=3.0)
    assert digest_words.chart([first], "morning", "UTC") is None
    chart = digest_words.chart([first, blind, last], "morning", "Europe/Berlin")
    assert chart is not None
    assert chart.at == (1.0, 2.0, 3.0)
    curves = {curve.name: curve.values for panel in chart.panels for curve in panel}
    assert curves["running"] == (1.0, None, 1.0)
    assert curves["creating"] == (0.0, None, 1.0)
    assert curves["GPUs proven"] == (0.0, None, 2.0)


def test_two_repairs_are_two_buttons_that_slack_takes() -> None:
    buttons = (
        Button(action="offer", value="o-1", label="Tag again"),
        Button(action="offer", value="o-2", label="Take stale tags off"),
        Button(action="details", value="morning@1", label="Details"),
    )
    shown = cards.note(Note(text="x", buttons=buttons))
    assert check_blocks(shown.blocks) == []
    ids = [element["action_id"] for element in shown.blocks[-1]["elements"]]
    assert ids == ["tkg:offer", "tkg:offer:2", "tkg:details"]
    assert all(ACTIONS.match(name) for name in ids)
