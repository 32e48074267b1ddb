"""Full and read-only disks."""

import contextlib
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from helpers import latest_step

from mnist_cnn import InputError, Recipe, TrainingFailed, train
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.replay import list_snapshots

RECIPE = Recipe(epochs=4, batch_size=100, learning_rate=0.001, keep_prob=0.8)  # 12 steps of `small`


@pytest.fixture
def mounted(tmp_path):
    """Mounts a tmpfs, as root."""
    if not shutil.which("mount"):
        pytest.skip("needs the command mount")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]).returncode:
            pytest.skip("needs root, to mount a tmpfs")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL)


def test_a_disk_that_is_full_at_the_start_is_a_one_line_error(small, mounted, capsys):
    disk = mounted("size=1m")
    with pytest.raises(TrainingFailed, match="does not start: .*No space left on device") as error:
        train(small, disk / "run", RECIPE)
    assert len(str(error.value).splitlines()) == 1
    assert capsys.readouterr().out == ""
    assert not [path for path in disk.rglob("*") if re.search("tmp|tempstate|data-", path.name)]


def test_a_disk_that_fills_during_training_loses_neither_the_run_nor_its_checkpoints(
    small, mounted, tmp_path, capsys, caplog
):
    disk = mounted("size=25m")  # a checkpoint is 10 MB
    with pytest.raises(TrainingFailed, match="done, but cannot be saved: .*No space left on device"):
        train(small, disk / "run", RECIPE)
    out = capsys.readouterr().out
    assert [line[:8] for line in out.splitlines()] == ["Epoch: 0"] * 4 + ["Accuracy"]
    assert len(re.findall("No space left on device.*will retry at the next checkpoint", caplog.text)) == 3
    caplog.clear()
    assert latest_step(disk / "run") == 3 and not caplog.text
    # With free space, it resumes there and gives the results of an uninterrupted run.
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    train(small, disk / "run", resume=True)
    train(small, tmp_path / "uninterrupted", RECIPE)
    resumed, uninterrupted = directory.read_history(disk / "run"), directory.read_history(tmp_path / "uninterrupted")
    assert [row["avg_cost"] for row in resumed] == [row["avg_cost"] for row in uninterrupted]


@pytest.mark.slow
def test_a_disk_that_tensorboards_summaries_fill_ends_neither_the_run_nor_its_checkpoints(
    small, mounted, tmp_path, capsys, caplog
):
    run, checkpoints = mounted("size=300k") / "run", tmp_path / "checkpoints"
    run.mkdir()
    checkpoints.mkdir()
    (run / "checkpoints").symlink_to(checkpoints)
    with pytest.raises(TrainingFailed, match="done, but cannot be saved: .*No space left on device"):
        train(small, run, replace(RECIPE, epochs=20), resume=True)
    out = capsys.readouterr().out
    assert [line[:8] for line in out.splitlines()] == ["Epoch: 0"] * 20 + ["Accuracy"]
    assert caplog.text.count("no more summaries for TensorBoard (No space left on device)") == 1
    assert latest_step(run) == 60


def test_a_completed_run_that_is_resumed_on_a_full_disk_stays_completed(small, mounted):
    disk = mounted("size=40m")
    result = train(small, disk / "run", RECIPE)
    with contextlib.suppress(OSError), open(str(disk / "filler"), "wb") as file:
        while True:
            file.write(bytes(2**12))
            file.flush()
    with pytest.raises(TrainingFailed, match="No space left on device"):
        train(small, disk / "run", resume=True)
    assert directory.read_json(disk / "run", "result.json")["test_accuracy"] == result["test_accuracy"]


def test_a_disk_without_room_for_all_snapshots_keeps_the_first_ones_and_the_run(small, mounted, tmp_path, caplog):
    disk, run = mounted("size=4m"), tmp_path / "run"  # a snapshot is 1.65 MB
    run.mkdir()
    (run / "replay").symlink_to(disk)
    assert train(small, run, RECIPE, resume=True, replay=5)["completed"] is True
    assert latest_step(run) == 12
    lines = [line for line in caplog.messages if line.startswith("the snapshot of step ")]
    assert len(lines) == 3
    for line in lines:
        assert "No space left on device" in line and len(line.splitlines()) == 1
    assert {path.name for path in disk.iterdir()} == {f"step-{step}.npz" for step in list_snapshots(run)}
    assert len(list_snapshots(run)) == 2


def test_a_read_only_disk_is_a_one_line_error(small, mounted):
    disk = mounted("ro")
    with pytest.raises(InputError, match="Read-only file system"):
        train(small, disk / "run", RECIPE)


def test_a_run_on_a_disk_that_becomes_read_only_keeps_its_checkpoints(small, mounted):
    disk = mounted("size=100m")
    train(small, disk / "run", RECIPE, max_steps=4)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match="Read-only file system"):
        train(small, disk / "run", resume=True)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert train(small, disk / "run", resume=True)["completed"] is True
