"""`tkgbot doctor` as a person runs it: all well against the sandbox, and each thing that is wrong is named with its
fix."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from bot.slack.scopes import BOT_SCOPES
from bot.store import Store
from handlers.kube_needs import NEEDS
from tests.processes import run
from tests.scenario.clusters import DEFINITIONS, Administrator
from tests.scenario.conftest import edit, slack_log
from tests.world import AUDIT_KEY, MANAGEMENT, Json, World, running_world

SETTINGS: Json = {
    "operations": {
        "default_account": "management",
        "management_cluster": {"connect_timeout": 2, "read_timeout": 5},
        "aws": {"connect_timeout": 1, "read_timeout": 3, "attempts": 2},
        "accounts": {
            "management": {
                "id": MANAGEMENT, "region": "us-east-1", "role_arn": f"arn:aws:iam::{MANAGEMENT}:role/tkgbot",
            },
            "tenant": {
                "id": "444455556666", "region": "us-east-1", "role_arn": "arn:aws:iam::444455556666:role/tkgbot",
                "external_id": "sandbox-external-id",
            },
        },
    },
    "policy": [
        {
            "name": "all", "operations": ["subnet *", "cluster *"], "channels": ["CPLATFORM1"],
            "ask": {"usergroups": ["SDEVS00001"], "users": ["UDEV000001"]},
            "approve": {"usergroups": ["SPLATFORM1"]},
        },
    ],
}  # fmt: skip
SKEWED = "import time; real = time.time; time.time = lambda: real() + {0}; from bot.__main__ import main; main()"


class Patient:
    """A world, and the doctor at it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def ask(self, *words: str, settings: Json | None = None, skew: int = 0, **more: str) -> tuple[int, str]:
        """Runs the command; its code and what it printed."""
        self.world.settings.write_text(yaml.safe_dump(SETTINGS if settings is None else settings))
        program = ["-c", SKEWED.format(skew)] if skew else ["-m", "bot"]
        # what patches the clock must be there before anything is imported
        done = run([*program, "doctor", *words], self.world.environment(**more), is_cold=bool(skew))
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    def wrong(self, settings: Json | None = None, **more: Any) -> dict[str, Json]:
        """The checks that are no pass, by their ids; the command says 1."""
        code, said = self.ask("--json", settings=settings, **more)
        found = json.loads(said)
        assert (code, found["ok"]) == (1, False), said
        return {check["id"]: check for check in found["checks"] if check["result"] != "pass"}

    def only(self, check: str, settings: Json | None = None, **more: Any) -> Json:
        """The one check that is no pass."""
        wrong = self.wrong(settings, **more)
        assert list(wrong) == [check], wrong
        return wrong[check]


@pytest.fixture(scope="module")
def patient() -> Iterator[Patient]:
    with running_world() as world:
        yield Patient(world)


@pytest.fixture(autouse=True)
def calm(patient: Patient) -> Iterator[None]:
    yield
    patient.world.calm()


def changed(path: str, value: Any) -> Json:
    """The settings with another value at a place such as `operations.accounts.tenant.id`."""
    made: Json = json.loads(json.dumps(SETTINGS))
    place: Any = made
    *way, last = path.split(".")
    for part in way:
        place = place[int(part)] if part.isdigit() else place[part]
    place[last] = value
    return made


def token_of(world: World, user: str) -> str:
    """A kubeconfig of another user of the sandbox; its file."""
    found = yaml.safe_load((world.folder / "kubeconfig").read_text())
    found["users"][0]["user"] = {"token": world.view.http("GET", "/sandbox/kube")["users"][user]}
    path = world.folder / f"kubeconfig.{user}"
    path.write_text(yaml.safe_dump(found))
    return str(path)


# -- all is well -------------------------------------------------------------------------------------------------


def test_all_is_well_and_nothing_is_changed(patient: Patient) -> None:
    world = patient.world
    since, calls = len(slack_log(world)), len(world.view.aws_calls())
    code, said = patient.ask()
    assert code == 0, said
    assert "✗" not in said
    assert re.search(r"[0-9]+ well, 0 to think about, 0 to mend\. The bot can be started\.", said)
    for what in (
        "Settings", "Data directory", "Database: SQLite", "Audit", "Time zones", "Slack: bot token", "Slack: scopes",
        "Slack: clock", "Slack: app-level token", "Slack: channels", "Slack: user groups", "Slack: persons",
        "AWS account `management`: identity", "AWS account `tenant`: identity", "AWS account `tenant`: clock",
        "AWS account `management`: rights", "Management cluster: reachable", "Cluster API versions",
        "Management cluster: rights", "Management cluster: identities",
    ):  # fmt: skip
        assert what in said, (what, said)
    asked = {entry["method"] for entry in slack_log(world, since) if entry["kind"] == "api"}
    assert asked <= {"auth.test", "apps.connections.open", "conversations.info", "usergroups.list", "users.info"}
    made = [call for call in world.view.aws_calls()[calls:] if call["mutating"] and call["service"] != "sts"]
    assert made == []
    assert world.view.kube_changes() == []
    assert not (world.folder / "data").exists()


