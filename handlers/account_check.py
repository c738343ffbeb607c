"""`account check`, `account list`, `account get`: which accounts there are, and whether each way in still works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from handlers.account_access import Tie, access_checks
from handlers.account_look import Home, look_home
from handlers.account_words import CheckArguments, GetArguments, ListArguments
from handlers.accounts import READER, Onboarded, onboarded
from handlers.clients.aws_errors import Denied
from handlers.contract import (
    AwsRead,
    AwsRefused,
    Check,
    Fatal,
    Json,
    KubeRead,
    ReadWorld,
    Report,
    ReportOperation,
    Retry,
    Table,
    UsageError,
)  # fmt: skip
from handlers.identities import LONGEST, allows, in_words, is_as_written, users_of
from handlers.kinds import AWS_CLUSTER, CONTROLLER_IDENTITY, ROLE_IDENTITY
from handlers.subnet_checks import blocks, passes, warns

MARKS = {"pass": "ok", "warn": "look", "block": "wrong", "unknown": "unknown"}
AT_ONCE = 4


@dataclass(frozen=True)
class Entry:
    """One identity, with the account that it leads to. `inside` is the bot's way in; None where it has none."""

    item: Json
    tied: Onboarded
    inside: AwsRead | None

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec."""
        found: Any = self.item.get("spec") or {}
        return dict(found)

    @property
    def notes(self) -> dict[str, Any]:
        """Its annotations."""
        meta: Any = self.item.get("metadata") or {}
        return dict(meta.get("annotations") or {})


class AccountCheck(ReportOperation[CheckArguments]):
    """The same proof as onboarding's, at any time."""

    name = "account check"
    summary = "Check whether the way into another AWS account still works, on both sides"
    examples = ("account check team-a", "account check --all")
    arguments = CheckArguments

    def report(self, arguments: CheckArguments, world: ReadWorld) -> Report:
        """Looks at the identity, at both sides of the way in, and at what the role may do."""
        name = arguments.account or ""
        home, problems = look_home(world, name)
        if home is None:
            raise Fatal(problems[-1].evidence, problems[-1].fix)
        entries = [entry_of(home.item, world)] if home.item is not None else []
        if arguments.all:
            entries = [entry_of(item, world) for item in home.kube.pages(ROLE_IDENTITY)]
        elif not entries:
            raise UsageError(f"No identity is called {name}.", "`/tkg account list` shows those that there are.")
        found = [entry for entry in entries if entry is not None]
        if not found:
            return Report(title="No account was onboarded.")
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="check") as workers:
            seen = list(workers.map(lambda entry: checked(entry, home, world), found))
        return _told(found, seen)


class AccountList(ReportOperation[ListArguments]):
    """Every account that clusters can be made in."""

    name = "account list"
    summary = "List the AWS accounts that were brought in, and who may use each"
    examples = ("account list",)
    arguments = ListArguments

    def report(self, arguments: ListArguments, world: ReadWorld) -> Report:
        """Reads the identities; looks into no account."""
        kube = world.management()
        if not kube.has(ROLE_IDENTITY):
            raise UsageError("The management cluster has no AWSClusterRoleIdentity.", "Install the AWS provider on it.")
        entries = [
            entry for entry in (entry_of(item, world) for item in kube.pages(ROLE_IDENTITY)) if entry is not None
        ]
        if not entries:
            return Report(title="No account was onboarded.", facts=("`/tkg account onboard` brings one in.",))
        rows = tuple(_row(entry, world) for entry in sorted(entries, key=lambda entry: entry.tied.name))
        header = ("ACCOUNT", "ID", "WHO MAY USE IT", "REGION", "CLUSTERS", "SESSION")
        return Report(
            tone="good",
            title=f"{len(rows)} account{'s' * (len(rows) != 1)}.",
            table=Table(header=header, rows=rows),
        )


