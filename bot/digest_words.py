"""What a digest and a status say, from surveys. Pure.

Exceptions come first and all-quiet is one line; the rest is for the thread. Sentences are ours, values from outside are
facts that mention nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from bot.messages import Note, Section
from handlers.contract import Chart, ClusterState, Curve, Finding, Gap, Gpus, Offer, Survey, Table

EXCEPTIONS = 5
CHANGES = 8
REPAIRS = 3
SOON = 24 * 3600.0
"""Seconds before its end from which a time box is spoken of."""
KINDS = ("trust", "identity", "cluster", "tag", "stale-tags", "version")
"""What drifted, by what it breaks: first what stops work in a whole account."""
NAMED = 3
"""Clusters that one sentence names."""
LATE = 300.0
"""Seconds after which a digest says that it is late."""
STATES = ("running", "creating", "updating", "deleting", "createStalled", "updateStalled", "unknown")
Tone = Literal["good", "bad", "warn", "info"]
TONES: dict[str, Tone] = {"running": "good", "createStalled": "bad", "updateStalled": "bad", "unknown": "warn"}
HEADER = ("Cluster", "State", "Workers", "GPUs", "Kubernetes", "Cost an hour", "Ends")


@dataclass(frozen=True)
class Waiting:
    """A request that waits for approval since then (epoch seconds)."""

    request: str
    what: str
    requester: str
    since: float


@dataclass(frozen=True)
class Story:
    """What is told: how things stand, how they stood when they were last told, and what waits. `links` are addresses of
    cards by request, `commands` what would repair a finding, by its id."""

    survey: Survey
    now: float
    before: Survey | None = None
    waiting: tuple[Waiting, ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)

    @property
    def is_blind(self) -> bool:
        """True when no cluster could be looked at, so that what was seen last is told instead."""
        return not self.survey.clusters and bool(self.survey.gaps)

    @property
    def clusters(self) -> tuple[ClusterState, ...]:
        """What is known of the clusters, even if it is old."""
        if self.is_blind and self.before is not None:
            return self.before.clusters
        return self.survey.clusters

    @property
    def unwell(self) -> list[ClusterState]:
        """The clusters that somebody has to look at, the worst first."""
        return sorted((state for state in self.clusters if not state.is_well), key=_gravity)

    @property
    def ending(self) -> list[ClusterState]:
        """The clusters whose time is over soon, the first first."""
        soon = [s for s in self.clusters if s.ends_at is not None and s.ends_at - self.now <= SOON]
        return sorted(soon, key=lambda state: (state.ends_at or 0, state.key))

    @property
    def findings(self) -> list[Finding]:
        """What drifted: what is new since the last time first, then by what it breaks."""
        known = {finding.id for finding in self.before.findings} if self.before is not None else set()
        return sorted(
            self.survey.findings,
            key=lambda one: (one.id in known, KINDS.index(one.kind) if one.kind in KINDS else len(KINDS)),
        )

    @property
    def is_quiet(self) -> bool:
        """True when there is nothing that anybody has to know."""
        return not (self.unwell or self.ending or self.waiting or self.survey.findings or self.survey.gaps)


# -- the message -------------------------------------------------------------------------------------------------


def digest(story: Story, name: str, at: float, *, wanted_by: str = "") -> tuple[Note, tuple[Offer, ...]]:
    """The message of one digest, and what it offers to repair."""
    late = story.now - at > LATE and not wanted_by
    when = f"`{name}`, <at {int(at)}>" + (f", late: sent <at {int(story.now)}>" if late else "")
    by = f" <@{wanted_by}> wanted it now." if wanted_by else ""
    changed = changes(story)
    note = _told(story, when, changed)
    people = tuple(dict.fromkeys([*note.people, *([wanted_by] if wanted_by else [])]))
    return note.model_copy(update={"text": f"{note.text}{by}", "people": people}), repairs(story)


def status(story: Story) -> tuple[Note, ...]:
    """The same at any time, for one person: what to repair is said as words to type elsewhere."""
    note = _told(story, f"Status <at {int(story.now)}>", [])
    return (note, *details(story))


def _told(story: Story, when: str, changed: list[str]) -> Note:
    tone: Tone = "good" if story.is_quiet else "warn"
    if story.is_quiet and not changed:
        return Note(tone="good", text=f"{when}: all quiet. {totals(story)}", dates=True)
    sections = [
        Section(title="Changed since the last one", facts=_some(changed, CHANGES)),
        Section(title="Not well", facts=_some([_unwell(state) for state in story.unwell], EXCEPTIONS)),
        Section(title="Cannot be seen", facts=tuple(map(_gap, story.survey.gaps))),
        Section(
            title="Wait for approval", bullets=_some([_waits(one, story.now) for one in story.waiting], EXCEPTIONS)
        ),
        Section(title="End soon", bullets=_some([_ends(state) for state in story.ending], EXCEPTIONS)),
        Section(title="Not as it was made or should be", facts=_some(_findings(story), EXCEPTIONS)),
    ]
    return Note(
        tone=tone,
        text=f"{when}: {headline(story)}",
        facts=(totals(story),),
        sections=tuple(part for part in sections if part.facts or part.bullets),
        people=tuple(dict.fromkeys(one.requester for one in story.waiting)),
        links=story.links,
        dates=True,
    )


def headline(story: Story) -> str:
    """`6 clusters, 2 need attention (1 more); 3 things to put right.`, or since when nothing is known."""
    count, unwell = len(story.clusters), len(story.unwell)
    if story.is_blind:
        if story.before is None:
            return "the clusters cannot be seen."
        return f"the clusters cannot be seen; what follows is as of <at {int(story.before.taken_at)}>."
    more = ""
    if story.before is not None:
        were = sum(not state.is_well for state in story.before.clusters)
        more = (
            f" ({abs(unwell - were)} {'more' if unwell > were else 'fewer'} than last time)" if unwell != were else ""
        )
    need = f"{unwell} need{'s' * (unwell == 1)} attention" if unwell else "all well"
    right = f"; {_counted(len(story.survey.findings), 'thing')} to put right" if story.survey.findings else ""
    return f"{_counted(count, 'cluster')}, {need}{more}{right}."


def totals(story: Story) -> str:
    """Clusters by state, workers, GPUs, cost: one line."""
    states = Counter(state.state for state in story.clusters)
    ordered = sorted(states, key=lambda word: (STATES.index(word) if word in STATES else len(STATES), word))
    parts = [", ".join(f"{states[word]} {word}" for word in ordered) or "no clusters"]
    wanted = [s.workers_wanted for s in story.clusters if s.workers_wanted is not None]
    if wanted:
        parts.append(f"workers {sum(s.workers_ready or 0 for s in story.clusters)} of {sum(wanted)} ready")
    parts += _gpu_words([state.gpus for state in story.clusters if state.gpus is not None])
    parts += _cost_words(story)
    return f"{'; '.join(parts)}."


def _gpu_words(every: Sequence[Gpus]) -> list[str]:
    if not every:
        return []
    known = sum(gpus.allocatable or 0 for gpus in every)
    tested = [(sum(g.proven for g in every), "proven"), (sum(g.untested for g in every), "untested"),
              (sum(g.failed for g in every), "failed")]  # fmt: skip
    said = ", ".join(f"{count} {word}" for count, word in tested if count)
    return [f"{_counted(known, 'GPU')} allocatable{f' ({said})' if said else ''}"]


def _cost_words(story: Story) -> list[str]:
    survey = story.before if story.is_blind and story.before is not None else story.survey
    costs = survey.cost_by_account()
    if not costs:
        return []
    each = ", ".join(f"{account or 'elsewhere'} ${cost:.2f}" for account, cost in costs.items())
    change = ""
    if story.before is not None and not story.is_blind:
        more = sum(costs.values()) - sum(story.before.cost_by_account().values())
        change = f", ${abs(more):.2f} {'more' if more > 0 else 'less'} than last time" if abs(more) >= 0.005 else ""
    shown = f" ({each})" if len(costs) > 1 else ""
    return [f"machines cost about ${sum(costs.values()):.2f} an hour{shown}{change}"]


def changes(story: Story) -> list[str]:
    """What is not as it was told last time, a sentence each; nothing where one of the two could see nothing."""
    if story.before is None or story.is_blind:
        return []
    then = {state.key: state for state in story.before.clusters}
    now = {state.key: state for state in story.survey.clusters}
    said = [f"{key} is new: {now[key].state}." for key in sorted(now.keys() - then.keys())]
    said += [f"{key} is gone; it was {then[key].state}." for key in sorted(then.keys() - now.keys())]
    for key in sorted(now.keys() & then.keys()):
        said += _differences(key, then[key], now[key])
    known = {finding.id for finding in story.before.findings}
    found = {finding.id for finding in story.survey.findings}
    said += [f"New: {finding.title}" for finding in story.survey.findings if finding.id not in known]
    said += [f"Mended: {finding.title}" for finding in story.before.findings if finding.id not in found]
    return said


def _differences(key: str, then: ClusterState, now: ClusterState) -> list[str]:
    said: list[str] = []
    if then.state != now.state:
        said.append(f"{key} was {then.state} and is {now.state}.")
    elif then.is_well != now.is_well:
        said.append(f"{key} is well again." if now.is_well else f"{key} is not well any more.")
    if then.kubernetes and now.kubernetes and then.kubernetes != now.kubernetes:
        said.append(f"{key} went from Kubernetes {then.kubernetes} to {now.kubernetes}.")
    if None not in (then.workers_wanted, now.workers_wanted) and then.workers_wanted != now.workers_wanted:
        said.append(f"{key} has {now.workers_wanted} workers, and had {then.workers_wanted}.")
    had, has = (one.gpus.allocatable if one.gpus else None for one in (then, now))
    if had is not None and has is not None and had != has:
        said.append(f"{key} offers {_counted(has, 'GPU')}, and offered {had}.")
    return said


# -- the thread --------------------------------------------------------------------------------------------------


def details(story: Story) -> tuple[Note, ...]:
    """Every cluster in a table, and every finding with what was seen and what to do."""
    notes: list[Note] = []
    if story.clusters:
        rows = tuple(_row(state) for state in sorted(story.clusters, key=lambda one: (one.is_well, one.key)))
        notes.append(Note(text="Every cluster:", table=Table(header=HEADER, rows=rows)))
    findings = story.findings
    if findings:
        facts = tuple(f"{finding.title} {finding.evidence} {_mend(finding, story)}".strip() for finding in findings)
        notes.append(Note(tone="warn", text="What is not as it was made, or not as it should be:", facts=facts))
    return tuple(notes)


def repairs(story: Story) -> tuple[Offer, ...]:
    """What can be asked for with one click: different things, the first few."""
    different: dict[str, Offer] = {}
    for finding in story.findings:
        if finding.repair is not None:
            different.setdefault(
                f"{finding.repair.operation} {sorted(finding.repair.arguments.items())}", finding.repair
            )
    return tuple(different.values())[:REPAIRS]


def chart(history: Sequence[Survey], name: str, zone: str) -> Chart | None:
    """Clusters by state and GPUs over the last digests, the oldest first; None where there is no history yet."""
    if len(history) < 2:
        return None
    at = tuple(survey.taken_at for survey in history)
    words = [word for word in STATES if any(_states(survey)[word] for survey in history)]
    clusters = tuple(Curve(name=word, values=_state_values(history, word), tone=_tone(word)) for word in words)
    panels = [clusters or (Curve(name="clusters", values=_values(history, lambda survey: 0)),)]
    if any(state.gpus for survey in history for state in survey.clusters):
        panels.append(
            (
                Curve(name="GPUs proven", values=_gpu_values(history, "proven"), tone="good"),
                Curve(name="GPUs untested", values=_gpu_values(history, "untested"), tone="warn"),
                Curve(name="GPUs failed", values=_gpu_values(history, "failed"), tone="bad"),
            )
        )
    title = f"Clusters by state over the last {len(history)} digests “{name}”"
    return Chart(name=f"{name}.png", title=title, zone=zone, at=at, panels=tuple(panels))


def _values(history: Iterable[Survey], count: Callable[[Survey], int]) -> tuple[float | None, ...]:
    return tuple(None if survey.gaps and not survey.clusters else float(count(survey)) for survey in history)


def _state_values(history: Iterable[Survey], word: str) -> tuple[float | None, ...]:
    return _values(history, lambda survey: _states(survey)[word])


def _gpu_values(history: Iterable[Survey], word: str) -> tuple[float | None, ...]:
    return _values(history, lambda survey: sum(getattr(s.gpus, word) for s in survey.clusters if s.gpus is not None))


def _states(survey: Survey) -> Counter[str]:
    return Counter(state.state for state in survey.clusters)


def _tone(word: str) -> Tone:
    return TONES.get(word, "info")


# -- the pieces --------------------------------------------------------------------------------------------------


def _gravity(state: ClusterState) -> tuple[int, str]:
    order = {"createStalled": 0, "updateStalled": 0, "unknown": 1}
    return order.get(state.state, 2), state.key


def _unwell(state: ClusterState) -> str:
    gpus = state.gpus.why if state.gpus is not None else ""
    if state.gpus is not None and not gpus and state.gpus.failed:
        gpus = f"{_counted(state.gpus.failed, 'GPU')} failed the test."
    elif state.gpus is not None and not gpus and state.gpus.untested:
        gpus = f"{_counted(state.gpus.untested, 'GPU')} untested: /tkg gpu test {state.name}"
    return " ".join(filter(None, [f"{state.key} is {state.state}.", state.why, gpus]))


def _ends(state: ClusterState) -> str:
    return f"{state.key.replace('`', chr(39))} ends <at {int(state.ends_at or 0)}>"


def _waits(one: Waiting, now: float) -> str:
    what = one.what.replace("`", "'").replace("<", "‹")
    return f"`{one.request}` for {_age(now - one.since)}: {what}, asked for by <@{one.requester}>"


def _findings(story: Story) -> list[str]:
    """A sentence each; what is the same of several clusters is said once."""
    said: dict[tuple[str, str], list[Finding]] = {}
    for finding in story.findings:
        said.setdefault((finding.kind, finding.title.removeprefix(_of(finding))), []).append(finding)
    return [f"{_names(same)}: {words}" if len(same) > 1 else same[0].title for (_, words), same in said.items()]


def _of(finding: Finding) -> str:
    return f"{finding.namespace}/{finding.cluster}: "


def _names(findings: Sequence[Finding]) -> str:
    named = ", ".join(finding.cluster for finding in findings[:NAMED])
    return named if len(findings) <= NAMED else f"{named} and {len(findings) - NAMED} more clusters"


def _mend(finding: Finding, story: Story) -> str:
    command = story.commands.get(finding.id)
    return f"To repair it: {command}" if command else finding.fix


def _gap(gap: Gap) -> str:
    return f"{gap.what}: {gap.why}"


def _row(state: ClusterState) -> tuple[str, ...]:
    workers = "?" if state.workers_wanted is None else f"{state.workers_ready or 0}/{state.workers_wanted}"
    gpus = "" if state.gpus is None else "?" if state.gpus.allocatable is None else str(state.gpus.allocatable)
    cost = "" if state.cost_per_hour_usd is None else f"${state.cost_per_hour_usd:.2f}"
    ends = "" if state.ends_at is None else _utc(state.ends_at)
    return state.key, state.state, workers, gpus, state.kubernetes, cost, ends


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _age(seconds: float) -> str:
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            return _counted(int(seconds // unit), name)
    return "a moment"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _some(items: Sequence[str], most: int) -> tuple[str, ...]:
    left = len(items) - most
    return (*items[:most], f"and {left} more in the thread") if left > 0 else tuple(items)
