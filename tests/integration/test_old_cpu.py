"""A CPU without AVX instructions, emulated by QEMU."""

import shutil
import subprocess
import sys

import pytest
from helpers import environment, one_line_error, script_command

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="needs qemu-x86_64: apt-get install qemu-user"),
]


@pytest.mark.usefixtures("tensorflow_1")
def test_a_cpu_without_avx_is_a_one_line_error_instead_of_a_crash(tmp_path):
    command = script_command("train.py", "--dataset", "sample", "--max-steps", 1)
    emulator = [shutil.which("qemu-x86_64"), "-cpu", "Nehalem"]
    env = environment()
    env.pop("OPENBLAS_CORETYPE", None)  # it may name a newer CPU, whose instructions NumPy would then use
    options = {"cwd": str(tmp_path), "env": env, "capture_output": True, "text": True}
    crash = subprocess.run([*emulator, sys.executable, "-c", "import tensorflow"], **options)
    assert crash.returncode < 0 or crash.returncode == 132  # so the error is true
    line = one_line_error(subprocess.run([*emulator, *command], **options), 1)
    assert line.startswith("train.py: error: this CPU has no AVX instructions, which TensorFlow's wheels need")
    assert list(tmp_path.iterdir()) == []
