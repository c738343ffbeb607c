"""A real kube-apiserver on etcd, as processes on 127.0.0.1.

The flags are those that controller-runtime's envtest gives (pkg/internal/testing/controlplane), with tokens and RBAC.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import ipaddress
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.contract.api import Api
from tests.contract.server import USERS, Server, wait_for

GROUPS = {"admin": "system:masters"}
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """The process ends also when this one is killed outright."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[Callable[[], bool]]:
    """A running program; what is yielded says whether it still runs."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=_die_with_parent)

    def running() -> bool:
        assert process.poll() is None, f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-3000:]}"
        return True

    try:
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write_key(path: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    no_password = serialization.NoEncryption()
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, no_password))
    return key


def _write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key_file, certificate_file = folder / "server.key", folder / "server.crt"
    key = _write_key(key_file)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(address, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file


class Etcd:
    """One etcd for all API servers of a session; each keeps its objects under a prefix of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(10), retries=False)

    def _post(self, path: str, **body: object) -> dict[str, dict[str, str]]:
        answer = self._pool.request("POST", f"{self.url}/v3/kv/{path}", body=json.dumps(body))
        assert answer.status == 200, answer.data
        found: dict[str, dict[str, str]] = json.loads(answer.data)
        return found

    def healthy(self) -> bool:
        try:
            return self._pool.request("GET", f"{self.url}/health").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def compact(self) -> None:
        """Forgets all revisions but the last, as the API server itself has it done every five minutes."""
        revision = self._post("range", key="AA==")["header"]["revision"]
        self._post("compaction", revision=revision, physical=True)


@contextlib.contextmanager
def etcd(assets: Path, folder: Path) -> Iterator[Etcd]:
    """A running etcd."""
    found = Etcd(f"http://127.0.0.1:{_free_port()}")
    peer = f"http://127.0.0.1:{_free_port()}"
    command = [
        str(assets / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={found.url}",
        f"--advertise-client-urls={found.url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]
    with _process(command, folder / "etcd.log") as running:
        wait_for(lambda: running() and found.healthy(), "etcd answers")
        yield found


def _command(assets: Path, folder: Path, store: str, prefix: str, port: int) -> list[str]:
    certificate, key = _write_certificate(folder)
    account_key = folder / "service-accounts.key"
    _write_key(account_key)
    return [
        str(assets / "kube-apiserver"),
        f"--etcd-servers={store}",
        f"--etcd-prefix=/{prefix}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://127.0.0.1/",
        f"--service-account-key-file={account_key}",
        f"--service-account-signing-key-file={account_key}",
        "--allow-privileged=true",
    ]


@contextlib.contextmanager
def apiserver(assets: Path, folder: Path, store: Etcd, generation: str) -> Iterator[Server]:
    """A running kube-apiserver that is ready, without any definition yet."""
    tokens = {user: secrets.token_hex(16) for user in USERS}
    lines = [f'{token},{user},{user},"{GROUPS.get(user, "")}"' for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("\n".join(lines))
    port = _free_port()
    with _process(_command(assets, folder, store.url, generation, port), folder / "apiserver.log") as running:
        server = Server(
            kind="real",
            generation=generation,
            url=f"https://127.0.0.1:{port}",
            ca_file=folder / "server.crt",
            tokens=tokens,
            make_tokens_expire=store.compact,
            write_log=lambda namespace, pod, text: "",  # no kubelet runs here
        )
        wait_for(lambda: running() and _ready(server.admin), "kube-apiserver ready")
        yield server


def _ready(api: Api) -> bool:
    try:
        return api.get("/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def assets_folder() -> Path | None:
    """The folder that KUBEBUILDER_ASSETS names, if it holds the two servers."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere")
    return folder if all((folder / program).is_file() for program in ("etcd", "kube-apiserver")) else None
