"""What logs of drivers and of the CUDA test mean, and what is read from real lines of them."""

from __future__ import annotations

import pytest

from handlers.gpu.causes import DRIVER_CAUSES, LINES, TEST_CAUSES, LogCause, cause_of

SAMPLE = """[Vector addition of 50000 elements]
Copy input data from the host memory to the CUDA device
CUDA kernel launch with 196 blocks of 256 threads
Copy output data from the CUDA device to the host memory
Test PASSED
Done
"""


@pytest.mark.parametrize(
    ("line", "means", "fix"),
    [
        ("Could not resolve Linux kernel version", "headers of the node's kernel", "preinstalled"),
        (
            "E: Unable to locate package linux-headers-6.8.0-1015-aws",
            "headers of the node's kernel",
            "newer machine image",
        ),
        ("linux-headers-6.8.0-1015-aws was not found", "headers of the node's kernel", "precompiled"),
        (
            "FATAL: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol 'rcu_read_lock'",
            "does not compile",
            "newer driver",
        ),
        ("os-interface.c:1:2: error: implicit declaration of function 'vma'", "does not compile", "--driver-version"),
        ("make[1]: *** [Makefile:234: modules] Error 2", "does not compile", "newer driver"),
        ("ERROR: The nouveau kernel driver is currently in use", "another driver is loaded", "Blacklist nouveau"),
        ("Error: Module nvidia is in use by: nvidia_uvm", "another driver is loaded", "preinstalled"),
        ("modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", "Secure Boot", "sign the module"),
        ("cp: error writing: No space left on device", "disk is full", "100 GiB"),
        ("Could not resolve 'archive.ubuntu.com'", "cannot reach the package repositories", "mirrors"),
        ("curl: (7) Failed to connect to us.download.nvidia.com: Connection timed out", "cannot reach", "way out"),
        ("No devices were found", "no working GPU", "Replace the machine"),
        ("NVRM: Xid (PCI:0000:00:1e): 79, GPU has fallen off the bus.", "no working GPU", "Replace the machine"),
    ],
)
def test_lines_of_drivers(line: str, means: str, fix: str) -> None:
    found = cause_of(f"Installing\n{line}\nStopping NVIDIA persistence daemon...\n", DRIVER_CAUSES)
    assert found is not None
    assert found[1] == line
    assert means in found[0].means
    assert fix in found[0].fix


@pytest.mark.parametrize(
    ("line", "means"),
    [
        (
            "Failed to allocate device vector A (CUDA driver version is insufficient for CUDA runtime version)!",
            "newer than the driver",
        ),
        ("exec /cuda-samples/vectorAdd: exec format error", "another processor architecture"),
        ("Failed to allocate device vector A (error code no CUDA-capable device is detected)!", "no GPU inside"),
        ("Failed to allocate device vector B (error code out of memory)!", "memory is in use"),
        ("Failed to launch vectorAdd kernel (error code unspecified launch failure)!", "reports an error"),
        ("uncorrectable ECC error encountered", "reports an error"),
    ],
)
def test_lines_of_the_test(line: str, means: str) -> None:
    found = cause_of(f"[Vector addition of 50000 elements]\n{line}\n", TEST_CAUSES)
    assert found is not None
    assert means in found[0].means


@pytest.mark.parametrize("known", [DRIVER_CAUSES, TEST_CAUSES])
def test_what_is_no_cause(known: tuple[LogCause, ...]) -> None:
    good = "Compiling NVIDIA driver kernel modules...\nLoading NVIDIA driver kernel modules...\nDone\n"
    for log in ("", "\n\n", good, SAMPLE, "max exid 7", "pixid 3"):
        assert cause_of(log, known) is None


def test_the_last_cause_counts_and_old_lines_do_not() -> None:
    log = "No devices were found\nCould not resolve Linux kernel version\n"
    found = cause_of(log, DRIVER_CAUSES)
    assert found is not None
    assert found[1] == "Could not resolve Linux kernel version"
    assert cause_of(log + "x\n" * LINES, DRIVER_CAUSES) is None


def test_every_cause_says_what_to_do() -> None:
    for cause in (*DRIVER_CAUSES, *TEST_CAUSES):
        assert cause.means
        assert cause.fix.endswith(".")


@pytest.mark.timeout(60)
def test_a_megabyte_on_one_line_is_read_in_no_time() -> None:
    """A pattern that tries a line again from each of its characters would take hours."""
    for line in ("linux-headers-" + "x" * 2**20, "unable to locate " * 2**16, "could not " * 2**16, "make[1" * 2**17):
        cause_of(line, DRIVER_CAUSES)
        cause_of(line, TEST_CAUSES)
