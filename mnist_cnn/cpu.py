"""CPU detection, and the setting of TensorFlow that depends on it."""

import contextlib
import faulthandler
import os
import platform
import re
import signal
from pathlib import Path
from typing import Any, Dict


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
    """Whether the CPU has AVX instructions, which TensorFlow's wheels need; True for CPUs other than x86."""
    return platform.machine() not in ("x86_64", "AMD64") or _read_features().get("AVX", True)


def use_onednn() -> None:
    """Makes TensorFlow 2 use oneDNN if the CPU has AVX2, unless its environment variable is set.

    Call it before TensorFlow is imported. On Linux, TensorFlow's default is oneDNN only on CPUs with VNNI, bfloat16 or
    AMX instructions. With AVX2 alone it is faster too (measured in docs/benchmarks.md).
    """
    if _read_features().get("AVX2"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def check_import(module: str) -> None:
    """Raises ImportError if this CPU lacks AVX instructions and a module cannot be imported without them.

    Such an import kills the process with SIGILL, so a forked process tries it first. A build without AVX is accepted.
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


def _read_features() -> Dict[str, bool]:
    """Returns for the name of each CPU feature that NumPy knows whether this CPU has it.

    NumPy reads CPUID. /proc/cpuinfo would be wrong in an emulator such as QEMU, which shows the host's.
    """
    import numpy as np  # the commands' --help imports this module, and is quick without NumPy

    core: Any = getattr(np, "_core", None) or np.core
    return getattr(core._multiarray_umath, "__cpu_features__", {})


def _read_cpuinfo() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return ""
