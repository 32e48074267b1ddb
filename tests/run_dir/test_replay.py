"""train.py --replay: the snapshots of a run, in real runs, one of which is killed; and files that are no snapshots."""

import io
import json
import os
import shutil
import signal
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from helpers import checkpoint_bytes, one_line_error, script_command, start, wait_for

from mnist_cnn import Dataset, InputError, Recipe, Split, restore_run, train
from mnist_cnn.evaluation import run_batches
from mnist_cnn.run_dir.replay import VALIDATION_IMAGES, choose_steps, list_snapshots, read_snapshot

RECIPE = Recipe(epochs=2, batch_size=30, learning_rate=0.001, keep_prob=0.8)  # 20 steps of `small`
SHAPES = {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [3136, 256], "W4": [256, 10]}


@pytest.fixture(scope="module")
def recorded(small, tmp_path_factory):
    """A run with 8 snapshots."""
    run = tmp_path_factory.mktemp("recorded") / "run"
    train(small, run, RECIPE, replay=8)
    return run


def assert_same_snapshots(run, other):
    names = {path.name for path in (run / "replay").iterdir()}
    assert names == {path.name for path in (other / "replay").iterdir()}
    for name in names:
        with np.load(str(run / "replay" / name)) as file, np.load(str(other / "replay" / name)) as other_file:
            assert set(file.files) == set(other_file.files) == {*SHAPES, "cost", "accuracy"}
            for array in file.files:
                np.testing.assert_array_equal(file[array], other_file[array])


def test_snapshots_are_kept_of_step_0_the_last_step_and_some_between(recorded):
    steps = list_snapshots(recorded)
    assert len(steps) == 8 and steps[0] == 0 and steps[-1] == 20
    assert steps[:4] == [0, 1, 2, 3]  # close at the start, where the network changes most
    for step in steps:
        snapshot = read_snapshot(recorded, step, SHAPES)
        assert {name: list(array.shape) for name, array in snapshot.weights.items()} == SHAPES
        assert {array.dtype for array in snapshot.weights.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("last_step", [1, 2, 20, 99, 859, 12870, 10**6])
def test_as_many_steps_are_chosen_as_were_asked_for_or_all(last_step):
    for number in range(3, 101):
        steps = choose_steps(number, last_step)
        assert len(steps) == min(number, last_step + 1)
        assert min(steps) == 0 and max(steps) == last_step


def test_the_last_snapshot_has_the_checkpoints_weights_rounded_to_float16(recorded):
    with restore_run(recorded) as (session, model):
        weights = session.run(model.weights)
    snapshot = read_snapshot(recorded, 20, SHAPES)
    for name, array in weights.items():
        np.testing.assert_array_equal(snapshot.weights[name], array.astype(np.float16))


def test_cost_and_accuracy_are_those_of_the_first_1000_validation_images(small, sample, tmp_path):
    images = np.concatenate([sample.validation.images, sample.train.images[1000:2000]])
    labels = np.concatenate([sample.validation.labels, sample.train.labels[1000:2000]])
    dataset = Dataset("wide", small.train, Split(images, labels), small.test)
    train(dataset, tmp_path / "run", replace(RECIPE, initial_weights="he"), max_steps=15, replay=3)
    split = Split(images[:VALIDATION_IMAGES], labels[:VALIDATION_IMAGES])
    with restore_run(tmp_path / "run") as (session, model):
        logits = run_batches(session, model, model.logits, split).astype(float)
    assert len(logits) == 1000
    shifted = logits - logits.max(1, keepdims=True)
    costs = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(1000), split.labels]
    snapshot = read_snapshot(tmp_path / "run", 15, {})
    assert snapshot.accuracy == (logits.argmax(1) == split.labels).mean() > 0.5
    assert snapshot.cost == pytest.approx(costs.mean(), rel=1e-5)


