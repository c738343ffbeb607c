"""Images that a node cannot pull, in containerd's words. Which ones, the switches say."""

from __future__ import annotations

from sandbox.kube.errors import Obj
from sandbox.kube.inside.driver import CONTAINER
from sandbox.kube.inside.ground import Ground
from sandbox.kube.inside.sample import is_sample


def problem(ground: Ground, container: Obj) -> str:
    """Empty where the image is there."""
    faults, image = ground.faults, str(container.get("image", ""))
    missing = (
        (faults.operator_image_missing and "gpu-operator" in image)
        or (faults.driver_image_missing and container["name"] == CONTAINER)
        or (faults.test_image_missing and is_sample(container))
    )
    if missing:
        return _failed(image, f'failed to resolve reference "{image}": {image}: not found')
    if faults.test_image_arch == "manifest" and is_sample(container):
        return _failed(image, "no match for platform in manifest: not found")
    return ""


def _failed(image: str, why: str) -> str:
    return f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": {why}'
