"""Each case runs against a real kube-apiserver and against the sandbox's, and has to find the same.

`KUBEBUILDER_ASSETS` names the folder of kube-apiserver, etcd and kubectl (`.ci/kube/build` makes one), `TKGBOT_CRDS`
the folder with the published definitions in `current/` and `legacy/`. Without them the cases of the real server are
skipped; with `TKGBOT_CONTRACT=required` they fail instead.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.imitation import compact_crds, imitation
from tests.contract.kubectl import Kubectl, program
from tests.contract.real import Etcd, apiserver, assets_folder, etcd
from tests.contract.server import Server, definitions, install, refuse

KINDS = ("real", "sandbox")
PASSED: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contract: asks a real kube-apiserver and the sandbox's the same")
    config.addinivalue_line("markers", "published: needs the published definitions; the sandbox's own are smaller")
    config.addinivalue_line("markers", "generations(*names): the generations of definitions that a case is run with")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The gate plays the sandbox's half only, wherever it runs."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.contract)
    if config.getoption("--gate"):
        real = {item for item in items if _is_real(item)}
        config.hook.pytest_deselected(items=[item for item in items if item in real])
        items[:] = [item for item in items if item not in real]


def _is_real(item: pytest.Item) -> bool:
    kind, _ = getattr(getattr(item, "callspec", None), "params", {}).get("server", ("", ""))
    return kind == "real"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("generations")
        generations = marker.args if marker else ("current",)
        pairs = [(kind, generation) for generation in generations for kind in KINDS]
        ids = [f"{kind}-{generation}" for kind, generation in pairs]
        metafunc.parametrize("server", pairs, indirect=True, ids=ids, scope="session")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        for kind in KINDS:
            PASSED[kind] += f"[{kind}-" in report.nodeid


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if sum(PASSED.values()):
        said = ", ".join(f"{kind} {PASSED[kind]} passed" for kind in KINDS)
        terminalreporter.write_line(f"contract: {said}")


def _crds(generation: str) -> Path | None:
    folder = os.environ.get("TKGBOT_CRDS")
    return Path(folder) / generation if folder else None


class Servers:
    """The servers of a session, each started when a case first asks for it."""

    def __init__(self, stack: contextlib.ExitStack, new_folder: Callable[[str], Path]) -> None:
        self._stack, self._new_folder = stack, new_folder
        self._running: dict[tuple[str, str], Server] = {}
        self._etcd: Etcd | None = None

    def get(self, kind: str, generation: str) -> Server:
        if (kind, generation) not in self._running:
            start = self._real if kind == "real" else self._sandbox
            self._running[kind, generation] = start(generation)
        return self._running[kind, generation]

    def _real(self, generation: str) -> Server:
        assets, crds = assets_folder(), _crds(generation)
        if assets is None:
            refuse("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd (.ci/kube/build makes one)")
        if crds is None:
            refuse("TKGBOT_CRDS names no folder with the published definitions")
        assert assets is not None
        assert crds is not None
        if self._etcd is None:
            self._etcd = self._stack.enter_context(etcd(assets, self._new_folder("etcd")))
        folder = self._new_folder(f"real-{generation}")
        server = self._stack.enter_context(apiserver(assets, folder, self._etcd, generation))
        install(server.admin, definitions(crds))
        return server

    def _sandbox(self, generation: str) -> Server:
        folder = self._new_folder(f"sandbox-{generation}")
        server = self._stack.enter_context(imitation(folder, generation))
        published = _crds(generation)
        install(server.admin, definitions(published) if published else compact_crds(generation))
        return server


@pytest.fixture(autouse=True)
def skip_without_published(request: pytest.FixtureRequest) -> None:
    """What the sandbox's own, smaller definitions leave out is asked only of the published ones."""
    if request.node.get_closest_marker("published") and not os.environ.get("TKGBOT_CRDS"):
        refuse("TKGBOT_CRDS names no folder with the published definitions, and the sandbox's own leave this out")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All servers end with the session, whatever happens."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack, tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def server(servers: Servers, request: pytest.FixtureRequest) -> Server:
    """A server, real or not, of one generation."""
    kind, generation = request.param
    return servers.get(kind, generation)


@pytest.fixture
def namespace(server: Server) -> str:
    """A namespace of the case's own."""
    name = server.fresh("ns")
    server.admin.post("/api/v1/namespaces", server.shapes.object("namespaces", name)).ok(201)
    return name


@pytest.fixture
def kubectl_of(server: Server, namespace: str, tmp_path: Path) -> Callable[[str], Kubectl]:
    """Makes the kubectl of a user."""
    path = program()
    if path is None:
        refuse("there is no kubectl, neither beside the server nor on the PATH")
    return lambda user: Kubectl(path, tmp_path, server.kubeconfig(tmp_path, user, namespace))


@pytest.fixture
def kubectl(kubectl_of: Callable[[str], Kubectl]) -> Kubectl:
    """The admin's."""
    return kubectl_of("admin")


@pytest.fixture
def demo_cluster(server: Server, namespace: str) -> str:
    """The path of clusters, of which `demo` is there and provisioned."""
    path = server.shapes.path("clusters", namespace)
    server.admin.post(path, server.shapes.cluster("demo", labels={"team": "a"})).ok(201)
    server.admin.merge(f"{path}/demo/status", {"status": {"phase": "Provisioned"}}).ok(200)
    return path
