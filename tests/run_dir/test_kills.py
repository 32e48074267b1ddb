"""Real processes, killed or signalled at any time: the resumed run is bit-identical to an uninterrupted one."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from helpers import checkpoint_bytes, epoch_costs, script_command, start, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL, SIGSTOP and SIGHUP"),
]

KILLS = int(os.environ.get("KILLS", 15))


def train_command(run, *arguments):
    return script_command("train.py", "--run-dir", run, *arguments)


def complete(command):
    """Runs a command to its end, and returns its stdout."""
    process = start(command)
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


def equal(run, uninterrupted, step):
    """Whether two runs have the same history and the same bits in all variables at `step`."""
    return epoch_costs(run) == epoch_costs(uninterrupted) and checkpoint_bytes(run, step) == checkpoint_bytes(
        uninterrupted, step
    )


@pytest.mark.long
@pytest.mark.usefixtures("tensorflow_2")
def test_a_chain_of_kills_at_random_times_gives_the_bits_of_an_uninterrupted_run(mnist_dir, tmp_path):
    # Two epochs of 110 steps, with checkpoints so frequent that many kills hit one that is being written.
    flags = ["--data-dir", mnist_dir, "--batch-size", 500, "--epochs", 2, "--checkpoint-secs", 0.2]
    uninterrupted = tmp_path / "uninterrupted"
    started = time.monotonic()
    process = start(train_command(uninterrupted, *flags))
    wait_for((uninterrupted / "checkpoints" / "step-0.json").exists, process)
    startup_seconds = time.monotonic() - started
    expected_out, error = process.communicate()
    assert process.returncode == 0, error
    training_seconds = time.monotonic() - started - startup_seconds
    times = random.Random(KILLS)
    killed_at = [[]]  # for each chain, the latest step on the disk after each kill
    while sum(map(len, killed_at)) < KILLS:
        run = tmp_path / f"killed_{len(killed_at)}"
        process = start(train_command(run, "--resume", *flags))
        try:
            process.wait(times.uniform(0.7 * startup_seconds, 1.1 * startup_seconds + training_seconds / 25))
        except subprocess.TimeoutExpired:
            process.kill()
        out, _ = process.communicate()
        if process.returncode == 0:  # this chain reached the last step: compare it, and start another
            assert out == expected_out and equal(run, uninterrupted, 220)
            killed_at.append([])
        else:
            assert process.returncode == -signal.SIGKILL
            manifests = run.glob("checkpoints/step-*.json")
            killed_at[-1].append(max((int(manifest.stem[len("step-") :]) for manifest in manifests), default=None))
    print("latest steps after each kill:", killed_at)
    assert complete(train_command(run, "--resume", *flags)) == expected_out
    assert equal(run, uninterrupted, 220)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A run of three epochs on the sample, and its stdout."""
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    return run, complete(train_command(run, "--dataset", "sample", "--epochs", 3))


@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.parametrize(
    "signals, status",
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        *([([signal.SIGHUP], 129)] if hasattr(signal, "SIGHUP") else []),
    ],
    ids=lambda value: "+".join(s.name for s in value) if isinstance(value, list) else "",
)
def test_a_signalled_run_prints_how_to_resume_it_bit_identically(uninterrupted, tmp_path, signals, status):
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
    assert complete(train_command(run, "--resume")) == uninterrupted[1]
    assert equal(run, uninterrupted[0], 120)


@pytest.mark.usefixtures("tensorflow_1")
def test_a_run_in_use_is_an_error_until_its_process_is_dead(uninterrupted, tmp_path):
    run = tmp_path / "run"
    first = start(train_command(run, "--dataset", "sample", "--epochs", 3))
    wait_for((run / "config.json").exists, first)
    second = start(train_command(run, "--dataset", "sample", "--resume"))
    first.send_signal(signal.SIGSTOP)  # alive, and not done before the second process
    out, error = second.communicate()
    assert (second.returncode, out) == (2, "") and "in use by another process" in error
    first.kill()
    first.communicate()
    assert complete(train_command(run, "--resume")) == uninterrupted[1]
    assert equal(run, uninterrupted[0], 120)


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    run = tmp_path_factory.mktemp("two_steps") / "run"
    return run, complete(train_command(run, "--dataset", "sample", "--max-steps", 2))


# In the order in which such a run renames them into place.
FILES = ["config.json"]
FILES += [f"checkpoints/{name}" for name in ("step-0.data-00000-of-00001", "step-0.index", "checkpoint", "step-0.json")]
FILES += [f"checkpoints/{name}" for name in ("step-2.data-00000-of-00001", "step-2.index", "step-2.json")]
FILES += ["result.json"]


@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in FILES[5:7] else name for name in FILES]
)
def test_a_kill_between_any_two_renames_loses_nothing(two_steps, tmp_path, name):
    if not shutil.which("strace"):
        pytest.skip("needs strace, which delays the process after each rename")
    run = tmp_path / "run"
    command = train_command(run, "--dataset", "sample", "--max-steps", 2)
    calls = "rename,renameat,renameat2"
    delay = ["-e", f"trace={calls}", "-e", f"inject={calls}:delay_exit=500000"]
    process = start(["strace", "-f", "-qq", "-o", os.devnull, *delay, *command], start_new_session=True)
    wait_for((run / name).exists, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    later_files = FILES[FILES.index(name) + 1 :]
    assert not [later for later in later_files if (run / later).exists()]
    assert complete([*command, "--resume"]) == two_steps[1]
    assert equal(run, two_steps[0], 2)
    assert not [path for path in run.rglob("*") if "tmp" in path.name or "tempstate" in path.name]
