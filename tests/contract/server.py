"""What the tests know of a server, be it the real one or the sandbox's."""

from __future__ import annotations

import base64
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from tests.contract.api import Api
from tests.contract.samples import Shapes

CRDS_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
USERS = ("admin", "tkgbot", "nobody")
READY_S = 60.0

Json = dict[str, Any]


@dataclass
class Server:
    """One running API server with the definitions of one generation."""

    kind: str
    generation: str
    url: str
    ca_file: Path
    tokens: dict[str, str]
    make_tokens_expire: Callable[[], None]
    write_log: Callable[[str, str, str], str]  # (namespace, pod, text) -> what can be read of it
    _clients: dict[str | None, Api] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def shapes(self) -> Shapes:
        return Shapes(self.generation)

    def client(self, token: str | None) -> Api:
        """A client with a token of one's own, or with none."""
        if token not in self._clients:
            self._clients[token] = Api(self.url, str(self.ca_file), token)
        return self._clients[token]

    def user(self, name: str) -> Api:
        return self.client(self.tokens[name])

    @property
    def admin(self) -> Api:
        return self.user("admin")

    def fresh(self, prefix: str = "t") -> str:
        """A name that no other test uses."""
        return f"{prefix}-{next(self._numbers)}"

    def kubeconfig(self, folder: Path, user: str, namespace: str = "default") -> Path:
        """A kubeconfig file for a user."""
        path = folder / f"{user}.kubeconfig"
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        context = {"cluster": "contract", "user": user, "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": user,
            "clusters": [
                {"name": "contract", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "contexts": [{"name": user, "context": context}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
        }
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path


def refuse(reason: str) -> NoReturn:
    """What cannot be asked here is skipped, or failed where the contract is required."""
    if os.environ.get("TKGBOT_CONTRACT") == "required":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def definitions(folder: Path) -> list[Json]:
    """The CustomResourceDefinitions of a folder of YAML files."""
    found = [each for path in sorted(folder.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text()) if each]
    assert found, f"{folder} holds no CustomResourceDefinition"
    return found


def install(api: Api, crds: Iterable[Json]) -> None:
    """Posts definitions and waits until each is established and its served versions are listed and answer."""
    wanted = list(crds)
    for crd in wanted:
        api.post(CRDS_PATH, crd).ok(201)
    for crd in wanted:
        wait_for(lambda crd=crd: established(api, crd["metadata"]["name"]), f"{crd['metadata']['name']} established")
        for path in served_paths(crd):
            wait_for(lambda path=path: api.get(path, limit=1).status == 200, f"{path} served")


def established(api: Api, name: str) -> bool:
    """Is a definition's condition Established true?"""
    conditions = api.get(f"{CRDS_PATH}/{name}").ok().get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def served_paths(crd: Json) -> list[str]:
    """Where the objects of a definition are listed."""
    spec = crd["spec"]
    served = [each["name"] for each in spec["versions"] if each["served"]]
    return [f"/apis/{spec['group']}/{version}/{spec['names']['plural']}" for version in served]


def wait_for(fact: Callable[[], bool], what: str, seconds: float = READY_S) -> None:
    """Waits for a fact, and fails when it does not come."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.05)


def outdated(token: str) -> str:
    """A continue token as this server would have given it at its first revision."""
    padded = token + "=" * (-len(token) % 4)
    content = json.loads(base64.urlsafe_b64decode(padded)) | {"rv": 1}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
