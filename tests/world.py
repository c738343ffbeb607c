"""The sandbox and the bot as processes, for the tests that use them as people would. Everything is bounded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bot.demo import bot_environment
from bot.tour import CHANNEL, MANAGEMENT, Json, View
from tests.processes import Process, start

__all__ = [
    "APPROVER", "CHANNEL", "DEV", "MANAGEMENT", "PATIENCE", "SECOND", "TENANT", "Json", "World", "eventually",
    "running_world",
]  # fmt: skip

DEV, APPROVER, SECOND = "UDEV000001", "UAPPROVE01", "UAPPROVE02"
TENANT = "444455556666"
PATIENCE = 60.0
"""Seconds after which what has to come counts as not coming. It is no promise of the product: it has to outlast a busy
machine, and is shorter only in tests about time, whose clock is their own."""
START = 180.0
"""The same for a process that starts: it reads a few thousand files first."""
ACK = 30.0
"""Seconds that the workspace waits for an acknowledgement, where Slack itself waits three: what is asserted is that it
comes, and how long it took is the bench's business."""
AUDIT_KEY = "a key of forty characters, for the tests"
SETTINGS = """\
slack: {store_within: 20, timeout: 20, ping: 3, groups_fresh: 0}
operations:
  default_account: management
  management_cluster: {connect_timeout: 10, read_timeout: 60}
  clusters: {kubernetes_version: v1.33.1, ssh_key: ops, no_progress: 20, failure_grace: 1}
  gpu: {driver_patience: 60}
  aws: {connect_timeout: 10, read_timeout: 60, attempts: 2}
  onboarding:
    propagation: 12
    person_patience: 60
    template_url: https://templates.s3.us-east-1.amazonaws.com/secondary-account.yaml
    bootstrap:
      "777788889999":
        {role_arn: "arn:aws:iam::777788889999:role/tkgbot-bootstrap", external_id: sandbox-bootstrap}
  accounts:
    management:
      {id: "111122223333", region: us-east-1, access: role, role_arn: "arn:aws:iam::111122223333:role/tkgbot"}
    tenant:
      id: "444455556666"
      region: us-east-1
      access: role
      role_arn: arn:aws:iam::444455556666:role/tkgbot
      external_id: sandbox-external-id
    ambient: {id: "111122223333", region: us-east-1, access: ambient}
policy:
  - name: developers ask, the platform group approves
    operations: ["subnet *"]
    channels: ["CPLATFORM1", "CSHARED001", "CRANDOM001"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
  - name: clusters
    operations: ["cluster *", "gpu *"]
    channels: ["CPLATFORM1"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
    approvals: 1
    time_box_counts: true
  - name: two for what goes for good
    operations: ["cluster delete"]
    clusters: ["twice*"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
  - name: everybody of the team sees how it stands
    operations: ["status"]
    channels: ["CPLATFORM1"]
    ask: {usergroups: ["SDEVS00001", "SPLATFORM1"]}
  - name: accounts
    operations: ["account *"]
    channels: ["CPLATFORM1"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
  - name: two for production
    operations: ["subnet *"]
    clusters: ["prod*"]
    ask: {usergroups: ["SDEVS00001"]}
    approve: {usergroups: ["SPLATFORM1"]}
    approvals: 2
  - name: nobody touches payments from chat
    effect: deny
    operations: ["*"]
    clusters: ["payments*"]
    ask: {members: true}
"""


