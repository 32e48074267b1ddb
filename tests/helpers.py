"""Functions that several test files share. Fixtures are in conftest.py."""

import gzip
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from mnist_cnn.data.idx import IDX_FILES
from mnist_cnn.run_dir import checkpoints, directory

ROOT = Path(__file__).resolve().parent.parent
UNREACHABLE_MIRROR = "http://127.0.0.1:9/"  # nothing listens on the discard port


def environment(**variables):
    """This process's environment without MNIST or a cluster, and with a mirror that refuses every connection."""
    isolated = {"MNIST_DATA_DIR": "", "MNIST_MIRROR": UNREACHABLE_MIRROR, "TF_CONFIG": "", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **isolated, **variables}


def script_command(name, *arguments, python=sys.executable):
    return [python, str(ROOT / "scripts" / name), *map(str, arguments)]


def start(command, **options):
    """Starts a process whose stdout and stderr are read as text."""
    return subprocess.Popen(
        command,
        env=options.pop("env", None) or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **options,
    )


def wait_for(condition, process=None, timeout=120):
    """Waits until `condition()` holds, which depends on files that a process writes; it has to be alive, if given."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout} s"
        time.sleep(0.01)


def write_idx(folder, *arrays, pattern="{0}", suffix=""):
    """Writes four arrays as IDX files; `pattern` makes a path of a file's name and its name with a dot."""
    for name, array in zip(IDX_FILES, arrays):
        path = folder / (pattern.format(name, name.replace("-idx", ".idx")) + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
        path.write_bytes((gzip.compress if suffix else bytes)(header + array.tobytes()))


def one_line_error(done, status):
    """The message of a script that failed with this exit status, one line on stderr and nothing on stdout."""
    assert (done.returncode, done.stdout) == (status, ""), done
    (line,) = done.stderr.splitlines()
    return line


def epoch_costs(run_dir):
    """(epoch, average cost, validation accuracy) of each epoch in history.csv."""
    rows = directory.read_history(run_dir)
    return [(row["epoch"], row["avg_cost"], row["validation_accuracy"]) for row in rows]


def checkpoint_bytes(run_dir, step):
    """The files of a checkpoint: equal variables, Adam's slots included, give equal bytes."""
    folder = Path(run_dir, "checkpoints")
    return [(folder / f"step-{step}.{suffix}").read_bytes() for suffix in ("index", "data-00000-of-00001")]


def latest_step(run_dir):
    """The step of the latest checkpoint that is not damaged."""
    return checkpoints.latest_checkpoint(run_dir)[1]["step"]
