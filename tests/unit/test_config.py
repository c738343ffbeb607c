"""The settings: the example is good; every kind of mistake is told with its line, and all of them at once."""

from __future__ import annotations

import json
import traceback
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.__main__ import main
from bot.config import ConfigError, Settings, load, parse, secrets

EXAMPLE = files("manifests.examples").joinpath("sandbox.yaml").read_text("utf-8")
GOOD = """\
operations:
  default_account: main
  accounts:
    main:
      id: "111122223333"
      region: us-east-1
      role_arn: arn:aws:iam::111122223333:role/tkgbot
    keys: {id: "111122223333", region: us-east-1, access: ambient}
policy:
  - name: all
    operations: ["subnet *"]
    ask: {usergroups: [S1]}
    approve: {usergroups: [S2]}
"""


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "test.yaml")
    assert "test.yaml" in str(caught.value)
    assert all(mistake in str(caught.value) for mistake in caught.value.mistakes)
    return caught.value.mistakes


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_the_example_is_good() -> None:
    found = parse(EXAMPLE, "sandbox.yaml")
    assert set(found.operations.accounts) == {"management", "tenant"}
    assert [rule.effect for rule in found.policy] == ["allow"] * 7 + ["deny"]
    assert (found.policy[0].request_ttl, found.policy[0].approval_ttl) == (8 * 3600, 1800)


def test_the_good_one_is_good() -> None:
    assert parse(GOOD, "x").policy[0].approvals is None, "what the operation wants"


ACCOUNT = '    keys: {id: "111122223333", region: us-east-1, access: ambient}\n'
RULE = "    approve: {usergroups: [S2]}\n"
ROLE = "      role_arn: arn:aws:iam::111122223333:role/tkgbot\n"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (edited("policy:", "polcy: 1\npolicy:"), 9, "did you mean “policy”"),
        (edited("default_account:", "default_acount: x\n  default_account:"), 2, "did you mean “default_account”"),
        (edited("      region:", "      regoin: x\n      region:"), 6, "did you mean “region”"),
        (edited(RULE, RULE + "    aproval: 2\n"), 14, "did you mean “approvals”"),
        (edited("ask: {usergroups: [S1]}", "ask: {usergroup: [S1]}"), 12, "did you mean “usergroups”"),
        (GOOD + "limits: {plans_at_one: 3}\n", 14, "did you mean “plans_at_once”"),
        (edited("      region: us-east-1\n", ""), 4, "region is missing"),
        (edited('"111122223333"\n', '"1111"\n'), 5, "pattern"),
        (edited("region: us-east-1\n", "region: moon\n"), 6, "pattern"),
        (edited("default_account: main", "default_account: other"), 1, "is not one of the accounts"),
        (edited("    main:", "    Main!:"), 4, "pattern"),
        (edited(ROLE, ""), 4, "access `role` needs `role_arn`"),
        (edited(ROLE, ROLE + "      profile: x\n"), 4, "does not use `profile`"),
        (edited("access: ambient", "access: profile"), 8, "access `profile` needs `profile`"),
        (edited("access: ambient", "access: ambient, profile: x"), 8, "access `ambient` does not use `profile`"),
        (edited("access: ambient", "access: ambient, external_id: abc"), 8, "does not use `external_id`"),
        (edited("access: ambient", "access: magic"), 8, "'role', 'profile' or 'ambient'"),
        (edited("arn:aws:iam::111122223333", "arn:aws:iam::999999999999"), 4, "is in account 999999999999"),
        (edited("role/tkgbot", "user/tkgbot"), 7, "pattern"),
        (edited(RULE, RULE + "    request_ttl: 8 hours\n"), 14, "is not a duration such as 30m"),
        (edited(RULE, RULE + "    approval_ttl: 31d\n"), 14, "less than or equal"),
        (edited(RULE, RULE + "    approval_ttl: 0s\n"), 14, "greater than 0"),
        (edited(RULE, RULE + "    approvals: 0\n"), 14, "greater than or equal to 1"),
        (edited(RULE, RULE + "    effect: perhaps\n"), 14, "'allow' or 'deny'"),
        (edited('["subnet *"]', "[]"), 11, "at least 1 item"),
        (edited("approve: {usergroups: [S2]}", "approve: {}"), 13, "names nobody who may approve"),
        (edited(RULE, ""), 10, "names nobody who may approve"),
        (edited("ask: {usergroups: [S1]}", "ask: {}"), 12, "names nobody who may ask"),
        (GOOD + "  - {name: none, effect: deny, operations: ['*']}\n", 14, "denies nobody anything"),
        (
            GOOD + "  - {name: all, effect: deny, operations: ['*'], ask: {members: true}}\n",
            14,
            "two rules are named “all”",
        ),
        (edited("subnet *", "subnets *"), 11, "no operation matches “subnets *”; did you mean “subnet tag”"),
        (edited(RULE, RULE + "    accounts: [mian]\n"), 14, "no account matches “mian”; did you mean “main”"),
        (GOOD + "limits: {front_threads: 0}\n", 14, "greater than or equal to 1"),
        (edited("  default_account: main\n", "  default_account: main\n  default_account: keys\n"), 3, "a second time"),
        (edited(ACCOUNT, ACCOUNT * 2), 9, "`keys` stands here a second time"),
        (edited("policy:\n", "policy: [\n"), 10, "this is not YAML"),
        (GOOD + "\t- x\n", 14, "this is not YAML"),
        (edited("name: all", "name: !!python/object/apply:os.system [id]"), 10, "this is not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, told: str) -> None:
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"line {line}: "), found
    assert told in found[0], found


