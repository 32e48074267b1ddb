import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from mnist_cnn import InputError, Recipe, Split, evaluate, restore_run, train
from mnist_cnn.run_dir import directory
from mnist_cnn.tf1 import tf

RECIPE = Recipe(epochs=2, batch_size=100, learning_rate=0.001, keep_prob=0.8)


@pytest.fixture(scope="module")
def run(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(small, folder, RECIPE, seed=3)
    return folder


def history(run):
    with open(str(run / "history.csv"), newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_dataset_without_images_to_measure_on_is_refused_before_training(small, tmp_path, name):
    empty = Split(small.test.images[:0], small.test.labels[:0])
    with pytest.raises(InputError, match=f"the dataset has no {name} images"):
        train(replace(small, **{name: empty}), tmp_path / "run", RECIPE)
    assert not (tmp_path / "run").exists()


def test_stdout_has_the_tutorials_lines_and_nothing_else(small, tmp_path, capsys):
    result = train(small, tmp_path / "run", RECIPE)
    rows = history(tmp_path / "run")
    assert capsys.readouterr().out.splitlines() == [
        f"Epoch: 0001 Avg. cost = {float(rows[0]['avg_cost']):.3f}",
        f"Epoch: 0002 Avg. cost = {float(rows[1]['avg_cost']):.3f}",
        f"Accuracy: {result['test_accuracy']:.4f}",
    ]


def test_a_run_directory_records_the_configuration_and_the_results(run, small):
    config = json.loads((run / "config.json").read_text())
    assert Recipe(**config["recipe"]) == RECIPE
    assert config["seed"] == 3
    assert config["dataset"] == {"name": "small", "sha256": small.digest()}
    assert config["machine"]["tensorflow"] == tf.__version__
    assert set(config["versions"]) == {"python", "numpy", "mnist_cnn"}
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert 0 < float(row["avg_cost"]) < 3 and 0 <= float(row["validation_accuracy"]) <= 1
        assert float(row["images_per_second"]) == pytest.approx(300 / float(row["seconds"]))
    result = json.loads((run / "result.json").read_text())
    assert result["completed"] is True and result["steps"] == 6 and result["dataset"] == "small"
    assert sorted(path.name.split(".tfevents")[0] for path in run.iterdir() if path.name != ".lock") == [
        "checkpoints",
        "config.json",
        "events.out",
        "history.csv",
        "result.json",
    ]


def test_the_same_seed_gives_a_bit_identical_run_and_another_seed_does_not(run, small, tmp_path):
    train(small, tmp_path / "again", RECIPE, seed=3)
    train(small, tmp_path / "other", RECIPE, seed=4)
    costs = [[row["avg_cost"] for row in history(folder)] for folder in (run, tmp_path / "again", tmp_path / "other")]
    assert costs[0] == costs[1] != costs[2]


def test_training_reaches_a_useful_accuracy(sample, tmp_path):
    result = train(sample, tmp_path / "run", Recipe(epochs=3, batch_size=50, learning_rate=0.001, keep_prob=0.8))
    assert result["test_accuracy"] > 0.8


def test_a_run_limited_by_max_steps_is_evaluated_and_recorded_as_not_completed(small, tmp_path, capsys):
    result = train(small, tmp_path / "run", RECIPE, max_steps=2)
    assert result["completed"] is False and result["steps"] == 2
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["Accuracy"]
    with restore_run(tmp_path / "run") as (session, model):
        assert session.run(model.global_step) == 2
        assert evaluate(session, model, small.test).accuracy == result["test_accuracy"]


def test_max_steps_above_the_recipes_steps_change_nothing(small, tmp_path):
    result = train(small, tmp_path / "run", RECIPE, max_steps=1000)
    assert result["completed"] is True and result["steps"] == 6


def test_batched_evaluation_counts_every_image_once(run, sample):
    odd = Split(sample.train.images[:777], sample.train.labels[:777])
    with restore_run(run) as (session, model):
        accuracy, confusion_matrix, predictions = evaluate(session, model, odd)
        at_once = session.run(model.predictions, {model.images: odd.batch(slice(None))[0]})
    assert (predictions == at_once).all()
    assert (confusion_matrix.sum(axis=1) == np.bincount(odd.labels)).all()
    assert accuracy == (predictions == odd.labels).mean()


def test_a_run_is_never_overwritten(run, small):
    before = (run / "result.json").read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        train(small, run, RECIPE)
    assert (run / "result.json").read_bytes() == before


def test_runs_that_start_in_the_same_second_get_different_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    with directory.open_run_dir() as first, directory.open_run_dir() as second, directory.open_run_dir() as third:
        assert len({first, second, third}) == 3


def test_a_moved_run_can_still_be_read(run, small, tmp_path):
    import shutil

    shutil.copytree(str(run), str(tmp_path / "moved"))
    with restore_run(run) as (session, model):
        before = evaluate(session, model, small.test).predictions
    with restore_run(tmp_path / "moved") as (session, model):
        assert (evaluate(session, model, small.test).predictions == before).all()


@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("epochs", 0, "1 or more"),
        ("epochs", 1.5, "whole number"),
        ("batch_size", 0, "1 or more"),
        ("batch_size", 301, r"only 300 training images: choose a smaller batch size"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "finite"),
        ("learning_rate", float("inf"), "finite"),
        ("keep_prob", 0.0, "above 0 and at most 1"),
        ("keep_prob", 1.1, "above 0 and at most 1"),
        ("keep_prob", float("nan"), "above 0 and at most 1"),
        ("seed", -1, r"0\.\.4294967295"),
        ("seed", 2**32, r"0\.\.4294967295"),
        ("max_steps", 0, "1 or more"),
    ],
)
def test_an_argument_out_of_range_is_an_error_that_gives_the_range(small, tmp_path, name, value, allowed):
    recipe = {"epochs": 1, "batch_size": 100, "learning_rate": 0.001, "keep_prob": 0.8}
    others = {name: value} if name not in recipe else {}
    with pytest.raises(InputError, match=f"{name} is .*{allowed}"):
        train(small, tmp_path / "run", Recipe(**{**recipe, **({name: value} if not others else {})}), **others)
    assert not (tmp_path / "run").exists()


def test_training_works_in_a_process_without_stdout_and_stderr(small, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)  # as under pythonw
    monkeypatch.setattr("sys.stderr", None)
    result = train(small, tmp_path / "run", RECIPE)
    assert result["completed"] and json.loads((tmp_path / "run" / "result.json").read_text()) == result


def test_training_continues_if_stdout_cannot_be_written_and_says_so_once(small, tmp_path, monkeypatch, caplog):
    closed = open(str(tmp_path / "closed"), "w")
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    assert train(small, tmp_path / "run", RECIPE)["completed"]
    (notice,) = caplog.messages
    assert "stdout cannot be written (I/O operation on closed file" in notice and str(tmp_path / "run") in notice
