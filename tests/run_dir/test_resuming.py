"""A run that goes on: to the same bits, past damage, and never as another run. Kills are in test_kills.py."""

import dataclasses
import json
import os
import shutil

import pytest

from mnist_cnn import InputError, Recipe, TrainingFailed, evaluate, restore_run, train
from mnist_cnn.recipes import get_recipe
from mnist_cnn.run_dir import checkpoints, directory

RECIPE = Recipe(epochs=2, batch_size=100, learning_rate=0.001, keep_prob=0.8)  # 6 steps of `small`


def variables(run, step):
    """The bytes of all variables, Adam's included: TensorFlow writes the same ones to the same file."""
    return [(run / "checkpoints" / f"step-{step}.{suffix}").read_bytes() for suffix in ("index", "data-00000-of-00001")]


def costs(run):
    return [(row["epoch"], row["avg_cost"], row["validation_accuracy"]) for row in directory.read_history(run)]


@pytest.fixture(scope="module")
def unbroken(small, tmp_path_factory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    train(small, run, RECIPE)
    return run


@pytest.fixture
def stopped(small, tmp_path):
    """A run stopped in the middle of its second epoch."""
    train(small, tmp_path / "run", RECIPE, max_steps=4)
    return tmp_path / "run"


@pytest.mark.parametrize("stops", [[4], [3], [1, 2, 3, 4, 5]], ids=str)
def test_a_resumed_run_is_equal_to_the_last_bit(small, tmp_path, unbroken, capsys, stops):
    for stop in stops:
        train(small, tmp_path / "run", RECIPE, max_steps=stop, resume=True)
    capsys.readouterr()
    result = train(small, tmp_path / "run", resume=True)
    assert variables(tmp_path / "run", 6) == variables(unbroken, 6)
    assert costs(tmp_path / "run") == costs(unbroken)
    assert result["completed"] is True
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == [
        "Epoch: 0001",
        "Epoch: 0002",
        f"Accuracy: {result['test_accuracy']:.4f}"[:11],
    ]


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_a_run_by_another_recipe_resumes_to_the_last_bit_too(small, tmp_path, name):
    recipe = dataclasses.replace(get_recipe(name, "cnn"), epochs=2)
    steps = train(small, tmp_path / "unbroken", recipe)["steps"]
    for stop in (steps // 3, steps - 1):
        train(small, tmp_path / "run", recipe, max_steps=stop, resume=True)
    assert train(small, tmp_path / "run", resume=True)["completed"] is True
    assert variables(tmp_path / "run", steps) == variables(tmp_path / "unbroken", steps)
    assert costs(tmp_path / "run") == costs(tmp_path / "unbroken")


def test_how_often_is_saved_changes_nothing(small, tmp_path, unbroken):
    train(small, tmp_path / "run", RECIPE, checkpoint_secs=1e-9)
    assert variables(tmp_path / "run", 6) == variables(unbroken, 6)


def test_more_epochs_go_on_from_a_completed_run(small, tmp_path, unbroken):
    train(small, tmp_path / "run", dataclasses.replace(RECIPE, epochs=1))
    train(small, tmp_path / "run", RECIPE, resume=True)
    assert variables(tmp_path / "run", 6) == variables(unbroken, 6)


def test_more_epochs_are_another_run_where_the_learning_rate_falls_by_the_last(small, tmp_path):
    recipe = dataclasses.replace(RECIPE, schedule="linear")
    train(small, tmp_path / "run", recipe)
    with pytest.raises(InputError, match="epochs 2, not 3"):
        train(small, tmp_path / "run", dataclasses.replace(recipe, epochs=3), resume=True)


def test_fewer_steps_than_were_taken_are_refused(small, stopped):
    with pytest.raises(InputError, match="4 steps already, and was asked for 3"):
        train(small, stopped, dataclasses.replace(RECIPE, epochs=1), resume=True)


def test_a_run_never_goes_on_as_another(small, sample, stopped):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != ".lock"}
    for change, what in (
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=0.002)}, "learning_rate 0.001, not 0.002"),
        ({"recipe": dataclasses.replace(RECIPE, batch_size=50)}, "batch_size 100, not 50"),
        ({"recipe": "fast"}, "schedule constant, not linear .*and initial_weights published, not he"),
        ({"seed": 2}, "seed 1, not 2"),
        ({"model": "mlp"}, "model cnn, not mlp"),
    ):
        with pytest.raises(InputError, match=what):
            train(small, stopped, resume=True, **change)
    with pytest.raises(InputError, match="dataset"):
        train(sample, stopped, resume=True)
    assert {path: path.read_bytes() for path in before} == before