@pytest.mark.parametrize("text", ["", "# nothing", "[]", "3", "just words", "~"])
def test_what_is_no_settings_file_is_told(text: str) -> None:
    assert [mistake.rpartition(": ")[2] for mistake in mistakes(text)] == ["operations is missing", "policy is missing"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "when: 2024-99-99\n", GOOD + "a: &a [*a]\n", GOOD + "? [a, b]\n: c\n", GOOD + "1: x\n", GOOD + "~: x\n",
        GOOD + "more: *nowhere\n", GOOD + "---\nb: 1\n", GOOD + "x: !!int abc\n", GOOD + "x: !!binary '!'\n",
        "\x00", "a: \x07",
        GOOD + "b: {<<: 3}\n",
    ],
    ids=lambda text: repr(text[-15:]),
)  # fmt: skip
def test_odd_yaml_is_a_mistake_and_no_crash(text: str) -> None:
    assert mistakes(text)


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        edited("region: us-east-1\n", "region: moon\n").replace("approve:", "aprove:").replace("name: all", "name: 3")
    )
    found = mistakes(text + "limits: {x: 1, x: 2}\n")
    assert {part.split(":")[0] for part in found} == {"line 6", "line 10", "line 13", "line 14"}
    assert len(found) >= 5


def test_mistakes_of_form_and_of_sense_are_told_together() -> None:
    """Somebody who mends what was told must not meet the next list afterwards."""
    found = mistakes(edited("subnet *", "subnets *").replace("      region: us-east-1\n", "      regoin: us-east-1\n"))
    assert any("no operation matches" in mistake for mistake in found), found
    assert any("regoin" in mistake for mistake in found)


def test_several_mistakes_of_sense_are_told_together() -> None:
    text = edited("subnet *", "subnets *").replace(
        "approve: {usergroups: [S2]}", "accounts: [nowhere]\n    approve: {}"
    )
    assert len(mistakes(text)) == 2


# -- the file ----------------------------------------------------------------------------------------------------


def test_the_file_is_found_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"tkgbot\.yaml.*\n.*cannot be read"):
        load(environment={})
    (tmp_path / "tkgbot.yaml").write_text(GOOD)
    (tmp_path / "other.yaml").write_text("limits: {}")
    assert load(environment={}).policy
    with pytest.raises(ConfigError, match=r"other\.yaml"):
        load(environment={"TKGBOT_CONFIG": "other.yaml"})
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"operations: \xff\xfe")
    with pytest.raises(ConfigError):
        load(tmp_path / "x.yaml", {})