@pytest.mark.long
def test_json_is_for_machines(patient: Patient) -> None:
    code, said = patient.ask("--json")
    found = json.loads(said)
    assert (code, found["ok"]) == (0, True)
    assert {"id", "title", "result", "evidence", "fix"} == set(found["checks"][0])
    assert {check["result"] for check in found["checks"]} == {"pass"}


def test_secrets_stand_nowhere(patient: Patient) -> None:
    canary = "canary-canary-canary"
    code, said = patient.ask(
        SLACK_BOT_TOKEN=f"xoxb-{canary}", SLACK_APP_TOKEN=f"xapp-{canary}", AWS_SECRET_ACCESS_KEY=canary,
        TKGBOT_DATABASE_URL=f"postgresql://bot:{canary}@127.0.0.1:1/tkgbot", TKGBOT_AUDIT_KEY=f"{canary}{canary}",
    )  # fmt: skip
    assert code == 1
    assert "canary" not in said


# -- deliberate misconfigurations --------------------------------------------------------------------------------


def test_a_wrong_bot_token(patient: Patient) -> None:
    wrong = patient.wrong(SLACK_BOT_TOKEN="xoxb-wrong")
    assert "does not accept SLACK_BOT_TOKEN (invalid_auth)" in wrong["slack:token"]["evidence"]
    assert "OAuth & Permissions (xoxb-…)" in wrong["slack:token"]["fix"]


@pytest.mark.long
def test_a_wrong_app_token(patient: Patient) -> None:
    check = patient.only("slack:app-token", SLACK_APP_TOKEN="xapp-wrong")
    assert "does not accept SLACK_APP_TOKEN (invalid_auth)" in check["evidence"]
    assert "connections:write" in check["fix"]


@pytest.mark.long
def test_tokens_that_were_exchanged(patient: Patient) -> None:
    env = patient.world.environment()
    wrong = patient.wrong(SLACK_BOT_TOKEN=env["SLACK_APP_TOKEN"], SLACK_APP_TOKEN=env["SLACK_BOT_TOKEN"])
    assert "a token of another kind" in wrong["slack:app-token"]["evidence"]
    assert "xoxb-…" in wrong["slack:token"]["fix"]


@pytest.mark.long(but=1)
@pytest.mark.parametrize("scope", [scope.name for scope in BOT_SCOPES])
def test_a_scope_that_lacks(patient: Patient, scope: str) -> None:
    known = next(each for each in BOT_SCOPES if each.name == scope)
    patient.world.view.slack_faults(without_scopes=[scope])
    code, said = patient.ask("--json")
    found = {check["id"]: check for check in json.loads(said)["checks"]}
    check = found[f"slack:scope:{scope}"]
    assert check["result"] == ("warn" if known.optional else "block")
    assert code == (0 if known.optional else 1)
    assert (known.without or known.why) in check["evidence"]
    assert f"Add {scope}" in check["fix"]
    assert "install the app again" in check["fix"]


@pytest.mark.long
def test_a_channel_that_the_bot_is_not_in(patient: Patient) -> None:
    check = patient.only("slack:CRANDOM001", changed("policy.0.channels", ["CPLATFORM1", "CRANDOM001"]))
    assert check["evidence"] == "The bot is not in #random."
    assert "/invite @tkgbot" in check["fix"]
    assert "rule “all”" in check["fix"]


@pytest.mark.long
def test_a_channel_that_is_not_there_or_archived(patient: Patient) -> None:
    check = patient.only("slack:CNOWHERE01", changed("policy.0.channels", ["CNOWHERE01"]))
    assert "channel_not_found" in check["evidence"]
    assert "Correct the id in the policy's rule “all”" in check["fix"]
    edit(patient.world, "channels", "CPLATFORM1", is_archived=True)
    try:
        assert "archived" in patient.only("slack:CPLATFORM1")["evidence"]
    finally:
        edit(patient.world, "channels", "CPLATFORM1", is_archived=False)


@pytest.mark.long
def test_an_unknown_and_an_empty_user_group(patient: Patient) -> None:
    check = patient.only("slack:SNOBODY001", changed("policy.0.approve", {"usergroups": ["SNOBODY001"]}))
    assert "it matches nobody" in check["evidence"]
    assert "Correct the id in the policy's rule “all”" in check["fix"]
    state = patient.world.view.get("/sandbox/state")
    members = next(group["users"] for group in state["groups"] if group["id"] == "SPLATFORM1")
    edit(patient.world, "groups", "SPLATFORM1", users=[])
    try:
        assert "is empty" in patient.only("slack:SPLATFORM1")["evidence"]
    finally:
        edit(patient.world, "groups", "SPLATFORM1", users=members)


