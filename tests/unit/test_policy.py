"""Who may ask, approve and start: the table, and what must hold for every policy and every crowd."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bot.policy import WHY_NOT, Decision, Person, Place, Question, Rule, Scope, Vote, Who, decide, seconds

PROFILE = settings(deadline=None, derandomize=True, max_examples=80)
PLACE = Place("C1")
SCOPE = Scope("subnet tag", True, account="management", cluster="demo")
GROUPS = ("S1", "S2", "S3")


def member(name: str, *groups: str, email: str = "") -> Person:
    return Person(name, "member", frozenset(groups), email)


ANN, BOB, CAT = member("UANN", "S1"), member("UBOB", "S2"), member("UCAT", "S2")
ALLOW = Rule(name="allow", operations=("*",), ask=Who(usergroups=("S1",)), approve=Who(usergroups=("S2",)))
DENY = Rule(name="deny", effect="deny", operations=("*",), ask=Who(members=True), approve=Who(members=True))


def ask(rules: Any, person: Person, place: Place = PLACE, scope: Scope = SCOPE) -> Decision:
    return decide(rules, Question("ask", person, place, scope))


def approve(rules: Any, person: Person, asker: Person, place: Place = PLACE, scope: Scope = SCOPE) -> Decision:
    return decide(rules, Question("approve", person, place, scope, requester=asker))


def run(rules: Any, asker: Person, *voters: Person, approving: bool = True, person: Person | None = None) -> Decision:
    votes = tuple(Vote(person=voter.id, approve=approving, at=float(n)) for n, voter in enumerate(voters))
    known = {voter.id: voter for voter in voters}
    return decide(rules, Question("run", person or asker, PLACE, SCOPE, requester=asker, votes=votes, voters=known))


# -- the table ---------------------------------------------------------------------------------------------------


def test_deny_by_default() -> None:
    for decision in (ask((), ANN), approve((), BOB, ANN), run((), ANN, BOB, CAT)):
        assert not decision.allowed
        assert "No rule of the policy lets" in decision.reasons[0]


def test_the_ordinary_way() -> None:
    asked = ask((ALLOW,), ANN)
    assert asked.allowed
    assert asked.needs is not None
    assert (asked.needs.approvals, asked.rules) == (1, ("allow",))
    assert not ask((ALLOW,), BOB).allowed
    assert approve((ALLOW,), BOB, ANN).allowed
    assert not approve((ALLOW,), ANN, ANN).allowed
    assert not run((ALLOW,), ANN).allowed
    assert run((ALLOW,), ANN, BOB).allowed


@pytest.mark.parametrize(
    ("change", "scope", "place"),
    [
        ({"operations": ("cluster *",)}, SCOPE, PLACE),
        ({"channels": ("C2",)}, SCOPE, PLACE),
        ({"accounts": ("prod",)}, SCOPE, PLACE),
        ({"clusters": ("prod*",)}, SCOPE, PLACE),
        ({"accounts": ("management",)}, replace(SCOPE, account=""), PLACE),
        ({"clusters": ("demo",)}, replace(SCOPE, cluster="demo-2"), PLACE),
        ({"clusters": ("demo",)}, replace(SCOPE, cluster="DEMO"), PLACE),
    ],
)
def test_a_rule_speaks_only_of_what_it_names(change: dict[str, Any], scope: Scope, place: Place) -> None:
    assert ask((ALLOW,), ANN, place, scope).allowed
    assert not ask((ALLOW.model_copy(update=change),), ANN, place, scope).allowed


@pytest.mark.parametrize("kind", sorted(WHY_NOT))
def test_only_members_do_anything(kind: Any) -> None:
    nobody = replace(ANN, kind=kind, groups=frozenset(GROUPS))
    open_to_all = ALLOW.model_copy(
        update={
            "ask": Who(members=True, users=("UANN",), usergroups=GROUPS),
            "approve": Who(members=True, users=("UANN",), usergroups=GROUPS),
        }
    )
    for decision in (
        ask((open_to_all,), nobody),
        approve((open_to_all,), nobody, BOB),
        approve((open_to_all,), BOB, nobody),
    ):
        assert not decision.allowed
        assert decision.reasons == (WHY_NOT[kind],)
    assert not run((open_to_all,), BOB, nobody, person=BOB).allowed


def test_a_shared_channel_refuses_changes_and_not_reports() -> None:
    shared = Place("C1", shared=True)
    assert not ask((ALLOW,), ANN, shared).allowed
    assert not approve((ALLOW,), BOB, ANN, shared).allowed
    assert ask((ALLOW,), ANN, shared, replace(SCOPE, changes=False)).allowed


def test_reports_need_a_rule_and_no_approval() -> None:
    report = replace(SCOPE, changes=False)
    assert ask((ALLOW,), ANN, scope=report).needs is None
    assert not ask((), ANN, scope=report).allowed


def test_a_deny_wins_whichever_comes_first() -> None:
    for rules in itertools.permutations((ALLOW, DENY)):
        assert ask(rules, ANN).rules == ("deny",)
        assert not run(rules, ANN, BOB, CAT).allowed


def test_a_deny_of_approving_takes_only_that_vote_away() -> None:
    no_bob = Rule(name="no bob", effect="deny", operations=("*",), approve=Who(users=("UBOB",)))
    assert not approve((ALLOW, no_bob), BOB, ANN).allowed
    assert approve((ALLOW, no_bob), CAT, ANN).allowed
    assert not run((ALLOW, no_bob), ANN, BOB).allowed
    assert run((ALLOW, no_bob), ANN, BOB, CAT).allowed


def test_each_governing_rule_has_its_own_quorum() -> None:
    second = Rule(name="security", operations=("*",), ask=Who(members=True), approve=Who(usergroups=("S3",)))
    dan = member("UDAN", "S3")
    assert not run((ALLOW, second), ANN, BOB).allowed
    assert not run((ALLOW, second), ANN, dan).allowed
    assert run((ALLOW, second), ANN, BOB, dan).allowed
    assert run((ALLOW, second), ANN, member("UBOTH", "S2", "S3")).allowed
    missing = run((ALLOW, second), ANN, BOB).reasons
    assert missing == ("Rule “security” has 0 of 1 approvals.",)


def test_a_rule_that_does_not_let_one_ask_does_not_govern() -> None:
    other = ALLOW.model_copy(update={"name": "other", "ask": Who(users=("UZED",)), "approve": Who(users=("UZED",))})
    needs = ask((ALLOW, other), ANN).needs
    assert needs is not None
    assert [need.rule for need in needs.each] == ["allow"]
    assert not approve((ALLOW, other), member("UZED"), ANN).allowed


def test_the_shortest_times_hold() -> None:
    quick = ALLOW.model_copy(update={"name": "quick", "request_ttl": 60.0, "approval_ttl": 2000.0})
    needs = ask((ALLOW, quick), ANN).needs
    assert needs is not None
    assert (needs.request_ttl, needs.approval_ttl) == (60.0, 1800.0)


@pytest.mark.parametrize(
    ("same", "email"), [(True, "ann@x.example"), (True, "ANN@X.Example"), (False, ""), (False, "b@x.example")]
)
def test_a_second_account_is_the_same_person(same: bool, email: str) -> None:
    first = member("UANN", "S1", "S2", email="ann@x.example")
    second = member("UANN2", "S1", "S2", email=email)
    assert approve((ALLOW,), second, first).allowed is not same
    assert run((ALLOW,), first, second).allowed is not same
    two = ALLOW.model_copy(update={"approvals": 2})
    bob = replace(BOB, email="bob@x.example")
    bob2 = member("UBOB2", "S2", email="bob@x.example" if same else "other@x.example")
    assert run((two,), first, bob, bob2).allowed is not same


def test_a_requester_counts_where_a_rule_says_so() -> None:
    own = ALLOW.model_copy(update={"requester_counts": True, "approve": Who(usergroups=("S1",))})
    assert approve((own,), ANN, ANN).allowed
    assert run((own,), ANN, ANN).allowed
    assert not run((own, ALLOW), ANN, ANN).allowed


def test_a_vote_counts_once_and_a_denial_or_an_unknown_voter_never() -> None:
    two = ALLOW.model_copy(update={"approvals": 2})
    assert not run((two,), ANN, BOB, BOB).allowed
    assert not run((ALLOW,), ANN, BOB, approving=False).allowed
    votes = (Vote(person="UBOB", approve=True, at=0.0),)
    assert not decide((ALLOW,), Question("run", ANN, PLACE, SCOPE, requester=ANN, votes=votes)).allowed


def test_who_left_since_does_not_count() -> None:
    for now in (replace(BOB, kind="deactivated"), replace(BOB, groups=frozenset())):
        assert not run((ALLOW,), ANN, now).allowed
    assert not run((ALLOW,), replace(ANN, groups=frozenset()), BOB).allowed


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("30m", 1800), ("8h", 28_800), ("2d", 172_800), ("1.5h", 5400), (7, 7)]
)
def test_durations(text: object, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "h", "8", "8 hours", "-1h", "0h", "31d", "1e3s", "h8", "8w", "1_0h"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ValidationError):
        Rule(name="x", operations=("*",), request_ttl=text)  # type: ignore[arg-type]


# -- what always holds -------------------------------------------------------------------------------------------

people = st.builds(
    Person,
    id=st.sampled_from(["UA", "UB", "UC", "UD", "UE"]),
    kind=st.sampled_from(["member"] * 5 + ["guest", "bot", "deactivated"]),  # type: ignore[list-item]
    groups=st.frozensets(st.sampled_from(GROUPS)),
    email=st.sampled_from(["", "", "a@x", "A@X", "b@x"]),
)
crowds = st.lists(people, min_size=2, max_size=5, unique_by=lambda person: person.id)
who = st.builds(
    Who,
    users=st.lists(st.sampled_from(["UA", "UB", "UC"]), max_size=2).map(tuple),
    usergroups=st.lists(st.sampled_from(GROUPS), max_size=2).map(tuple),
    members=st.booleans(),
)
scopes = st.builds(
    Scope,
    operation=st.sampled_from(["subnet tag", "cluster create"]),
    changes=st.booleans(),
    account=st.sampled_from(["", "management", "prod"]),
    cluster=st.sampled_from(["", "demo", "prod-1"]),
)
places = st.builds(Place, channel=st.sampled_from(["C1", "C2"]), shared=st.sampled_from([False, False, False, True]))


@st.composite
def rule_lists(draw: st.DrawFn, most: int = 4) -> tuple[Rule, ...]:
    """Rules with names of their own, as the settings demand."""
    return tuple(draw(one_rule(f"rule {number}")) for number in range(draw(st.integers(0, most))))


def one_rule(name: str, effect: str | None = None) -> st.SearchStrategy[Rule]:
    return st.builds(
        Rule,
        name=st.just(name),
        effect=st.just(effect) if effect else st.sampled_from(["allow", "allow", "deny"]),  # type: ignore[arg-type]
        operations=st.sampled_from([("*",), ("subnet *",), ("cluster *", "subnet tag")]),
        channels=st.sampled_from([("*",), ("C1",)]),
        accounts=st.sampled_from([("*",), ("*",), ("prod",)]),
        clusters=st.sampled_from([("*",), ("*",), ("prod*",)]),
        ask=who,
        approve=who,
        approvals=st.none() | st.integers(1, 3),
        requester_counts=st.booleans(),
        request_ttl=st.integers(1, 100),
        approval_ttl=st.integers(1, 100),
    )


@st.composite
def questions(draw: st.DrawFn) -> Question:
    crowd = draw(crowds)
    votes = tuple(
        Vote(person=person.id, approve=draw(st.booleans()), at=float(number)) for number, person in enumerate(crowd)
    )
    return Question(
        deed=draw(st.sampled_from(["ask", "approve", "run"])), person=draw(st.sampled_from(crowd)), place=draw(places),
        scope=draw(scopes), requester=draw(st.sampled_from(crowd)), votes=draw(st.permutations(votes)),
        voters={person.id: person for person in crowd},
    )  # fmt: skip


@PROFILE
@given(rule_lists(), questions())
def test_there_is_always_a_reason(rules: tuple[Rule, ...], question: Question) -> None:
    decision = decide(rules, question)
    assert decision.reasons
    assert all(reason.strip() and reason.endswith(".") for reason in decision.reasons)


@PROFILE
@given(rule_lists(), questions())
def test_nothing_is_allowed_without_an_allowing_rule(rules: tuple[Rule, ...], question: Question) -> None:
    denials = tuple(rule for rule in rules if rule.effect == "deny")
    assert not decide(denials, question).allowed
    decision = decide(rules, question)
    if decision.allowed:
        assert decision.rules
        assert set(decision.rules) <= {rule.name for rule in rules if rule.effect == "allow"}


@PROFILE
@given(rule_lists(), questions(), st.data())
def test_one_more_deny_never_allows_more(rules: tuple[Rule, ...], question: Question, data: st.DataObject) -> None:
    more = data.draw(one_rule("one more", "deny"))
    if decide((*rules, more), question).allowed:
        assert decide(rules, question).allowed


@PROFILE
@given(rule_lists(), questions(), st.data())
def test_one_more_allow_never_lowers_what_is_needed(
    rules: tuple[Rule, ...], question: Question, data: st.DataObject
) -> None:
    more = data.draw(one_rule("one more", "allow"))
    asked = replace(question, deed="ask", person=question.requester or question.person)
    before, after = decide(rules, asked), decide((*rules, more), asked)
    if not before.allowed:
        return
    assert after.allowed
    assert set(before.rules) <= set(after.rules)
    if before.needs is not None:
        assert after.needs is not None
        assert set(before.needs.each) <= set(after.needs.each)
        assert after.needs.approvals >= before.needs.approvals
        assert after.needs.request_ttl <= before.needs.request_ttl
        assert after.needs.approval_ttl <= before.needs.approval_ttl
    running = replace(question, deed="run", person=question.requester or question.person)
    if decide((*rules, more), running).allowed:
        assert decide(rules, running).allowed


@PROFILE
@given(rule_lists(), questions(), st.data())
def test_the_order_of_rules_and_votes_does_not_matter(
    rules: tuple[Rule, ...], question: Question, data: st.DataObject
) -> None:
    mixed = tuple(data.draw(st.permutations(rules)))
    other = replace(question, votes=tuple(data.draw(st.permutations(question.votes))))
    assert decide(mixed, other).allowed == decide(rules, question).allowed
    assert sorted(decide(mixed, other).rules) == sorted(decide(rules, question).rules)


@PROFILE
@given(rule_lists(), questions())
def test_strangers_and_shared_channels_change_nothing(rules: tuple[Rule, ...], question: Question) -> None:
    stranger = replace(question.person, kind="stranger")
    assert not decide(rules, replace(question, person=stranger)).allowed
    asked_by = replace(question, requester=replace(question.requester or question.person, kind="guest"))
    assert not decide(rules, asked_by).allowed
    elsewhere = replace(
        question, place=replace(question.place, shared=True), scope=replace(question.scope, changes=True)
    )
    assert not decide(rules, elsewhere).allowed


@PROFILE
@given(rule_lists(), questions())
def test_the_requester_never_counts_unless_the_rule_says_so(rules: tuple[Rule, ...], question: Question) -> None:
    strict = tuple(rule.model_copy(update={"requester_counts": False}) for rule in rules)
    asker = question.requester or question.person
    twin = replace(asker, id="UTWIN", email="a@x", kind="member")
    asker = replace(asker, email="A@X")
    own = replace(question, deed="approve", person=asker, requester=asker)
    assert not decide(strict, own).allowed
    assert not decide(strict, replace(own, person=twin)).allowed
    votes = tuple(Vote(person=person.id, approve=True, at=0.0) for person in (asker, twin))
    running = replace(own, deed="run", votes=votes, voters={asker.id: asker, twin.id: twin})
    assert not decide(strict, running).allowed


@PROFILE
@given(rule_lists(), questions())
def test_a_run_is_allowed_exactly_when_every_governing_rule_has_its_humans(
    rules: tuple[Rule, ...], question: Question
) -> None:
    """The run's decision agrees with the single decisions on asking and on each approval."""
    asker = question.requester or question.person
    scope = replace(question.scope, changes=True)
    asked = decide(rules, Question("ask", asker, question.place, scope))
    running = decide(rules, replace(question, deed="run", person=asker, requester=asker, scope=scope))
    if not asked.allowed:
        assert not running.allowed
        return
    filled = True
    for name in asked.rules:
        rule = next(rule for rule in rules if rule.name == name)
        humans: set[str] = set()
        for vote in question.votes:
            voter = question.voters[vote.person]
            may = decide(rules, Question("approve", voter, question.place, scope, requester=asker))
            if vote.approve and may.allowed and name in may.rules:
                humans.add(voter.email.casefold() or voter.id)
        filled = filled and len(humans) >= (rule.approvals or SCOPE.approvals)
    assert running.allowed == filled


