"""A CustomResourceDefinition is served some moments after it was made.

Source: the establishing controller of apiextensions-apiserver.
"""

from __future__ import annotations

from sandbox.kube.crd_lifecycle import establish, established
from sandbox.kube.garbage import CRDS
from sandbox.kube.inside.ground import Ground
from sandbox.kube.schema import copied

SECONDS = 0.3


def reconcile(ground: Ground) -> None:
    """Those that wait."""
    for crd in ground.all(CRDS):
        if not established(crd) and ground.ripe(crd["metadata"]["uid"], "established", SECONDS):
            ground.acting("kube-apiserver").save(establish(copied(crd), ground.now()), status=True)