@pytest.mark.long
def test_somebody_whom_slack_does_not_know(patient: Patient) -> None:
    check = patient.only("slack:UGHOST0001", changed("policy.0.approve", {"users": ["UGHOST0001"]}))
    assert "user_not_found" in check["evidence"]


@pytest.mark.long
def test_a_wrong_account_id(patient: Patient) -> None:
    account = {"id": "999900001111", "region": "us-east-1", "access": "ambient"}
    check = patient.only("aws:other:identity", changed("operations.accounts.other", account))
    assert check["evidence"] == f"The bot gets into account {MANAGEMENT}, and the settings say 999900001111."
    assert "operations.accounts.other.id" in check["fix"]


@pytest.mark.long
def test_a_role_that_cannot_be_assumed(patient: Patient) -> None:
    check = patient.only("aws:tenant:identity", changed("operations.accounts.tenant.external_id", "another-one"))
    assert "cannot assume arn:aws:iam::444455556666:role/tkgbot" in check["evidence"]
    assert f"arn:aws:iam::{MANAGEMENT}:user/tkgbot" in check["fix"]
    assert "sts:ExternalId" in check["fix"]


@pytest.mark.long
def test_a_role_that_does_not_take_the_name_of_the_person(patient: Patient) -> None:
    env = patient.world.environment()
    keys = patient.world.view.aws()["accounts"]["444455556666"]["admin"]
    iam = boto3.client(
        "iam", endpoint_url=env["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip
    before = iam.get_role(RoleName="tkgbot")["Role"]["AssumeRolePolicyDocument"]
    statements = [{**statement, "Action": ["sts:AssumeRole"]} for statement in before["Statement"]]
    iam.update_assume_role_policy(RoleName="tkgbot", PolicyDocument=json.dumps({**before, "Statement": statements}))
    try:
        check = patient.only("aws:tenant:identity")
    finally:
        iam.update_assume_role_policy(RoleName="tkgbot", PolicyDocument=json.dumps(before))
    assert "not with the person's name" in check["evidence"]
    assert "sts:SetSourceIdentity" in check["fix"]
    assert "source_identity: false" in check["fix"]


@pytest.mark.long
def test_credentials_that_aws_does_not_know(patient: Patient) -> None:
    wrong = patient.wrong(AWS_ACCESS_KEY_ID="AKIANOBODYNOBODY0000", AWS_SECRET_ACCESS_KEY="nobody")
    assert set(wrong) == {"aws:management:identity", "aws:tenant:identity"}
    assert "does not accept the bot's credentials" in wrong["aws:tenant:identity"]["evidence"]


def test_an_action_that_is_denied_names_what_needs_it(patient: Patient) -> None:
    patient.world.view.aws_faults(deny=["servicequotas:*"])
    wrong = patient.wrong()
    assert set(wrong) == {f"aws:{name}:servicequotas:GetServiceQuota" for name in ("management", "tenant")}
    assert "cluster create" in wrong["aws:tenant:servicequotas:GetServiceQuota"]["fix"]


@pytest.mark.long
def test_aws_that_does_not_answer(patient: Patient) -> None:
    patient.world.view.aws_faults(unreachable=True)
    wrong = patient.wrong()
    assert set(wrong) == {"aws:management:identity", "aws:tenant:identity"}
    assert wrong["aws:management:identity"]["result"] == "unknown"


@pytest.mark.long
def test_a_management_cluster_that_is_not_reached(patient: Patient) -> None:
    patient.world.kube_faults(unreachable=True)
    check = patient.only("kube:reach")
    assert "cannot be reached" in check["evidence"]
    assert "See that it runs" in check["fix"]


@pytest.mark.long
def test_a_kubeconfig_that_is_not_there(patient: Patient) -> None:
    check = patient.only("kube:reach", changed("operations.management_cluster", {"kubeconfig": "/nowhere/config"}))
    assert "operations.management_cluster" in check["fix"]


@pytest.mark.long
def test_a_kubeconfig_without_rights(patient: Patient) -> None:
    wrong = patient.wrong(KUBECONFIG=token_of(patient.world, "nobody"))
    assert "may do nothing there" in wrong["kube:rights"]["evidence"]
    assert "ClusterRole" in wrong["kube:rights"]["fix"]


@pytest.mark.long
def test_a_right_that_lacks_names_the_operations(patient: Patient) -> None:
    admin, role = Administrator(patient.world), "clusterroles.rbac.authorization.k8s.io"
    before = admin.get(role, "tkgbot")
    assert before is not None
    less = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "delete"]} for rule in before["rules"]]
    admin.patch(role, "tkgbot", {"rules": less})
    try:
        wrong = patient.wrong()
    finally:
        admin.patch(role, "tkgbot", {"rules": before["rules"]})
    told = " ".join(f"{check['title']} {check['evidence']}" for check in wrong.values())
    deleted = [need.kind.resource for need in NEEDS if "delete" in need.verbs]
    assert deleted
    assert all(f"delete {resource}" in told for resource in deleted), told
    assert "cluster delete" in told
    assert "account offboard" in told


