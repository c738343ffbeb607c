"""Plans, requests and snapshots for the tests, and strategies that generate them."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import strategies as st

from bot.lifecycle import State
from bot.policy import Need, Needs, Vote, Who
from bot.records import Request, Snapshot, StepRecord
from handlers.contract import Action, Check, Fact, Impact, Plan, Step, Table
from handlers.steps.tag import TagStep

SUBNETS = tuple(f"subnet-{number:017x}" for number in range(1, 201))
KEY = "kubernetes.io/cluster/demo"
NOW = 1_800_000_000.0


def tag_step(*names: str, before: Any = None, **changes: Any) -> TagStep:
    """A tag step on `names` (the first two subnets when none is given)."""
    resources = names or SUBNETS[:2]
    fields: dict[str, Any] = {
        "title": f"put `{KEY}=shared` on {len(resources)} subnets",
        "targets": ("subnets of vpc-1 in management",),
        "actions": tuple(
            Action(name=name, account="management", region="us-east-1")
            for name in ("ec2:DescribeSubnets", "ec2:CreateTags", "ec2:DeleteTags")
        ),
        "before": dict.fromkeys(resources) if before is None else before,
        "account": "management",
        "region": "us-east-1",
        "resources": resources,
        "key": KEY,
        "value": "shared",
    }
    return TagStep(**{**fields, **changes})


def make_plan(**changes: Any) -> Plan:
    """A small plan that could be approved."""
    fields: dict[str, Any] = {
        "headline": "tag 2 subnets for demo",
        "checks": (Check(id="public", title="Really public", result="pass", evidence="Both are."),),
        "facts": (Fact(name=SUBNETS[0], value={"vpc": "vpc-1", "zone": "us-east-1a", "route": "public"}),),
        "targets": ("subnets of vpc-1 in management",),
        "steps": (tag_step(),),
        "impact": Impact(changes=("two tags",), reversible=True, undo="aws ec2 delete-tags", cost_per_hour_usd=0.0),
        "details": Table(header=("Subnet", "Change"), rows=(("a", "+ tag"), ("b", "+ tag"))),
    }
    return Plan(**{**fields, **changes})


def make_needs(**changes: Any) -> Needs:
    """One approval by one user group."""
    need = Need(rule="platform", approvals=1, approve=Who(usergroups=("SPLATFORM1",)), requester_counts=False)
    return Needs(**{"each": (need,), "request_ttl": 3600.0, "approval_ttl": 600.0, **changes})


def make_request(state: State = State.AWAITING, plan: Plan | None = None, **changes: Any) -> Request:
    """A row of `requests`."""
    fields: dict[str, Any] = {
        "id": "r-7f3a2c", "invocation": "command:T:1", "operation": "subnet tag",
        "arguments": {"cluster": "demo", "account": "management", "region": "us-east-1"},
        "command": "/tkg subnet tag demo", "team": "T1", "channel": "C1", "requester": "UDEV000001", "state": state,
        "created_at": NOW, "updated_at": NOW, "deadline": None, "plan_no": 1, "run_no": 0, "epoch": 0,
        "plan": None if plan is None else plan.model_dump(mode="json"),
        "fingerprint": None if plan is None else "0123456789abcdef" * 4,
        "needs": make_needs().model_dump(mode="json"), "waits_for": None, "note": None, "started_at": None,
        "ended_at": None,
    }  # fmt: skip
    return Request(**{**fields, **changes})


# -- hostile values ----------------------------------------------------------------------------------------------

NASTY = (
    "<!channel>", "<!here|here>", "<@UEVIL00001>", "<!subteam^SEVIL00001>", "<http://evil.example|Approve>", "`", "```",
    "*bold*", "_x_", "~x~", "&amp;", "<>", "\u202eevil", "\u200bzero\u200d", "\u2066x\u2069", "👩‍👩‍👧", "🟢", "\n",
    "\r\n", "\t", "\x00", "\x1b[31m", "@here", ":tada:", '"', "\\", "é", "日本語", "https://evil.example/a", "%s",
    "{0}", "'",
)  # fmt: skip


LONG = (*((piece * 10_000)[:10_000] for piece in NASTY), "`a` " * 2_500, "word " * 2_000, "x" * 10_000)
SHORT = (*NASTY, "plain", "subnet-1", "tag 3 subnets for demo", "a<b>&c", "a\u00adb", "a\u061cb", "\x85", "\U000e0041")


def hostile(longest: int = 10_000) -> st.SearchStrategy[str]:
    """Text that tries to be more than text, now and then a lot of it."""
    some = st.lists(st.sampled_from(SHORT), max_size=4).map(" ".join)
    text = st.one_of(some, some, st.sampled_from(LONG), st.text(st.characters(exclude_categories=("Cs",)), max_size=6))
    return text.map(lambda value: value[:longest])


def hides(text: str) -> list[str]:
    """The characters of a text that nobody sees, or that turn it around."""
    return [
        f"U+{ord(sign):04X}" for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in "\n\t"
    ]


checks = st.builds(
    Check,
    id=hostile(40),
    title=hostile(),
    result=st.sampled_from(["pass", "warn", "block", "unknown"]),
    evidence=hostile(),
    fix=hostile(),
)
steps = st.builds(Step, kind=st.just("tag"), title=hostile(), targets=st.just(("t",)))
tables = st.builds(
    lambda width, rows, cell: Table(header=("Name", *["x"] * (width - 1)), rows=((cell,) * width,) * rows),
    st.integers(1, 8),
    st.integers(0, 200),
    hostile(),
)
plans = st.builds(
    make_plan,
    headline=hostile(),
    checks=st.lists(checks, max_size=6).flatmap(
        lambda few: st.sampled_from([tuple(few), tuple(few * 10)])  # up to 60
    ),
    steps=st.lists(steps, max_size=5).flatmap(lambda few: st.sampled_from([tuple(few), tuple(few * 20)])),  # up to 100
    impact=st.builds(
        Impact,
        creates=st.lists(hostile(50), max_size=3).map(tuple),
        changes=st.just(("x",) * 400),
        reversible=st.booleans(),
        undo=hostile(),
        cost_per_hour_usd=st.none() | st.floats(0, 1e9),
    ),
    details=st.none() | tables,
)
notes = st.none() | st.fixed_dictionaries(
    {"tone": st.sampled_from(["good", "bad", "warn", "info"]), "text": hostile(), "code": hostile()},
    optional={"bullets": st.lists(hostile(), max_size=8)},
)
needs = st.integers(1, 40).map(
    lambda count: make_needs(
        each=tuple(
            Need(rule="r", approvals=2, approve=Who(users=(f"U{i:09d}",), members=i == 0), requester_counts=False)
            for i in range(count)
        )
    )
)


@st.composite
def snapshots(draw: st.DrawFn, states: tuple[State, ...] = tuple(State)) -> Snapshot:
    """A snapshot in any state, with any plan that such a request may have."""
    state = draw(st.sampled_from(states))
    early = state in (State.RECEIVED, State.PLANNING)
    plan = draw(st.none() | plans) if early or state in (State.FAILED, State.WITHDRAWN) else draw(plans)
    request = make_request(
        state,
        plan,
        needs=draw(needs).model_dump(mode="json"),
        note=draw(notes),
        command=draw(hostile()),
        arguments={"cluster": draw(hostile()), "account": draw(hostile(100)), "region": draw(hostile(100))},
        deadline=draw(st.none() | st.floats(0, 4e9)),
        started_at=draw(st.none() | st.just(NOW)),
        ended_at=draw(st.none() | st.floats(NOW, NOW + 1e6)),
    )
    votes = tuple(
        Vote(person=f"U{number:09d}", approve=draw(st.booleans()), at=NOW) for number in range(draw(st.integers(0, 12)))
    )
    count = len(plan.steps) if plan else 0
    ends = st.none() | st.floats(NOW, NOW + 1e5)
    records = tuple(
        StepRecord(position, NOW, draw(ends), draw(st.booleans()), draw(hostile(200)))
        for position in range(min(draw(st.integers(0, 25)), count))
    )
    return Snapshot(request, votes, records)
