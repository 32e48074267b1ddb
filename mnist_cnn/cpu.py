"""Which CPU this is, as far as the system tells."""

import contextlib
import platform
import re
from pathlib import Path


def name():
    model = re.search(r"model name\s*: (.*)", _linux_cpuinfo())
    return model.group(1) if model else platform.processor() or platform.machine()


def is_amd():
    return "AuthenticAMD" in _linux_cpuinfo()


def has_bfloat16():
    return bool(re.search(r"\b(avx512_bf16|amx_bf16)\b", _linux_cpuinfo()))


def _linux_cpuinfo():
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return ""