def test_the_command_line_says_it_and_ends_with_two(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(edited("subnet *", "subnets *"))
    said = CliRunner().invoke(main, ["config", "check", str(good)])
    assert (said.exit_code, "2 accounts, 1 rule." in said.output) == (0, True)
    said = CliRunner().invoke(main, ["config", "check", str(bad)])
    assert said.exit_code == 2
    assert "line 11: no operation matches" in said.output
    assert "Traceback" not in said.output


def test_the_schema_knows_every_setting() -> None:
    said = CliRunner().invoke(main, ["config", "schema"])
    schema = json.loads(said.output)
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["additionalProperties"] is False
    assert "role_arn" in schema["$defs"]["Account"]["properties"]


# -- secrets -----------------------------------------------------------------------------------------------------

BOT, APP, PASSWORD = "xoxb-1-canary", "xapp-1-canary", "canarypassword"
AUDIT_KEY = "canary" * 6
ENVIRONMENT = {
    "SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP, "TKGBOT_DATABASE_URL": f"postgresql://bot:{PASSWORD}@db/bot",
    "TKGBOT_AUDIT_KEY": AUDIT_KEY,
}  # fmt: skip


def test_secrets_by_environment() -> None:
    found = secrets(ENVIRONMENT)
    assert (found.bot_token, found.app_token, found.data) == (BOT, APP, Path("data"))
    assert found.database_url == f"postgresql+psycopg://bot:{PASSWORD}@db/bot"
    assert found.api_url == "https://slack.com/api/"


def test_secrets_by_file(tmp_path: Path) -> None:
    for name, value in ENVIRONMENT.items():
        (tmp_path / name).write_text(f"{value}\n")
    assert secrets({f"{name}_FILE": str(tmp_path / name) for name in ENVIRONMENT}) == secrets(ENVIRONMENT)


@pytest.mark.parametrize("environment", [{}, {"SLACK_BOT_TOKEN": "", "SLACK_APP_TOKEN": ""}])
def test_all_missing_secrets_are_told_at_once(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        secrets(environment)
    assert [mistake.split()[0] for mistake in caught.value.mistakes] == ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"]


def test_several_bots_need_a_key_for_the_audit() -> None:
    with pytest.raises(ConfigError) as caught:
        secrets({"TKGBOT_DATABASE_URL": "postgresql://db/bot", "SLACK_BOT_TOKEN": BOT})
    assert [mistake.split()[0] for mistake in caught.value.mistakes] == ["SLACK_APP_TOKEN", "TKGBOT_AUDIT_KEY"]
    alone = secrets({"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN": APP, "TKGBOT_DATA": "there"})
    assert (alone.audit_key, alone.anchor) == (None, Path("there/audit.anchor"))


def test_a_short_key_for_the_audit_is_told_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="32 characters") as caught:
        secrets({**ENVIRONMENT, "TKGBOT_AUDIT_KEY": "canary"})
    assert "canary" not in str(caught.value)


def test_looking_at_the_audit_takes_no_tokens() -> None:
    found = secrets({"TKGBOT_DATABASE_URL": "postgresql://db/bot", "TKGBOT_AUDIT_ANCHOR": "a"}, to_run=False)
    assert (found.bot_token, found.audit_key, found.anchor) == ("", None, Path("a"))


def test_secret_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        secrets({"SLACK_BOT_TOKEN_FILE": str(tmp_path / "none"), "SLACK_APP_TOKEN_FILE": str(tmp_path)})
    text = str(caught.value)
    assert "SLACK_BOT_TOKEN_FILE" in text
    assert "SLACK_APP_TOKEN_FILE" in text


def test_a_secret_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="SLACK_BOT_TOKEN_FILE"):
        secrets({"SLACK_BOT_TOKEN_FILE": str(tmp_path / "token"), "SLACK_APP_TOKEN": APP})


def test_an_empty_secret_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigError, match="SLACK_APP_TOKEN"):
        secrets({"SLACK_BOT_TOKEN": BOT, "SLACK_APP_TOKEN_FILE": str(tmp_path / "token")})


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    found = secrets(ENVIRONMENT)
    shown = [repr(found), str(found), f"{found}"]
    with pytest.raises(ConfigError) as caught:
        secrets({name: value for name, value in ENVIRONMENT.items() if name != "SLACK_APP_TOKEN"})
    shown += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
    for text in shown:
        assert not any(secret in text for secret in (BOT, APP, PASSWORD, AUDIT_KEY)), text


def test_a_secret_in_the_settings_file_is_refused_and_not_repeated() -> None:
    found = mistakes(GOOD + f"slack_bot_token: {BOT}\n")
    assert "slack_bot_token is not a setting" in found[0]
    assert BOT not in found[0]


@pytest.mark.parametrize(
    ("times", "doubt"),
    [
        ("store_within: 20", "people will read that the bot did not answer"),
        ("claim: 5", "it would be posted twice"),
        ("timeout: 31", "it would be posted twice"),
        ("claim: 10", None),
        ("store_within: 2.5", None),
    ],
)
def test_times_that_can_hardly_be_meant_are_said(times: str, doubt: str | None, tmp_path: Path) -> None:
    """And no mistakes: tests and slow machines want them."""
    (tmp_path / "tkgbot.yaml").write_text(f"{GOOD}slack: {{{times}}}\n")
    checked = CliRunner().invoke(main, ["config", "check", str(tmp_path / "tkgbot.yaml")])
    assert (checked.exit_code, "The settings are good" in checked.output) == (0, True)
    assert ("To think about" in checked.output) == (doubt is not None)
    assert (doubt or "") in checked.output


def test_who_left_a_group_is_not_held_for_a_member_for_long() -> None:
    """What the README promises: at most five seconds."""
    assert "less than or equal to 5" in mistakes(f"{GOOD}slack: {{groups_fresh: 6}}\n")[0]