class AccountGet(ReportOperation[GetArguments]):
    """One account: who may use it, what is in it, and how the way in stands."""

    name = "account get"
    summary = "Show one AWS account: who may use it, its clusters, and whether the way in works"
    examples = ("account get team-a",)
    arguments = GetArguments

    def report(self, arguments: GetArguments, world: ReadWorld) -> Report:
        """The list's row in words, its clusters, and a check."""
        home, problems = look_home(world, arguments.account)
        if home is None:
            raise Fatal(problems[-1].evidence, problems[-1].fix)
        entry = entry_of(home.item, world) if home.item is not None else None
        if entry is None:
            raise UsageError(
                f"No identity is called {arguments.account}.", "`/tkg account list` shows those that there are."
            )
        clusters, others = users_of(home.kube, arguments.account)
        spec, seen = entry.spec, checked(entry, home, world)
        facts = [
            f"account {entry.tied.account_id}, role {entry.tied.role_arn}",
            f"{in_words(spec.get('allowedNamespaces'))} may use it",
            f"a session of the controllers lasts {spec.get('durationSeconds') or 900} s; checked just now",
            f"external id {spec.get('externalID') or 'none'}",
            f"clusters: {', '.join(clusters) or 'none'}",
        ]
        facts += [f"identities that start from it: {', '.join(others)}"] if others else []
        report = _told([entry], [seen])
        return report.model_copy(update={"facts": (*report.facts, *facts)})


def entry_of(item: Json, world: ReadWorld) -> Entry | None:
    """An identity with the bot's way in: through its annotations, or as the settings say."""
    tied = onboarded(item)
    if tied is None:
        return None
    try:
        known = world.account(tied.name)
    except UsageError:
        return Entry(item, tied, world.aws(tied.door, tied.door.region) if tied.door is not None else None)
    inside = world.aws(tied.name, known.region) if known.id == tied.account_id else None
    return Entry(item, tied, inside)


def checked(entry: Entry, home: Home, world: ReadWorld) -> list[Check]:
    """Everything about one account. What cannot be asked is unknown."""
    checks = _identity_checks(entry, home)
    if entry.inside is None:
        evidence = f"The bot has no way into account {entry.tied.account_id}: it did not make this identity."
        fix = f"`/tkg account onboard {entry.tied.account_id} --identity {entry.tied.name} …` gives it one."
        return [*checks, Check(id="reader", title="The bot can look into the account", result="unknown",
                               evidence=evidence, fix=fix)]  # fmt: skip
    try:
        return [*checks, *access_checks(tie_of(entry, home, world.clusters().iam_suffix), home.aws, entry.inside)]
    except (Denied, Retry, Fatal, AwsRefused) as error:
        return [*checks, Check(id="reader", title="The bot can look into the account", result="unknown",
                               evidence=error.message, fix=error.hint)]  # fmt: skip


def tie_of(entry: Entry, home: Home, suffix: str) -> Tie:
    """What an identity ties together."""
    tied, spec = entry.tied, entry.spec
    role = tied.role_arn.rpartition("/")[2]
    return Tie(
        identity=tied.name, account_id=tied.account_id, partition=tied.partition, role_arn=tied.role_arn,
        suffix=role.removeprefix("controllers") if role.startswith("controllers.") else suffix,
        external_id=tied.external_id, duration=int(spec.get("durationSeconds") or 900), home=home.account,
        home_id=home.account_id, principal=home.principal.arn, principal_kind=home.principal.kind,
        principal_name=home.principal.name, network_balancers=newest(home.kube),
    )  # fmt: skip


def newest(kube: KubeRead) -> bool:
    """The AWS provider of today gives clusters a network load balancer, older ones a classic one."""
    return kube.version(AWS_CLUSTER) == "v1beta2"


