"""What the doctor is made of: looks at once and bounded; the machine, its database and its audit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import examine_here, tables
from bot.config import Secrets, parse, secrets
from bot.doctor import named_in, together
from bot.slack.examine import scope_checks
from bot.slack.scopes import BOT_SCOPES
from bot.store import Store
from handlers.contract import Check
from handlers.contract.clocks import clock_check
from handlers.kinds import KINDS
from handlers.kube_needs import NEEDS, WRITTEN
from tests.security.test_threats import Bot

KEY = "a key of forty characters, for the tests"


def held(folder: Path, url: str = "") -> Secrets:
    more = {"TKGBOT_DATABASE_URL": url} if url else {}
    return secrets({"TKGBOT_DATA": str(folder), "TKGBOT_AUDIT_KEY": KEY, **more}, to_run=False)


def passed(name: str) -> Check:
    return Check(id=name, title=name, result="pass", evidence="well")


# -- at once -----------------------------------------------------------------------------------------------------


def test_looks_go_on_at_once_and_come_in_their_order() -> None:
    meeting = threading.Barrier(8, timeout=60)  # whoever came alone would stay alone

    def look(name: str) -> list[Check]:
        meeting.wait()
        return [passed(name)]

    looks = {str(number): lambda number=number: look(str(number)) for number in range(8)}
    assert [check.id for check in together(looks, 120.0)] == [str(number) for number in range(8)]


def test_one_that_does_not_answer_hides_nothing_of_the_others() -> None:
    never = threading.Event()

    def silent() -> list[Check]:
        never.wait()
        return []

    found = together({"Silent": silent, "Well": lambda: [passed("well")]}, 0.3)
    never.set()  # what is silent was so all the time
    assert [(check.title, check.result) for check in found] == [("Silent", "unknown"), ("well", "pass")]
    assert "did not answer within 0.3 s" in found[0].evidence


def test_one_that_fails_hides_nothing_of_the_others() -> None:
    def broken() -> list[Check]:
        raise RuntimeError("xoxb-canary")

    found = together({"Broken": broken, "Well": lambda: [passed("well")]}, 20.0)
    assert [(check.title, check.result) for check in found] == [("Broken", "unknown"), ("well", "pass")]
    assert "canary" not in found[0].evidence


# -- what is named -----------------------------------------------------------------------------------------------


def test_what_the_settings_name_in_slack() -> None:
    settings = parse(
        """
operations:
  default_account: a
  accounts: {a: {id: "111122223333", region: us-east-1, access: ambient}}
policy:
  - {name: one, operations: ["subnet *"], channels: ["CONE000001", "C*"], ask: {members: true},
     approve: {users: [UONE000001], usergroups: [SONE000001]}}
  - {name: two, operations: ["cluster list"], ask: {usergroups: [STWO000001, SONE000001]}}
digests:
  - {name: daily, channel: CTWO000001, when: daily 09:00}