def test_snapshots_change_nothing_else_in_a_run(small, recorded, tmp_path):
    train(small, tmp_path / "run", RECIPE)
    for step in (0, 10, 20):
        assert checkpoint_bytes(tmp_path / "run", step) == checkpoint_bytes(recorded, step)
    assert not (tmp_path / "run" / "replay").exists() and list_snapshots(tmp_path / "run") == []
    with_replay, without = (json.loads((run / "config.json").read_text()) for run in (recorded, tmp_path / "run"))
    assert with_replay.pop("replay") == 8
    assert with_replay == without


def test_a_resumed_run_writes_the_snapshots_after_its_checkpoint_again(small, recorded, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(str(recorded), str(run))
    (run / "checkpoints" / "step-20.json").unlink()  # the latest checkpoint is now that of step 10
    (run / "replay" / "step-12.npz").write_bytes(b"")
    (run / "replay" / "step-20.npz").unlink()
    (run / "replay" / "step-20.npz.77.tmp").write_text("left behind by a killed process")
    train(small, run, resume=True)
    assert json.loads((run / "config.json").read_text())["replay"] == 8
    assert_same_snapshots(run, recorded)


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_to_the_same_snapshots(tmp_path):
    def train_command(run, *flags):
        return script_command("train.py", "--run-dir", run, *flags)

    def complete(command):
        process = start(command)
        _, error = process.communicate()
        assert process.returncode == 0, error

    flags = ["--dataset", "sample", "--epochs", 2, "--replay", 15]  # 80 steps
    complete(train_command(tmp_path / "uninterrupted", *flags))
    steps = list_snapshots(tmp_path / "uninterrupted")
    assert len(steps) == 15 and steps[-1] == 80
    run = tmp_path / "killed"
    # Killed before the first epoch's checkpoint, and after it.
    for step, arguments in ((steps[5], flags), (steps[-3], ["--resume"])):
        process = start(train_command(run, *arguments))
        wait_for((run / "replay" / f"step-{step}.npz").exists, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert steps[-1] not in list_snapshots(run)
    complete(train_command(run, "--resume"))
    assert_same_snapshots(run, tmp_path / "uninterrupted")


def test_a_snapshot_that_cannot_be_written_is_one_line_and_training_goes_on(small, recorded, tmp_path, caplog):
    run = tmp_path / "run"
    run.mkdir()
    (run / "replay").write_text("a file where the folder should be")
    assert train(small, run, RECIPE, resume=True, replay=8)["completed"] is True
    lines = [line for line in caplog.messages if line.startswith("the snapshot of step ")]
    assert len(lines) == 8
    for line in lines:
        assert "cannot be written" in line and line.endswith("; continuing") and len(line.splitlines()) == 1
    assert checkpoint_bytes(run, 20) == checkpoint_bytes(recorded, 20)
    assert list_snapshots(run) == []


def test_weights_beyond_float16_end_neither_the_run_nor_print_a_warning(small, tmp_path, recwarn):
    recipe = Recipe(epochs=1, batch_size=300, learning_rate=1e5, keep_prob=1)  # one step, of 100,000 in each weight
    train(small, tmp_path / "run", recipe, replay=3)
    assert not [warning for warning in recwarn if "overflow" in str(warning.message)]
    with pytest.raises(InputError, match="W1 is not finite"):
        read_snapshot(tmp_path / "run", 1, SHAPES)


def npy(array=None, header=None, content=b""):
    """A file of an .npz archive: an array, or a header of one's choice and bytes."""
    file = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(content)
    else:
        np.lib.format.write_array(file, array)
    return file.getvalue()


def write_snapshot(run, method=zipfile.ZIP_STORED, **changed):
    """Writes a small snapshot of step 5, in which some files differ; None leaves a file out."""
    weights = np.arange(6, dtype=np.float16).reshape(3, 2)
    files = {"W1": npy(weights), "cost": npy(np.array(0.5)), "accuracy": npy(np.array(0.75)), **changed}
    (run / "replay").mkdir(exist_ok=True)
    path = run / "replay" / "step-5.npz"
    with zipfile.ZipFile(str(path), "w", method) as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(f"{name}.npy", content)
    return path


def refuse(run, message, step=5):
    """Checks that the snapshot is an error of one line that names its file."""
    with pytest.raises(InputError, match=message) as error:
        read_snapshot(run, step, {"W1": [3, 2]})
    text = str(error.value)
    assert str(run / "replay" / f"step-{step}.npz") in text and len(text.splitlines()) == 1 and len(text) < 500


def test_a_small_snapshot_is_read(tmp_path):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        write_snapshot(tmp_path, method)
        weights, cost, accuracy = read_snapshot(tmp_path, 5, {"W1": [3, 2]})
        np.testing.assert_array_equal(weights["W1"], [[0, 1], [2, 3], [4, 5]])
        assert (cost, accuracy) == (0.5, 0.75)


def test_a_missing_snapshot_is_an_error(tmp_path):
    write_snapshot(tmp_path)
    refuse(tmp_path, "cannot be read: No such file", step=6)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "compressed"])