def _identity_checks(entry: Entry, home: Home) -> list[Check]:
    name, spec = entry.tied.name, entry.spec
    who = in_words(spec.get("allowedNamespaces"))
    checks = [
        blocks(
            "identity", "The identity", f"`{name}` may be used by no namespace.", "Onboard it again with --namespaces."
        )
        if who == "no namespace"
        else passes(
            "identity", "The identity", f"`{name}` leads into account {entry.tied.account_id}; {who} may use it."
        )
    ]
    if not is_as_written(entry.item):
        evidence = (
            f"`{name}` does not say any more what was approved: somebody changed it by hand. Now {who} may use it."
        )
        checks.append(warns("edited", "As it was written", evidence, "Onboard it again for whom it is meant."))
    duration = int(spec.get("durationSeconds") or 900)
    if duration > LONGEST:
        evidence = f"It asks for sessions of {duration} s; a role that a role assumes gets {LONGEST} s at most."
        checks.append(
            blocks("duration", "How long a session lasts", evidence, "Onboard it again with --duration 3600.")
        )
    if entry.notes.get(READER) and entry.tied.door is None:
        evidence = "Its annotation names a reader role that is not in the account of its role."
        checks.append(
            blocks("annotations", "The identity's notes", evidence, "Somebody changed them: onboard it again.")
        )
    ref = spec.get("sourceIdentityRef") or {}
    if ref.get("kind") == CONTROLLER_IDENTITY.name:
        source = home.kube.get(CONTROLLER_IDENTITY, str(ref.get("name")))
        names = (spec.get("allowedNamespaces") or {}).get("list") or []
        if source is None:
            evidence = f"The {CONTROLLER_IDENTITY.name} {ref.get('name')}, which it starts from, is not there."
            checks.append(blocks("source", "The identity that it starts from", evidence, "Onboard it again."))
        else:
            outside = [space for space in names if not allows(source, space, home.kube)]
            if outside:
                evidence = f"The identity that it starts from does not allow {', '.join(outside)}."
                checks.append(warns("source", "The identity that it starts from", evidence, "Let it be made anew."))
    return checks


def _told(entries: list[Entry], seen: list[list[Check]]) -> Report:
    """The verdict first, then what is wrong with its repair, then the table."""
    wrong = [(entry, check) for entry, checks in zip(entries, seen, strict=True) for check in checks if check.blocks]
    odd = [
        (entry, check)
        for entry, checks in zip(entries, seen, strict=True)
        for check in checks
        if check.result == "warn"
    ]
    bad = list(dict.fromkeys(entry.tied.name for entry, _ in wrong))
    what = entries[0].tied.name if len(entries) == 1 else f"{len(entries)} accounts"
    if wrong:
        title = (
            f"The way into {' and '.join(bad)} does not work."
            if len(entries) == 1
            else f"{len(bad)} of {what} do not work: {', '.join(bad)}."
        )
    else:
        title = (
            f"The way into {what} works, on both sides."
            if len(entries) == 1
            else f"The ways into all {what} work, on both sides."
        )
    facts = [  # the fix in a line of its own: it may be a whole document, which must not be cut
        line for entry, check in (*wrong, *odd) for line in (f"{entry.tied.name}: {check.evidence}", check.fix) if line
    ]
    facts += [
        f"To ask for the repair: /tkg account onboard {entry.tied.account_id} --identity {entry.tied.name} "
        f"{_words(entry)}"
        for entry in entries
        if entry.tied.name in bad
    ]
    rows = tuple(
        (MARKS[check.result], check.title, check.evidence.replace("`", ""), entry.tied.name)
        for entry, checks in zip(entries, seen, strict=True)
        for check in checks
    )
    tone: Any = "bad" if wrong else "warn" if odd else "good"
    return Report(
        tone=tone, title=title, facts=tuple(facts), table=Table(header=("", "What", "Seen", "Account"), rows=rows)
    )


def _words(entry: Entry) -> str:
    """For whom the identity is, as a command says it."""
    rule: Any = entry.spec.get("allowedNamespaces")
    labels = ((rule or {}).get("selector") or {}).get("matchLabels")
    if rule == {}:
        return "--all-namespaces"
    if rule and rule.get("list"):
        return f"--namespaces {','.join(rule['list'])}"
    if labels:
        return f"--selector {','.join(f'{key}={value}' for key, value in sorted(labels.items()))}"
    return "--namespaces …"


def _row(entry: Entry, world: ReadWorld) -> tuple[str, ...]:
    clusters, _ = users_of(world.management(), entry.tied.name)
    spec, door = entry.spec, entry.tied.door
    return (
        entry.tied.name, entry.tied.account_id, in_words(spec.get("allowedNamespaces")), door.region if door else "",
        str(len(clusters)), f"{spec.get('durationSeconds') or 900} s",
    )  # fmt: skip


OPERATIONS = (AccountCheck(), AccountList(), AccountGet())
