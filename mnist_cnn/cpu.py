"""CPU detection."""

import contextlib
import platform
import re
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


def _read_cpuinfo() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return ""
