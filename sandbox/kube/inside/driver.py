"""The driver's container: it compiles for some minutes, loads the modules and stays; or it says why it cannot.

Source: NVIDIA's gpu-driver-container (its script's lines), and issues of the gpu-operator for what goes wrong.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside.course import Course, ended, ready, running
from sandbox.kube.inside.ground import Ground

CONTAINER = "nvidia-driver-ctr"
COMPILE = 3.0
"""Seconds at pace 1; five to fifteen minutes in the real world."""
LOADED = 0.8
"""The part of the time after which the modules are compiled."""
CRASHES = ("kernel-headers", "gpl", "nouveau")
KERNEL, OS_ID, OS_VERSION = "6.8.0-1029-aws", "ubuntu", "24.04"
OS_IMAGE = "Ubuntu 24.04 LTS"
OLDEST, LAST_FOR_VOLTA = 535, 580
"""Branches of drivers: the first that compiles for this kernel, the last that knows a V100."""

_HEAD = """DRIVER_ARCH is {arch}
Creating directory NVIDIA-Linux-{arch}-{version}
Verifying archive integrity... OK
Uncompressing NVIDIA Accelerated Graphics Driver for Linux-{arch} {version}

========== NVIDIA Software Installer ==========

Starting installation of NVIDIA driver version {version} for Linux kernel version {kernel}

Stopping NVIDIA persistence daemon...
Unloading NVIDIA driver kernel modules...
Unmounting NVIDIA driver rootfs...
Checking NVIDIA driver packages...
Updating the package cache...
Resolving Linux kernel version...
"""
_BUILD = """Proceeding with Linux kernel version {kernel}
Installing Linux kernel headers...
Installing Linux kernel module files...
Generating Linux kernel version string...
Compiling NVIDIA driver kernel modules...
"""
_LOAD = """Relinking NVIDIA driver kernel modules...
Building NVIDIA driver package nvidia-modules-{kernel}...
Installing NVIDIA driver kernel modules...
Parsing kernel module parameters...
Loading ipmi and i2c_core kernel modules...
Loading NVIDIA driver kernel modules...
"""
_DONE = """Starting NVIDIA persistence daemon...
Mounting NVIDIA driver rootfs...
Done, now waiting for signal
"""
_HEADERS = "Could not resolve Linux kernel version\n"
_GPL = """FATAL: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol 'rcu_read_unlock_strict'
make[2]: *** [scripts/Makefile.modpost:145: Module.symvers] Error 1
make[1]: *** [Makefile:1886: modpost] Error 2
make: *** [Makefile:85: modules] Error 2
Stopping NVIDIA persistence daemon...
Unloading NVIDIA driver kernel modules...
Unmounting NVIDIA driver rootfs...
"""
_UNSUPPORTED = """modprobe: ERROR: could not insert 'nvidia': No such device
Stopping NVIDIA persistence daemon...
Unloading NVIDIA driver kernel modules...
Unmounting NVIDIA driver rootfs...
"""
_NOUVEAU = """modprobe: ERROR: could not insert 'nvidia': No such device
Error: the nouveau kernel driver is currently in use by this system; it must be disabled before the NVIDIA driver loads
Stopping NVIDIA persistence daemon...
Unloading NVIDIA driver kernel modules...
Unmounting NVIDIA driver rootfs...
"""


def course(ground: Ground, pod: Obj, node: Obj) -> Course:
    """Running while it compiles, ready when the modules are loaded; a crash takes a loaded driver down, too."""
    uid, faults = pod["metadata"]["uid"], ground.faults
    words = {"version": version_of(pod), "kernel": kernel(node), "arch": _arch(node)}
    head, build, load = (part.format(**words) for part in (_HEAD, _BUILD, _LOAD))
    crash = faults.driver_crash or _misfit(ground.machine(node["metadata"]["name"]).family, words["version"])
    if crash:
        ground.restart(uid, "compile")
        failed = {"kernel-headers": _HEADERS, "gpl": build + _GPL, "nouveau": build + load + _NOUVEAU}
        return ended(1, head + {**failed, "gpu": build + load + _UNSUPPORTED}[crash])
    if faults.slow_driver and not _loaded(pod):
        ground.restart(uid, "compile")
        return running(head + build)
    if not ground.ripe(uid, "compile", COMPILE):
        far = ground.waited(uid, "compile") / (COMPILE * faults.pace)
        ground.later(COMPILE * faults.pace / 10)
        return running(head + (build if far > 0.2 else "") + (load if far > LOADED else ""))
    return ready(head + build + load + _DONE)


def _misfit(family: str, version: str) -> str:
    """A driver that is too old for this kernel does not compile; one that is too new for the GPU does not load."""
    major = version.split(".")[0]
    if not major.isdigit():
        return ""
    if int(major) < OLDEST:
        return "gpl"
    return "gpu" if family == "volta" and int(major) > LAST_FOR_VOLTA else ""


def version_of(pod: Obj) -> str:
    """The tag without the operating system."""
    container = next(one for one in pod["spec"]["containers"] if one["name"] == CONTAINER)
    return str(container["image"]).rpartition(":")[2].partition("-")[0]


def kernel(node: Obj) -> str:
    return str(at(node, "status", "nodeInfo", "kernelVersion", default=KERNEL))


def _loaded(pod: Obj) -> bool:
    """A driver that is loaded is not compiled again."""
    return any(entry.get("ready") for entry in at(pod, "status", "containerStatuses", default=[]))


def _arch(node: Obj) -> str:
    return "aarch64" if at(node, "status", "nodeInfo", "architecture") == "arm64" else "x86_64"