def test_a_truncated_or_altered_snapshot_is_an_error(tmp_path, method):
    path = write_snapshot(tmp_path, method)
    content = path.read_bytes()
    for end in range(0, len(content), 50):
        path.write_bytes(content[:end])
        refuse(tmp_path, "is damaged")
    start = len("W1.npy") + 30  # of the first file's bytes, after its header in the archive
    path.write_bytes(content[:start] + b"\xff" * 20 + content[start + 20 :])
    refuse(tmp_path, "is damaged")


HEADER = {"descr": "<f2", "fortran_order": False, "shape": (3, 2)}


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"W1": npy(header={**HEADER, "shape": (2**40, 2**20)}, content=bytes(12))}, "holds 12 bytes, and its header"),
        ({"W1": npy(header={**HEADER, "shape": (0, 2**62)})}, "is damaged"),
        ({"W1": npy(header={**HEADER, "shape": (-3, -2)}, content=bytes(12))}, "is damaged"),
        ({"W1": npy(np.zeros([2, 3], np.float16))}, "its W1 is not finite or of another shape"),
        ({"W1": npy(np.array([[0, 1], [2, np.nan], [4, 5]]))}, "its W1 is not finite"),
        ({"W1": npy(np.array([[0, 1], [2, np.inf], [4, 5]]))}, "its W1 is not finite"),
        ({"W1": npy(np.zeros([3, 2], int))}, "W1 has dtype int.*: it must be floats"),
        ({"W1": b"no array"}, "is damaged"),
        ({"W1": b"\x93NUMPY\x01\x00\x04\x00((((" + bytes(12)}, "is damaged"),
        ({"W1": None}, "has no array W1"),
        ({"cost": npy(np.array(np.nan))}, "its cost is not finite"),
        ({"accuracy": npy(np.array([0.5, 0.5]))}, "its accuracy is not finite or of another shape"),
        ({"accuracy": None}, "has no array accuracy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_snapshot_of_the_network_is_an_error(tmp_path, changed, message):
    write_snapshot(tmp_path, **changed)
    refuse(tmp_path, message)


class Explosive:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_nothing_is_unpickled(tmp_path):
    trap = tmp_path / "trap"
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([[Explosive(str(trap))] * 2] * 3, object), allow_pickle=True)
    write_snapshot(tmp_path, W1=file.getvalue())
    refuse(tmp_path, "W1 has dtype object: it must be floats")
    assert not trap.exists()


@pytest.mark.parametrize("number", [2, 101, 0, -5])
def test_a_number_of_snapshots_out_of_range_is_a_one_line_error(script, tmp_path, number):
    message = one_line_error(script("train.py", "--dataset", "sample", f"--replay={number}"), 2)
    assert "replay" in message and "3..100" in message
    assert list(tmp_path.iterdir()) == []