audit: {channel: CTHREE0001}
""",
        "test",
    )
    named = named_in(settings)
    assert named.channels == {
        "CONE000001": "the policy's rule “one”", "CTWO000001": "the digest “daily”", "CTHREE0001": "`audit.channel`",
    }  # fmt: skip
    assert named.people == {"UONE000001": "the policy's rule “one”"}
    assert set(named.groups) == {"SONE000001", "STWO000001"}


def test_scopes() -> None:
    everything = ",".join(scope.name for scope in BOT_SCOPES)
    assert [check.result for check in scope_checks(everything)] == ["pass"]
    assert [check.result for check in scope_checks(f"{everything},more:read")] == ["pass"]
    assert [check.result for check in scope_checks(None)] == ["unknown"]
    assert len(scope_checks("")) == len(BOT_SCOPES)
    assert all(scope.without for scope in BOT_SCOPES if scope.optional)
    assert len({scope.name for scope in BOT_SCOPES}) == len(BOT_SCOPES)


@pytest.mark.parametrize(
    ("apart", "result"), [(0, "pass"), (-29, "pass"), (31, "warn"), (-239, "warn"), (241, "block"), (-900, "block")]
)
def test_clocks(apart: float, result: str) -> None:
    check = clock_check("clock", "clock", apart, "AWS")
    assert check.result == result
    assert result == "pass" or ("ahead of" if apart > 0 else "behind") in check.evidence


def test_rights_are_of_kinds_that_are_known_and_each_is_asked_for_once() -> None:
    asked = [(verb, need.kind.resource, need.namespace) for need in NEEDS for verb in need.verbs]
    assert len(asked) == len(set(asked))
    assert all(need.kind in KINDS and need.operations for need in NEEDS)
    assert {kind.group for kind in WRITTEN} >= {"cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io"}


# -- this machine ------------------------------------------------------------------------------------------------


def test_a_directory_that_is_not_there_yet_is_made_at_the_start(tmp_path: Path) -> None:
    (check,) = examine_here.data_directory(held(tmp_path / "a" / "b"))
    assert check.result == "pass"
    assert not (tmp_path / "a").exists()


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (check,) = examine_here.data_directory(held(tmp_path / "file"))
    assert check.result == "block"
    assert "TKGBOT_DATA" in check.fix


def test_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    (check,) = examine_here.data_directory(held(tmp_path))
    assert check.result == "block"
    assert "uid" in check.fix


def test_a_new_postgres(tmp_path: Path, new_database: Callable[[], str]) -> None:
    (check,) = examine_here.database(held(tmp_path, new_database()))
    assert check.result == "pass", check
    assert "writable" in check.evidence


def test_a_postgres_in_which_nothing_can_be_made(tmp_path: Path, new_database: Callable[[], str]) -> None:
    url = new_database()
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    name = sa.make_url(url).database
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE ROLE reader_{name} LOGIN"))
        connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    try:
        theirs = sa.make_url(url).set(username=f"reader_{name}").render_as_string(hide_password=False)
        (check,) = examine_here.database(held(tmp_path, theirs))
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP ROLE reader_{name}"))
        admin.dispose()
    assert check.result == "block", check
    assert "GRANT CREATE" in check.fix


@pytest.mark.parametrize("url", ["postgresql://u:p@127.0.0.1:1/x", "no such thing", "mongodb://u:p@127.0.0.1/x"])
def test_a_url_that_leads_nowhere(tmp_path: Path, url: str) -> None:
    (check,) = examine_here.database(held(tmp_path, url))
    assert check.result == "block"
    assert "TKGBOT_DATABASE_URL" in check.fix
    assert "u:p" not in check.evidence


def test_an_audit_that_somebody_has_changed(tmp_path: Path) -> None:
    from bot.audit import AuditKey
    from bot.auditing import make_sealer

    bot = Bot(tmp_path)
    bot.requests.audit_key = AuditKey(KEY)
    bot.waiting()
    known = held(tmp_path)
    sealer = make_sealer(bot.store, known, AuditKey(KEY), clock=time.time)
    assert sealer.seal()
    (check,) = examine_here.audit(known)
    assert check.result == "pass", check
    assert "the chain is whole" in check.evidence
    bot.store.write(lambda connection: connection.execute(sa.update(tables.audit).values(actor="somebody")))
    (check,) = examine_here.audit(known)
    assert check.result == "block"
    assert "audit verify" in check.fix
    (check,) = examine_here.audit(replace(known, audit_key=KEY[::-1]))
    assert check.result == "block"
    bot.store.close()


def test_an_audit_whose_key_is_lost(tmp_path: Path) -> None:
    Store(tmp_path).close()
    (check,) = examine_here.audit(replace(held(tmp_path), audit_key=None))
    assert check.result == "block"
    assert "audit.key cannot be read" in check.evidence


def test_time_zones() -> None:
    assert [check.result for check in examine_here.time_zones(("Asia/Tokyo",))] == ["pass"]
    (check,) = examine_here.time_zones(("Middle/Earth", "../../etc/passwd"))
    assert check.result == "block"
    assert "Middle/Earth" in check.evidence
