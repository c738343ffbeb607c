"""`gpu uninstall`: takes away what `gpu install` put into a cluster. Its ClusterPolicy goes first, so that the operator
takes away its drivers and plugins itself; then the operator, and last the definitions and the namespace.

Only what this bot applied: each object carries its mark. (NVIDIA GPU Operator documentation, "Uninstalling".)
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers.cluster_place import PlaceArguments
from handlers.conditions import Object, at, mapping_at, name_of, objects_at, text
from handlers.contract import (
    Check,
    Fact,
    Fatal,
    Impact,
    Inverse,
    Json,
    Kind,
    KubeRead,
    Operation,
    Plan,
    ReadWorld,
    Retry,
    Right,
    Step,
    Table,
)
from handlers.gpu.parts import DEFINED, there
from handlers.gpu.reach import reached
from handlers.gpu.seen import GPU, Gpus, look, quantity
from handlers.gpu_install import installed
from handlers.kinds import CLUSTER_POLICY, POD
from handlers.preflight.look import counted
from handlers.steps.remove import RemoveStep, Seen
from handlers.subnet_checks import blocks, passes, warns

PATIENCE = 600.0
"""Seconds that nothing may move while objects go."""
Part = tuple[Kind, Json]


class UninstallArguments(PlaceArguments):
    """Which cluster."""


class GpuUninstall(Operation[UninstallArguments]):
    """Takes the GPU operator out of a cluster."""

    name = "gpu uninstall"
    summary = "Take the GPU operator out of a cluster again"
    examples = ("gpu uninstall vision",)
    arguments = UninstallArguments

    def plan(self, arguments: UninstallArguments, world: ReadWorld) -> Plan:
        """Looks for everything that carries the bot's mark, and for who uses GPUs."""
        kube, seen = reached(arguments, world)
        if kube is None:
            return _plan(arguments, seen, (), ())
        parts, gpus = list(there(kube)), look(kube)
        seen += [_ours(parts, gpus), _users(kube)]
        steps = () if any(check.blocks for check in seen) else tuple(_steps(arguments, parts))
        return _plan(arguments, seen, parts, steps, installed(gpus))

    def verify(self, arguments: UninstallArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Looks for the bot's marks anew."""
        title, name = "Nothing of it is left", "verify gone"
        try:
            kube = world.workload(arguments.namespace, arguments.cluster)
            left = [f"{kind.name} {name_of(item)}" for kind, item in there(kube)]
            left += [
                f"DaemonSet {name_of(item)}" for item in look(kube).daemon_sets if name_of(item).startswith("nvidia-")
            ]
        except (Fatal, Retry) as error:
            return [blocks(name, title, error.message, error.hint)]
        if left:
            return [
                blocks(name, title, f"Still there: {', '.join(left[:5])}.", "Its controllers have to let go of it.")
            ]
        return [passes(name, title, f"No object of the bot's GPU operator is in {arguments.cluster} any more.")]

    def inverse(self, arguments: UninstallArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """The same version, installed anew."""
        if not touched:
            return None
        before = next((step.before for step in plan.steps if step.before.get("operator")), {})
        versions = {"operator_version": before.get("operator"), "driver_version": before.get("driver"), "method": None}
        return Inverse(operation="gpu install", arguments={**arguments.place, **versions})


def _ours(parts: Sequence[Part], gpus: Gpus) -> Check:
    title = "What this bot installed"
    if parts:
        return passes("ours", title, f"{counted(len(parts), 'object')} carry its mark.")
    if gpus.operator is not None:
        evidence = f"There is a GPU operator in {gpus.namespace} that somebody else installed."
        return blocks("ours", title, evidence, "Take it out where it came from: a Helm release with Helm.")
    return passes("ours", title, "There is nothing.")


def _users(kube: KubeRead) -> Check:
    """Pods that hold GPUs lose them, or rather: new ones do not get any."""
    title = "Who uses GPUs"
    users = [
        f"{text(pod, 'metadata', 'namespace')}/{name_of(pod)}"
        for pod in kube.pages(POD)
        if text(pod, "status", "phase") in ("Running", "Pending") and holds_gpu(pod)
    ]
    if users:
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        fix = "They end or stay pending without it: talk to their owners first."
        return warns("users", title, f"{', '.join(users[:5])}{more}.", fix)
    return passes("users", title, "No pod asks for one.")


def holds_gpu(pod: Object) -> bool:
    """Does a container of the pod ask for GPUs?"""
    return any(
        quantity(at(container, "resources", "limits", GPU)) > 0 for container in objects_at(pod, "spec", "containers")
    )


def _steps(arguments: UninstallArguments, parts: Sequence[Part]) -> list[Step]:
    """Three waves, each gone before the next one."""
    waves = (
        ("the ClusterPolicy, with which drivers and plugins go", [p for p in parts if p[0] is CLUSTER_POLICY]),
        ("the operator and node feature discovery",
         [p for p in parts if p[0] is not CLUSTER_POLICY and p[0] not in DEFINED]),
        ("definitions and namespace", [p for p in parts if p[0] in DEFINED]),
    )  # fmt: skip
    versions = _versions(parts)
    return [
        RemoveStep(
            title=f"delete {what}",
            targets=(f"gpus of {arguments.namespace}/{arguments.cluster}",),
            rights=tuple(
                Right(
                    verb="delete", resource=kind.resource, namespace=text(item, "metadata", "namespace"),
                    name=name_of(item), cluster=f"{arguments.namespace}/{arguments.cluster}",
                )
                for kind, item in wave
            ),
            cluster=f"{arguments.namespace}/{arguments.cluster}",
            objects=tuple(
                Seen(
                    resource=kind.resource, namespace=text(item, "metadata", "namespace"), name=name_of(item),
                    uid=text(item, "metadata", "uid"),
                )
                for kind, item in wave
            ),
            patience=PATIENCE,
            before=versions,
        )
        for what, wave in waves
        if wave
    ]  # fmt: skip


def _versions(parts: Sequence[Part]) -> Json:
    """What an undo installs again."""
    policy = next((item for kind, item in parts if kind is CLUSTER_POLICY), None)
    labels = [mapping_at(item, "metadata", "labels").get("app.kubernetes.io/version", "") for _, item in parts]
    operator = next((said for said in labels if said.startswith("v")), None)
    enabled = at(policy, "spec", "driver", "enabled")
    driver = "preinstalled" if enabled is False else text(policy, "spec", "driver", "version") or None
    return {"operator": operator, "driver": driver}


def _called(kind: Kind, item: Json) -> str:
    return f"{kind.name} {'/'.join(filter(None, (text(item, 'metadata', 'namespace'), name_of(item))))}"


def _plan(
    arguments: UninstallArguments, seen: Sequence[Check], parts: Sequence[Part], steps: tuple[Step, ...],
    version: str = "",
) -> Plan:  # fmt: skip
    what = f"GPU operator {version}" if version else "the GPU operator"
    rows = [(kind.name, name_of(item), text(item, "metadata", "namespace") or "-") for kind, item in parts]
    deleted = tuple(f"{kind.name} {name_of(item)}" for kind, item in parts) if steps else ()
    return Plan(
        headline=f"take {what} out of {arguments.cluster}",
        checks=tuple(seen),
        facts=tuple(Fact(name=_called(kind, item), value=text(item, "metadata", "uid"), material=False)
                    for kind, item in parts),
        targets=(f"gpus of {arguments.namespace}/{arguments.cluster}",) if steps else (),
        steps=steps,
        impact=Impact(deletes=deleted, reversible=True, undo=f"/tkg gpu install {arguments.cluster}" if steps else "",
                      cost_per_hour_usd=0.0),
        details=Table(header=("Kind", "Name", "Namespace"), rows=tuple(rows)) if rows and steps else None,
    )  # fmt: skip


OPERATIONS = (GpuUninstall(),)
