"""Real processes, killed. Whatever the instant, the run that goes on ends in the same bits."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, environment

from mnist_cnn.run_dir import directory

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", 15))


def train_command(run, *arguments):
    return [sys.executable, str(ROOT / "scripts/train.py"), "--run-dir", str(run), *map(str, arguments)]


def start(command, **options):
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **options
    )


def complete(command):
    process = start(command)
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


def wait_for(condition, process):
    """Waits until `condition()` holds, which the files of a live process have to tell."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def costs(run):
    return [(row["epoch"], row["avg_cost"], row["validation_accuracy"]) for row in directory.read_history(run)]


def variables(run, step):
    """The bytes of all variables, Adam's included."""
    folder = run / "checkpoints"
    return [(folder / f"step-{step}.{suffix}").read_bytes() for suffix in ("index", "data-00000-of-00001")]


def equal(run, unbroken, step):
    return costs(run) == costs(unbroken) and variables(run, step) == variables(unbroken, step)


def test_a_chain_of_kills_at_random_instants_ends_in_the_bits_of_an_unbroken_run(mnist_dir, tmp_path):
    # Two epochs of 110 steps. Saved so often that many a kill falls into the saving.
    flags = ["--data-dir", mnist_dir, "--batch-size", 500, "--epochs", 2, "--checkpoint-secs", 0.2]
    unbroken = tmp_path / "unbroken"
    started = time.monotonic()
    process = start(train_command(unbroken, *flags))
    wait_for((unbroken / "checkpoints" / "step-0.json").exists, process)
    to_first_step = time.monotonic() - started
    said, error = process.communicate()
    assert process.returncode == 0, error
    training = time.monotonic() - started - to_first_step
    instants = random.Random(KILLS)
    killed_at = [[]]  # for each chain, the newest step on the disk after each kill
    while sum(map(len, killed_at)) < KILLS:
        run = tmp_path / f"killed_{len(killed_at)}"
        process = start(train_command(run, "--resume", *flags))
        try:
            process.wait(instants.uniform(0.7 * to_first_step, 1.1 * to_first_step + training / 25))
        except subprocess.TimeoutExpired:
            process.kill()
        out, _ = process.communicate()
        if process.returncode == 0:  # this chain came to its end: it is compared, and another begun
            assert out == said and equal(run, unbroken, 220)
            killed_at.append([])
        else:
            assert process.returncode == -signal.SIGKILL
            records = run.glob("checkpoints/step-*.json")
            killed_at[-1].append(max((int(record.stem[len("step-") :]) for record in records), default=None))
    print("newest steps after each kill:", killed_at)
    assert complete(train_command(run, "--resume", *flags)) == said
    assert equal(run, unbroken, 220)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Three epochs on the sample, and what they print."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    return run, complete(train_command(run, "--dataset", "sample", "--epochs", 3))


@pytest.mark.parametrize(
    "signals, status",
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
    ],
    ids=lambda value: "+".join(s.name for s in value) if isinstance(value, list) else "",
)
def test_a_stopped_run_says_how_to_go_on_and_does_to_the_same_bits(unbroken, tmp_path, signals, status):
    run = tmp_path / "run"
    process = start(train_command(run, "--dataset", "sample", "--epochs", 3))
    assert process.stdout.readline().startswith("Epoch: 0001")
    for signum in signals:
        process.send_signal(signum)
    out, error = process.communicate()
    assert process.returncode == status
    assert "Accuracy" not in out
    (line,) = error.splitlines()
    assert line.startswith("train.py: stopped")
    if len(signals) == 1:
        assert f"--resume --run-dir {run}" in line
    assert complete(train_command(run, "--resume")) == unbroken[1]
    assert equal(run, unbroken[0], 120)


def test_a_run_in_use_is_refused_until_its_process_is_dead(unbroken, tmp_path):
    run = tmp_path / "run"
    first = start(train_command(run, "--dataset", "sample", "--epochs", 3))
    wait_for((run / "config.json").exists, first)
    second = start(train_command(run, "--dataset", "sample", "--resume"))
    first.send_signal(signal.SIGSTOP)  # alive, and not done before the second is
    out, error = second.communicate()
    assert (second.returncode, out) == (2, "") and "in use by another process" in error
    first.kill()
    first.communicate()
    assert complete(train_command(run, "--resume")) == unbroken[1]
    assert equal(run, unbroken[0], 120)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    run = tmp_path_factory.mktemp("two_steps") / "run"
    return run, complete(train_command(run, "--dataset", "sample", "--max-steps", 2))


# In the order in which such a run puts them in place.
FILES = ["config.json"]
FILES += [f"checkpoints/{name}" for name in ("step-0.data-00000-of-00001", "step-0.index", "checkpoint", "step-0.json")]
FILES += [f"checkpoints/{name}" for name in ("step-2.data-00000-of-00001", "step-2.index", "step-2.json")]
FILES += ["result.json"]


@pytest.mark.parametrize("name", FILES)
def test_a_kill_between_any_two_renames_loses_nothing(two_steps, tmp_path, name):
    if not shutil.which("strace"):
        pytest.skip("needs strace, which holds a process up after each rename")
    run = tmp_path / "run"
    command = train_command(run, "--dataset", "sample", "--max-steps", 2)
    calls = "rename,renameat,renameat2"
    strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        os.devnull,
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:delay_exit=500000",
    ]
    process = start([*strace, *command], start_new_session=True)
    wait_for((run / name).exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    later = FILES[FILES.index(name) + 1 :]
    assert not [other for other in later if (run / other).exists()]
    assert complete([*command, "--resume"]) == two_steps[1]
    assert equal(run, two_steps[0], 2)
    assert not [path for path in run.rglob("*") if "tmp" in path.name or "tempstate" in path.name]