def test_another_machine_is_a_warning(small, stopped, unbroken, capsys, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    train(small, stopped, resume=True)
    assert "number of CPUs was" in capsys.readouterr().err
    assert costs(stopped) == costs(unbroken)


def test_the_newest_and_the_best_checkpoints_are_kept_and_nothing_else(small, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for left in ("step-9.data-00000-of-00001.tempstate123", "step-9.index", "step-9.json.77.tmp"):
        (run / "checkpoints" / left).write_text("left by a killed process")
    (run / "config.json.77.tmp").write_text("left by a killed process")
    train(small, run, dataclasses.replace(RECIPE, epochs=7), resume=True)
    history = directory.read_history(run)
    best = max(history, key=lambda row: row["validation_accuracy"])["epoch"]
    names = {path.name for path in (run / "checkpoints").iterdir()}
    steps = {3 * best, 15, 18, 21}
    suffixes = ("index", "data-00000-of-00001", "json")
    assert names == {"checkpoint"} | {f"step-{step}.{suffix}" for step in steps for suffix in suffixes}
    assert not list(run.glob("*.tmp"))


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001", "json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "absent"])
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_it_used(
    small, stopped, unbroken, capsys, suffix, damage
):
    path = stopped / "checkpoints" / f"step-4.{suffix}"
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    train(small, stopped, resume=True)
    reported = capsys.readouterr().err
    assert ("step-4" in reported) == (suffix != "json" or damage != "absent")  # without a record there is nothing
    assert variables(stopped, 6) == variables(unbroken, 6) and costs(stopped) == costs(unbroken)


def test_newer_damaged_checkpoints_do_not_push_out_good_ones(small, stopped, capsys):
    for step in (100, 200, 300):
        (stopped / f"checkpoints/step-{step}.json").write_text("{}")
        (stopped / f"checkpoints/step-{step}.index").write_text("")
    train(small, stopped, max_steps=5, resume=True)
    assert capsys.readouterr().err.count("passed over") == 3
    assert checkpoints.latest_checkpoint(stopped, report=pytest.fail)[1]["step"] == 5


def test_what_a_kill_left_of_a_checkpoint_does_not_spoil_the_next_of_the_same_step(small, stopped):
    left = stopped / "checkpoints/step-6.data-00000-of-00001.tempstate123"
    left.write_text("half of it")
    train(small, stopped, resume=True)
    assert checkpoints.latest_checkpoint(stopped, report=pytest.fail)[1]["step"] == 6
    assert not left.exists()


def test_evaluation_passes_over_a_damaged_checkpoint_too(small, unbroken, tmp_path):
    shutil.copytree(str(unbroken), str(tmp_path / "run"))
    (tmp_path / "run/checkpoints/step-6.index").write_bytes(b"")
    reported = []
    with restore_run(tmp_path / "run", reported.append) as (session, model):
        assert session.run(model.global_step) == 3
        evaluate(session, model, small.test)
    assert "step-6" in reported[0]


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_again_in_silence(small, stopped):
    for path in (stopped / "checkpoints").glob("*.json"):
        path.write_text("{}")
    with pytest.raises(InputError, match="damaged checkpoints only"):
        train(small, stopped, resume=True)


def test_without_a_checkpoint_it_begins_at_step_0(small, tmp_path, unbroken, capsys):
    train(small, tmp_path / "run", RECIPE, resume=True)
    assert "begins at step 0" in capsys.readouterr().err
    assert variables(tmp_path / "run", 6) == variables(unbroken, 6)


def test_the_newest_unfinished_run_is_found(small, tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(InputError, match="no unfinished run"):
        train(small, resume=True)
    train(small, "runs/done", RECIPE)
    train(small, "runs/cut short", RECIPE, max_steps=1)
    assert train(small, resume=True)["run_dir"] == str(directory.RUNS_DIR / "cut short")


def test_a_cost_that_is_not_finite_ends_the_run_and_keeps_the_last_good_checkpoint(small, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30)
    with pytest.raises(TrainingFailed, match="no longer finite at step .*lower --learning-rate.*checkpoint of step 0"):
        train(small, tmp_path / "run", recipe)
    assert checkpoints.latest_checkpoint(tmp_path / "run", report=pytest.fail)[1]["step"] == 0
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_checkpoint_says_what_the_run_is(stopped):
    state = checkpoints.latest_checkpoint(stopped, report=pytest.fail)[1]
    assert state["config"] == json.loads((stopped / "config.json").read_text())
    assert (state["step"], len(state["history"])) == (4, 1)
