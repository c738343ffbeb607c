"""Running kubectl: the one beside the server or the one on the PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

BOUND_S = 60


def program() -> str | None:
    """The kubectl to use."""
    beside = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere") / "kubectl"
    return str(beside) if beside.is_file() else shutil.which("kubectl")


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one user in one namespace."""

    path: str
    folder: Path
    kubeconfig: Path

    def command(self, *arguments: str) -> list[str]:
        cache = f"--cache-dir={self.folder / 'cache'}"
        return [self.path, f"--kubeconfig={self.kubeconfig}", cache, *arguments]

    def __call__(self, *arguments: str, sent: object = None) -> Said:
        """Runs it to its end; what is sent goes in as a file by `-f -`."""
        text = yaml.safe_dump(sent) if sent is not None else None
        done = subprocess.run(
            self.command(*arguments), input=text, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def good(self, *arguments: str, sent: object = None) -> str:
        """What it says on success."""
        said = self(*arguments, sent=sent)
        assert said.code == 0, said.err
        return said.out


def table(text: str) -> list[dict[str, str]]:
    """The rows of kubectl's table; its columns stand below their heads."""
    head, *lines = text.splitlines()
    heads = list(re.finditer(r"\S+(?: \S+)*", head))
    ends = [each.start() for each in heads[1:]] + [None]
    return [
        {each.group(): line[each.start() : end].strip() for each, end in zip(heads, ends, strict=True)}
        for line in lines
    ]