class World:
    """A running sandbox, and the bots that were started against it."""

    def __init__(self, folder: Path, view: View) -> None:
        self.folder = folder
        self.view = view
        self.bots: list[Process] = []
        self.database: dict[str, str] = {}
        self.settings = folder / "tkgbot.yaml"
        self.settings.write_text(SETTINGS)
        account = view.aws()["accounts"][MANAGEMENT]
        self.vpcs: Json = account["vpcs"]
        self.subnet_tags = view.tags()

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a bot against this sandbox."""
        return {**bot_environment(self.folder, self.settings), **self.database, **more}

    def on_postgres(self, url: str) -> None:
        """Has the bots of this world share a PostgreSQL database."""
        self.database = {"TKGBOT_DATABASE_URL": url, "TKGBOT_AUDIT_KEY": AUDIT_KEY}

    def start_bot(
        self, command: Sequence[str] = ("-m", "bot", "run"), *, connected: bool = True, **more: str
    ) -> Process:
        """Starts a bot; returns when it is connected."""
        bot = start(command, self.folder / "run.log", self.environment(**more))
        self.bots.append(bot)
        if connected:
            wanted = sum(known.poll() is None for known in self.bots)
            seen = self.view.get("/sandbox/wait", sockets=wanted, timeout=START)
            assert seen.get("sockets", 0) >= wanted, self.log()
        return bot

    def start_http_bot(self, **more: str) -> tuple[Process, str]:
        """Starts a bot that is reached over HTTP, and has the workspace deliver there; returns when it is ready."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        bot = self.start_bot(("-m", "bot", "run", "--http", address), connected=False, SLACK_APP_TOKEN="", **more)
        eventually(lambda: bot.poll() is not None or http_status(f"http://{address}/readyz") == 200, START)
        assert bot.poll() is None, self.log()
        self.view.http("POST", "/sandbox/delivery", {"url": f"http://{address}/slack/events"})
        return bot, f"http://{address}"

    def end_bot(self, bot: Process, number: int = signal.SIGTERM) -> int:
        """Ends a bot and waits for it."""
        if bot.poll() is None:
            bot.send_signal(number)
        return bot.wait(timeout=PATIENCE)

    def log(self) -> str:
        """What the bots logged."""
        path = self.folder / "run.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ends(self) -> str:
        """How the logs of every process here end."""
        logs = {path.name: path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))}
        return "\n".join(f"-- the end of {name}\n{text[-TAIL:]}" for name, text in logs.items())

    def subnets(self, *names: str, vpc: str = "demo") -> list[str]:
        """Subnet ids by name."""
        return [self.vpcs[vpc]["subnets"][name] for name in names]

    def public(self, count: int = 3) -> list[str]:
        """Public subnets of the VPC `demo`, one a zone."""
        return self.subnets(*[f"demo-public-{zone}" for zone in "abc"[:count]])

    def ask(self, cluster: str, subnets: Sequence[str], *more: str, user: str = DEV, state: str = "Approval") -> Json:
        """Types `subnet tag` and waits until its card shows `state`."""
        since = self.now()
        answer = self.view.command(user, f"subnet tag {cluster} {' '.join([*subnets, *more])}")
        assert answer.get("acked"), answer
        found: Json = self.view.wait(user, state, since=since)
        return found

    def now(self) -> str:
        """The newest timestamp that the workspace gave, to skip what was there before."""
        newest: str = self.view.get("/sandbox/log", since=10**9)["newest"]
        return newest

    def card(self, card: Json, user: str = DEV) -> Json:
        """The same card as it is now."""
        return next(message for message in self.view.messages(user) if message["ts"] == card["ts"])

    def thread(self, card: Json, user: str = DEV) -> list[Json]:
        """What stands in the card's thread, without the card."""
        return self.view.messages(user, thread=card["ts"])[1:]

    def tagged(self, cluster: str, account: str = MANAGEMENT, region: str = "us-east-1") -> set[str]:
        """The subnets that carry the cluster's tag now."""
        key = f"kubernetes.io/cluster/{cluster}"
        return {name for name, tags in self.view.tags(account, region).items() if key in tags}

    def changes(self) -> list[Json]:
        """The bot's calls that changed EC2."""
        calls = [call for call in self.view.aws_calls() if not call["principal"].endswith(":user/admin")]
        return [call for call in calls if call["mutating"] and call["service"] == "ec2"]

    def held(self) -> list[str]:
        """The actions whose calls AWS is keeping in the air."""
        found: list[str] = self.view.http("GET", "/sandbox/aws/calls")["held"]
        return found

    def wait_until_held(self, action: str = "ec2:CreateTags", count: int = 1) -> None:
        """Until so many calls of that action are in the air."""
        eventually(lambda: self.held().count(action) >= count)

    def lose_answer(self, action: str, act: Callable[[], Any]) -> None:
        """What happens in `act` has AWS carry out a call of that action, whose answer nobody gets."""
        before = len(self.view.aws_calls())
        self.view.aws_faults(hold_answer=[action])
        act()
        self.wait_until_held(action)
        self.view.aws_faults(unreachable=True, hold_answer=[])
        lost = (action, "ConnectionClosed")
        eventually(lambda: lost in {(c["action"], c["outcome"]) for c in self.view.aws_calls()[before:]})
        self.view.aws_faults(unreachable=False)

    def calm(self) -> None:
        """Every fault off."""
        aws = self.view.http("GET", "/sandbox/aws/faults")["faults"]
        self.view.aws_faults(**{name: _off(value) for name, value in aws.items()})
        slack = self.view.get("/sandbox/state")["faults"]
        off = {name: _off(value) for name, value in slack.items() if name not in ("drop_socket", "disconnect")}
        self.view.slack_faults(**{**off, "history_scope": True})
        self.kube_faults(**dict.fromkeys(self.view.http("GET", "/sandbox/kube/faults")["faults"]))

    def kube_faults(self, **faults: Any) -> None:
        """Switches the faults of the management cluster and of its controllers; None puts one back."""
        answer = self.view.http("POST", "/sandbox/kube/faults", faults)
        assert answer.get("ok"), answer


LIVING: list[World] = []
"""The worlds that run in this process now."""
TAIL = 12_000
"""So many characters of each log are told with a failure."""


def _off(value: Any) -> Any:
    return type(value)()


def http_status(url: str) -> int:
    """The status of a GET; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def eventually(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits for what cannot be waited for at the sandbox."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@contextmanager
def running_world(*, ack: float = ACK, **environment: str) -> Iterator[World]:
    """A sandbox of its own, with more in its environment. Ends every process that was started."""
    with tempfile.TemporaryDirectory(prefix="tkgbot-world-") as name:
        folder = Path(name)
        command = ("-m", "bot", "sandbox", "--dir", name, "--ack-seconds", str(ack))
        sandbox = start(command, folder / "sandbox.log", {**os.environ, **environment})
        world: World | None = None
        try:
            eventually(lambda: (folder / "env").exists() or sandbox.poll() is not None, START)
            assert sandbox.poll() is None, (folder / "sandbox.log").read_text()
            lines = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
            world = World(folder, View(lines["SANDBOX_URL"]))
            LIVING.append(world)
            yield world
        except BaseException as error:  # a test that has the world to itself; it is gone when the failure is reported
            error.add_note(world.ends() if world else "")
            raise
        finally:
            LIVING[:] = [other for other in LIVING if other is not world]
            for bot in world.bots if world else []:
                if bot.poll() is None:
                    bot.kill()
                    bot.wait()
            sandbox.terminate()
            try:
                sandbox.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                sandbox.kill()
                sandbox.wait()
