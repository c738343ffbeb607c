"""NVIDIA's sample vectorAdd, as a pod runs it: its lines, and how it fails. Source: cuda-samples, 0_Introduction."""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside.course import Course, ended, running
from sandbox.kube.inside.ground import GPU, Ground
from sandbox.kube.inside.quantities import amount

SECONDS = 1.0
_BEGUN = "[Vector addition of 50000 elements]\n"
_MIDDLE = """Copy input data from the host memory to the CUDA device
CUDA kernel launch with 196 blocks of 256 threads
Copy output data from the CUDA device to the host memory
"""
_PASSED = "Test PASSED\n"
_DONE = "Done\n"
_OLD_DRIVER = (
    "Failed to allocate device vector A (error code CUDA driver version is insufficient for CUDA runtime version)!\n"
)
_FORMAT = "exec /cuda-samples/vectorAdd: exec format error\n"


def is_sample(container: Obj) -> bool:
    """A container that asks for GPUs with one of the samples' images."""
    image = str(container.get("image", ""))
    return "vectoradd" in image.lower() or "cuda-sample" in image


def wants_gpu(container: Obj) -> bool:
    return amount(at(container, "resources", "limits", GPU, default=0)) > 0


def course(ground: Ground, pod: Obj) -> Course:
    """It runs about a second."""
    faults = ground.faults
    if faults.test_image_arch == "exec":
        return ended(255, _FORMAT)
    if not ground.ripe(pod["metadata"]["uid"], "sample", SECONDS):
        return running(_BEGUN)
    if faults.cuda_insufficient:
        return ended(1, _BEGUN + _OLD_DRIVER)
    verdict = "" if faults.test_silent else _PASSED
    return ended(0, _BEGUN + _MIDDLE + verdict + _DONE)