@PROFILE
@given(rule_lists(), questions())
def test_a_denial_taken_away_from_the_votes_changes_nothing(rules: tuple[Rule, ...], question: Question) -> None:
    running = replace(question, deed="run")
    only = replace(running, votes=tuple(vote for vote in running.votes if vote.approve))
    assert decide(rules, running).allowed == decide(rules, only).allowed


# -- what the operation wants, and the end of a time box ----------------------------------------------------------

DELETE = Scope("cluster delete", True, account="management", cluster="demo", approvals=2)


def ended(rules: Any, asker: Person, scope: Scope = DELETE, *, time_box: bool = True) -> Decision:
    """Nobody voted; the end of a time box asks in the name of `asker`."""
    return decide(rules, Question("run", asker, PLACE, scope, requester=asker, time_box=time_box))


def test_a_rule_without_a_number_takes_the_operations() -> None:
    asked = ask((ALLOW,), ANN, scope=DELETE)
    assert asked.needs is not None
    assert asked.needs.approvals == 2
    once = {"scope": DELETE, "requester": ANN, "voters": {"UBOB": BOB, "UCAT": CAT}}
    one, two = Vote(person="UBOB", approve=True, at=0.0), Vote(person="UCAT", approve=True, at=1.0)
    assert not decide((ALLOW,), Question("run", ANN, PLACE, votes=(one,), **once)).allowed
    assert decide((ALLOW,), Question("run", ANN, PLACE, votes=(one, two), **once)).allowed
    said = ALLOW.model_copy(update={"approvals": 1})
    assert decide((said,), Question("run", ANN, PLACE, votes=(one,), **once)).allowed, "the rule's own number counts"


def test_the_end_of_a_time_box_counts_only_where_every_governing_rule_says_so() -> None:
    counts = ALLOW.model_copy(update={"name": "boxes", "time_box_counts": True})
    assert not ended((ALLOW,), ANN).allowed
    assert ended((counts,), ANN).allowed
    assert not ended((counts, ALLOW), ANN).allowed, "another rule still wants its approvals"
    assert not ended((counts,), ANN, time_box=False).allowed, "a person's own request needs approvals as ever"
    assert not ended((counts,), BOB).allowed, "who may not ask any more asks for nothing"
    assert not ended((counts, DENY), ANN).allowed
    left = replace(ANN, kind="deactivated")
    assert not ended((counts,), left).allowed
