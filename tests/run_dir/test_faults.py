"""Disks that are full or cannot be written to."""

import re
import subprocess

import pytest

from mnist_cnn import InputError, Recipe, TrainingFailed, train
from mnist_cnn.run_dir import checkpoints, directory

RECIPE = Recipe(epochs=4, batch_size=100, learning_rate=0.001, keep_prob=0.8)  # 12 steps of `small`


@pytest.fixture
def mounted(tmp_path):
    """Mounts a disk of a given size in memory; only root may."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]).returncode:
            pytest.skip("needs to mount a tmpfs, which only root may")
        return folder

    try:
        yield mount
    finally:
        subprocess.run(["umount", str(folder)], stderr=subprocess.DEVNULL)


def test_a_disk_full_at_the_start_is_one_line(small, mounted, capsys):
    disk = mounted("size=1m")
    with pytest.raises(TrainingFailed, match="does not start: .*No space left on device") as error:
        train(small, disk / "run", RECIPE)
    assert len(str(error.value).splitlines()) == 1
    assert capsys.readouterr().out == ""
    assert not [path for path in disk.rglob("*") if re.search("tmp|tempstate|data-", path.name)]


def test_a_disk_that_fills_in_the_middle_costs_neither_the_run_nor_what_was_saved(small, mounted, tmp_path, capsys):
    disk = mounted("size=25m")  # a checkpoint is 10 MB
    with pytest.raises(TrainingFailed, match="done, but cannot be saved: .*No space left on device"):
        train(small, disk / "run", RECIPE)
    said = capsys.readouterr()
    assert [line[:8] for line in said.out.splitlines()] == ["Epoch: 0"] * 4 + ["Accuracy"]
    assert len(re.findall("NOTICE: .*No space left on device.*tries again", said.err)) == 3
    assert checkpoints.latest_checkpoint(disk / "run", report=pytest.fail)[1]["step"] == 3
    # With room again, it goes on from there to what it would have been.
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    train(small, disk / "run", resume=True)
    train(small, tmp_path / "unbroken", RECIPE)
    resumed, unbroken = directory.read_history(disk / "run"), directory.read_history(tmp_path / "unbroken")
    assert [row["avg_cost"] for row in resumed] == [row["avg_cost"] for row in unbroken]


def test_a_disk_that_cannot_be_written_to_is_one_line(small, mounted):
    disk = mounted("ro")
    with pytest.raises(InputError, match="Read-only file system"):
        train(small, disk / "run", RECIPE)


def test_a_run_that_becomes_read_only_keeps_its_checkpoints(small, mounted):
    disk = mounted("size=100m")
    train(small, disk / "run", RECIPE, max_steps=4)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match="Read-only file system"):
        train(small, disk / "run", resume=True)
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert train(small, disk / "run", resume=True)["completed"] is True