@pytest.mark.long
def test_a_database_that_is_not_reached(patient: Patient) -> None:
    url = "postgresql://bot:secret@127.0.0.1:1/tkgbot"
    wrong = patient.wrong(TKGBOT_DATABASE_URL=url, TKGBOT_AUDIT_KEY=AUDIT_KEY)
    assert "cannot be reached" in wrong["database"]["evidence"]
    assert "TKGBOT_DATABASE_URL" in wrong["database"]["fix"]


@pytest.mark.long
def test_a_database_that_a_running_bot_holds(patient: Patient, tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        code, said = patient.ask("--json", TKGBOT_DATA=str(tmp_path), TKGBOT_AUDIT_KEY=AUDIT_KEY)
        found = {check["id"]: check for check in json.loads(said)["checks"]}
        assert (code, found["database"]["result"]) == (0, "warn")
        assert "A running tkgbot holds" in found["database"]["evidence"]
        assert "PostgreSQL" in found["database"]["fix"]
    finally:
        store.close()
    code, said = patient.ask("--json", TKGBOT_DATA=str(tmp_path), TKGBOT_AUDIT_KEY=AUDIT_KEY)
    found = {check["id"]: check for check in json.loads(said)["checks"]}
    assert (code, found["database"]["result"]) == (0, "pass"), said


@pytest.mark.long
def test_a_database_that_is_none(patient: Patient, tmp_path: Path) -> None:
    (tmp_path / "tkgbot.db").write_bytes(b"no database, and longer than a header" * 40)
    wrong = patient.wrong(TKGBOT_DATA=str(tmp_path), TKGBOT_AUDIT_KEY=AUDIT_KEY)
    assert "cannot be read" in wrong["database"]["evidence"]


@pytest.mark.long
def test_a_clock_that_is_wrong(patient: Patient) -> None:
    wrong = patient.wrong(skew=600)
    for check in ("slack:clock", "aws:management:clock", "aws:tenant:clock"):
        assert re.search(r"(599|600|601|602) s ahead of", wrong[check]["evidence"]), wrong[check]
        assert "Set this machine's clock" in wrong[check]["fix"]
    code, said = patient.ask("--json", skew=-60)
    found = {check["id"]: check for check in json.loads(said)["checks"]}
    assert (code, found["slack:clock"]["result"]) == (0, "warn")
    assert "behind" in found["slack:clock"]["evidence"]


@pytest.mark.long
def test_mistakes_of_the_settings_and_of_the_environment_come_at_once(patient: Patient) -> None:
    settings = changed("operations.accounts.tenant.id", "12")
    settings["polcy"] = []
    wrong = patient.wrong(settings, SLACK_BOT_TOKEN="", TKGBOT_AUDIT_KEY="short")
    told = " ".join(check["evidence"] for check in wrong.values())
    assert "polcy" in told
    assert "operations.accounts.tenant.id" in told
    assert "SLACK_BOT_TOKEN is not set" in told
    assert "TKGBOT_AUDIT_KEY is too short" in told


@pytest.mark.long
def test_a_bot_that_is_meant_for_http_needs_no_app_token(patient: Patient) -> None:
    code, said = patient.ask(SLACK_APP_TOKEN="")
    assert code == 0, said
    assert "Slack's requests come over HTTP" in said


@pytest.mark.long
def test_definitions_that_lack() -> None:
    with running_world() as world:
        admin = Administrator(world)
        admin.delete(DEFINITIONS, "awsmachinetemplates.infrastructure.cluster.x-k8s.io")
        for resource in admin.list(DEFINITIONS):
            if resource["spec"]["group"] == "infrastructure.cluster.x-k8s.io":
                admin.delete(DEFINITIONS, resource["metadata"]["name"])
        check = Patient(world).only("kube:versions")
        assert "infrastructure.cluster.x-k8s.io" in check["evidence"]
        assert "clusterctl init" in check["fix"]


@pytest.mark.long
def test_the_kubeconfig_of_the_sandbox_is_one(patient: Patient) -> None:
    """Guards `token_of`: the same file with the bot's own token is well."""
    path = token_of(patient.world, "tkgbot")
    assert base64.b64decode(
        yaml.safe_load(Path(path).read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    )
    code, said = patient.ask(KUBECONFIG=path)
    assert code == 0, said
    assert os.path.exists(path)
