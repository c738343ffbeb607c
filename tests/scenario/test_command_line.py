"""The command line as a person types it, against the sandbox."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests import ports
from tests.processes import run
from tests.world import World

DATABASE = "sqlite"


def tkgbot(world: World, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(("-m", "bot", *words), world.environment(**environment))


def test_plan_shows_what_would_be_done_and_does_nothing(world: World) -> None:
    done = tkgbot(world, "plan", f"subnet tag terminal {' '.join(world.public())} --role-tag")
    assert done.returncode == 0, done.stderr
    assert "tag 3 subnets for terminal" in done.stdout
    assert "would put `kubernetes.io/cluster/terminal=shared` on 3 subnets" in done.stdout
    assert "Nothing was changed" in done.stdout
    assert world.tagged("terminal") == set()


def test_the_status_at_the_terminal_knows_the_accounts_of_the_settings(world: World) -> None:
    done = tkgbot(world, "plan", "status --account tenant")
    assert done.returncode == 0, done.stderr
    assert "0 clusters, all well." in done.stdout
    whole = tkgbot(world, "plan", "status")
    assert "in management still carries the tag of demo" in whole.stdout, "accounts are looked at by their names"
    assert "ambient" not in whole.stdout, "an account that has two names is looked at once"
    assert "There is no cluster nowhere here." in tkgbot(world, "plan", "status nowhere").stdout


def test_plan_is_the_plan_of_the_card(world: World) -> None:
    card = world.ask("same", world.public())
    done = tkgbot(world, "plan", f"subnet tag same {' '.join(world.public())}")
    seal = done.stdout.split("plan ")[-1][:16]
    assert any(seal in json.dumps(block) for block in card["blocks"]), done.stdout


def test_a_blocked_plan_ends_with_one(world: World) -> None:
    done = tkgbot(world, "plan", f"subnet tag terminal {world.subnets('demo-private-a')[0]}")
    assert done.returncode == 1
    assert "BLOCKS" in done.stdout
    assert "is private" in done.stdout


def test_wrong_words_end_with_two(world: World) -> None:
    done = tkgbot(world, "plan", "subnet tga terminal")
    assert done.returncode == 2
    assert "`tga`" in done.stderr
    assert "Try: /tkg subnet tag" in done.stderr
    assert "Traceback" not in done.stderr


def test_unreachable_aws_is_a_sentence(world: World) -> None:
    done = tkgbot(world, "plan", "subnet tag x --vpc vpc-0a1b2c3d", AWS_ENDPOINT_URL=ports.nobody())
    assert done.returncode == 2
    assert "AWS cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_policy_explain_says_who_may_and_why(world: World) -> None:
    words = "subnet tag demo --vpc vpc-0a1b2c3d"
    may = tkgbot(world, "policy", "explain", "UDEV000001", "CPLATFORM1", words)
    assert may.returncode == 0, may.stderr
    assert "developers ask, the platform group approves" in may.stdout
    assert "1 of" in may.stdout
    assert "SPLATFORM1" in may.stdout
    guest = tkgbot(world, "policy", "explain", "UGUEST0001", "CPLATFORM1", words)
    assert guest.returncode == 1
    assert "Guests" in guest.stdout
    denied = tkgbot(world, "policy", "explain", "UDEV000001", "CPLATFORM1", "subnet tag payments-1 --vpc vpc-0a1b2c3d")
    assert denied.returncode == 1
    assert "nobody touches payments from chat" in denied.stdout


def test_policy_explain_with_production_names_both_rules(world: World) -> None:
    both = tkgbot(world, "policy", "explain", "UDEV000001", "CPLATFORM1", "subnet tag prod-9 --vpc vpc-0a1b2c3d")
    assert both.returncode == 0
    assert "two for production" in both.stdout
    assert "2 of" in both.stdout


def test_config_check_and_schema(world: World, tmp_path: Path) -> None:
    good = tkgbot(world, "config", "check")
    assert good.returncode == 0
    assert "3 accounts, 7 rules" in good.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("operations:\n  default_acount: x\npolicy: []\n")
    bad = tkgbot(world, "config", "check", str(wrong))
    assert bad.returncode == 2
    assert "line 2" in bad.stderr
    assert "default_account" in bad.stderr
    schema = json.loads(tkgbot(world, "config", "schema").stdout)
    assert set(schema["properties"]) == {
        "operations",
        "policy",
        "limits",
        "slack",
        "people",
        "audit",
        "digests",
        "time_boxes",
    }


def test_run_refuses_without_tokens_and_with_wrong_ones(world: World) -> None:
    none = tkgbot(world, "run", SLACK_BOT_TOKEN="", SLACK_APP_TOKEN="")
    assert none.returncode == 2
    assert "SLACK_BOT_TOKEN" in none.stderr
    assert "SLACK_APP_TOKEN" in none.stderr
    wrong = tkgbot(world, "run", SLACK_BOT_TOKEN="xoxb-wrong", TKGBOT_DATA=str(world.folder / "other"))
    assert wrong.returncode == 2
    assert "Slack does not accept it" in wrong.stderr
    assert "xoxb-wrong" not in wrong.stderr


def test_run_refuses_wrong_settings(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "tkgbot.yaml"
    wrong.write_text("policy: 3\n")
    done = tkgbot(world, "run", TKGBOT_CONFIG=str(wrong))
    assert done.returncode == 2
    assert "operations is missing" in done.stderr
    assert "Traceback" not in done.stderr
