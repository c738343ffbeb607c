"""AWS on one machine: an emulator behind a gate that authorises the way AWS does, with fault switches."""

import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from sandbox.aws.faults import Faults

_one = threading.Lock()


class AwsSandbox:
    """One per process at a time, because the emulator's state is the process's. Each start is a fresh world."""

    _thread: threading.Thread | None = None

    def start(self, port: int = 0) -> None:
        """The imports are here because the emulator takes a second to load."""
        if not _one.acquire(blocking=False):
            raise RuntimeError("another AwsSandbox runs in this process")
        try:
            # moto makes many boto3 sessions while it is imported and started; each would parse EC2's model (0.1 s)
            with patch("botocore.loaders.create_loader", cache(resolve_name("botocore.loaders.create_loader"))):
                from sandbox.aws import emulator, gate, world

                self._described, self._ambient = world.build()
                self._gate = gate.Gate(emulator.application())
            self._server = emulator.serve(self._gate, port)
        except BaseException:
            _one.release()
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="sandbox-aws", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Connections that outlive the server find nobody. A second stop does nothing."""
        if self._thread is None:
            return
        self._gate.faults.set({}, close=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._gate.drain()
        self._thread = None
        _one.release()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def env(self) -> dict[str, str]:
        """The bot's ambient credentials: user tkgbot in the management account."""
        key, secret = self._ambient
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": self._described["region"],
        }

    def describe(self) -> dict[str, Any]:
        """Region, organisation, and accounts by number: name, admin keys, role_arn and external_id of the bot's role
        (None where it has none), `bootstrap` with those of the role to begin with, vpcs by name with subnet ids.

        The management account also has `controllers`, the keys of the user that the cluster's controllers can be, and
        `management`: the instance on which they run, its role, and the role of their service account.
        """
        return deepcopy(self._described) | {"organisation": self._gate.organisation}

    def own_keys(self, role_arn: str, name: str, origin: str) -> tuple[str, str, str]:
        """A session that an instance ("instance") or a service account ("web identity") has of its own."""
        return self._gate.identities.own_session(role_arn, name, origin)

    @property
    def faults(self) -> Faults:
        """What is switched on now; change it with set_faults, which wakes what is being held."""
        return self._gate.faults.now

    def read_trust(self, account: str, role: str) -> str | None:
        """The trust policy of a role, as text; None where there is no such role."""
        from sandbox.aws import emulator

        found = emulator.named(account, "role", role)
        return str(found.assume_role_policy_document) if found else None

    def write_trust(self, account: str, role: str, document: str) -> bool:
        """Replaces it, as an administrator of that account would; False where there is no such role."""
        from sandbox.aws import emulator

        found = emulator.named(account, "role", role)
        if found:
            found.assume_role_policy_document = document
        return bool(found)

    def set_faults(self, changes: Mapping[str, Any]) -> None:
        self._gate.faults.set(changes)

    def get_faults(self) -> dict[str, Any]:
        return asdict(self.faults)

    @property
    def held(self) -> list[str]:
        """The actions of the requests that wait in `hold` or `hold_answer` at this moment."""
        return self._gate.faults.held

    def expire_sessions(self) -> None:
        """All temporary credentials handed out so far are expired; new ones work."""
        self._gate.identities.expire()

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.calls_since(0)

    def calls_since(self, n: int) -> list[dict[str, Any]]:
        """The log's entries after number n."""
        return self._gate.log[n:]
