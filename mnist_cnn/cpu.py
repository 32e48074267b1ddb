"""CPU detection."""

import contextlib
import faulthandler
import os
import platform
import re
import signal
from pathlib import Path


def get_name() -> str:
    """Returns the model name of the CPU, or its architecture where the system does not report the model."""
    model = re.search(r"model name\s*: (.*)", _read_cpuinfo())
    return model.group(1) if model else platform.processor() or platform.machine()


def is_amd() -> bool:
    """Whether this is an AMD CPU. Detected on Linux only."""
    return "AuthenticAMD" in _read_cpuinfo()


def has_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions. Detected on Linux only."""
    return bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", _read_cpuinfo()))


def has_avx() -> bool:
    """Whether the CPU has AVX instructions, which TensorFlow's wheels need; True for CPUs other than x86.

    NumPy asks the CPU itself: emulators such as QEMU show another one's /proc/cpuinfo.
    """
    import numpy as np  # the commands' --help imports this module, and is quick without NumPy

    core = getattr(np, "_core", None) or np.core
    features = getattr(core._multiarray_umath, "__cpu_features__", {})
    return platform.machine() not in ("x86_64", "AMD64") or features.get("AVX", True)


def check_import(module: str) -> None:
    """Raises ImportError if this CPU lacks AVX instructions and a module cannot be imported without them.

    Such an import kills the process. So a forked process tries it: the module may also be a build without AVX.
    """
    if has_avx() or not hasattr(os, "fork"):
        return
    process = os.fork()
    if process == 0:
        try:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            faulthandler.disable()  # it may report on another file descriptor
            __import__(module)
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGILL:
        raise ImportError(
            "this CPU has no AVX instructions, which TensorFlow's wheels need; in a virtual machine, choose the "
            'host\'s CPU as its CPU model (QEMU and Proxmox: "host", libvirt: "host-passthrough")'
        )


def _read_cpuinfo() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return ""
