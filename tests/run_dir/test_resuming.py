"""Resumed runs: bit-identical, past damaged checkpoints, never with other hyperparameters. Kills: test_kills.py."""

import dataclasses
import json
import os
import shutil

import pytest
from helpers import checkpoint_bytes, epoch_costs, latest_step, script_command, start, wait_for

from mnist_cnn import Classifier, InputError, Recipe, RunNotFound, TrainingFailed, evaluate, restore_run, train
from mnist_cnn.recipes import get_recipe
from mnist_cnn.run_dir import checkpoints, directory

RECIPE = Recipe(epochs=2, batch_size=100, learning_rate=0.001, keep_prob=0.8)  # 6 steps of `small`


@pytest.fixture(scope="module")
def uninterrupted(small, tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(small, run, RECIPE)
    return run


@pytest.fixture
def stopped(small, tmp_path):
    """A run that stopped in the middle of its second epoch."""
    train(small, tmp_path / "run", RECIPE, max_steps=4)
    return tmp_path / "run"


@pytest.mark.parametrize("stops", [[4], [3], [1, 2, 3, 4, 5]], ids=str)
def test_a_resumed_run_is_bit_identical(small, tmp_path, uninterrupted, capsys, stops):
    for stop in stops:
        train(small, tmp_path / "run", RECIPE, max_steps=stop, resume=True)
    capsys.readouterr()
    result = train(small, tmp_path / "run", resume=True)
    assert checkpoint_bytes(tmp_path / "run", 6) == checkpoint_bytes(uninterrupted, 6)
    assert epoch_costs(tmp_path / "run") == epoch_costs(uninterrupted)
    assert result["completed"] is True
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == [
        "Epoch: 0001",
        "Epoch: 0002",
        f"Accuracy: {result['test_accuracy']:.4f}"[:11],
    ]


@pytest.mark.slow
def test_a_run_is_read_while_it_trains_and_deletes_its_checkpoints(tmp_path, caplog):
    run = tmp_path / "run"
    flags = "--dataset", "sample", "--batch-size", 2, "--epochs", 1000, "--checkpoint-secs", 0.01, "--run-dir", run
    process = start(script_command("train.py", *flags))
    try:
        wait_for(lambda: list(run.glob("checkpoints/step-*.json")), process)
        steps = []
        for _ in range(10):
            with restore_run(run) as (session, model):
                steps.append(session.run(model.global_step))
            with Classifier.load(run) as classifier:
                assert classifier.session.run(classifier.weights["W1"]).any()
        assert process.poll() is None and steps == sorted(steps)
        assert not [record for record in caplog.records if record.name.startswith("mnist_cnn")]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", ["fast", "accurate"])
@pytest.mark.slow
def test_a_resumed_run_of_another_recipe_is_bit_identical_too(small, tmp_path, name):
    recipe = dataclasses.replace(get_recipe(name, "cnn"), epochs=2)
    steps = train(small, tmp_path / "uninterrupted", recipe)["steps"]
    for stop in (steps // 3, steps - 1):
        train(small, tmp_path / "run", recipe, max_steps=stop, resume=True)
    assert train(small, tmp_path / "run", resume=True)["completed"] is True
    assert checkpoint_bytes(tmp_path / "run", steps) == checkpoint_bytes(tmp_path / "uninterrupted", steps)
    assert epoch_costs(tmp_path / "run") == epoch_costs(tmp_path / "uninterrupted")


def test_the_checkpoint_interval_does_not_change_the_result(small, tmp_path, uninterrupted):
    train(small, tmp_path / "run", RECIPE, checkpoint_secs=1e-9)
    assert checkpoint_bytes(tmp_path / "run", 6) == checkpoint_bytes(uninterrupted, 6)


def test_a_completed_run_can_be_resumed_with_more_epochs(small, tmp_path, uninterrupted):
    train(small, tmp_path / "run", dataclasses.replace(RECIPE, epochs=1))
    train(small, tmp_path / "run", RECIPE, resume=True)
    assert checkpoint_bytes(tmp_path / "run", 6) == checkpoint_bytes(uninterrupted, 6)


def test_more_epochs_are_an_error_if_the_learning_rate_depends_on_them(small, tmp_path):
    recipe = dataclasses.replace(RECIPE, schedule="linear")
    train(small, tmp_path / "run", recipe)
    with pytest.raises(InputError, match="cannot resume .*: epochs is 2 in the run, 3 requested"):
        train(small, tmp_path / "run", dataclasses.replace(recipe, epochs=3), resume=True)


def test_fewer_steps_than_were_taken_are_an_error(small, stopped):
    with pytest.raises(InputError, match="already at step 4; requested only 3"):
        train(small, stopped, dataclasses.replace(RECIPE, epochs=1), resume=True)


def test_a_run_is_not_resumed_with_other_hyperparameters_or_data(small, sample, stopped):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != ".lock"}
    for change, message in (
        ({"recipe": dataclasses.replace(RECIPE, learning_rate=0.002)}, "learning_rate is 0.001 in the run, 0.002"),
        ({"recipe": dataclasses.replace(RECIPE, batch_size=50)}, "batch_size is 100 in the run, 50 requested"),
        ({"recipe": "fast"}, "schedule is constant in the run, linear .*initial_weights is published in the run, he"),
        ({"seed": 2}, "seed is 1 in the run, 2 requested"),
        ({"model": "mlp"}, "model is cnn in the run, mlp requested"),
    ):
        with pytest.raises(InputError, match=message):
            train(small, stopped, resume=True, **change)
    with pytest.raises(InputError, match="dataset"):
        train(sample, stopped, resume=True)
    assert {path: path.read_bytes() for path in before} == before


def test_another_machine_is_a_warning(small, stopped, uninterrupted, caplog, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 77)
    train(small, stopped, resume=True)
    assert "num_cpus was" in caplog.text
    assert epoch_costs(stopped) == epoch_costs(uninterrupted)


def test_only_the_latest_and_the_best_checkpoints_are_kept(small, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("step-9.data-00000-of-00001.tempstate123", "step-9.index", "step-9.json.77.tmp"):
        (run / "checkpoints" / name).write_text("left behind by a killed process")
    (run / "config.json.77.tmp").write_text("left behind by a killed process")
    train(small, run, dataclasses.replace(RECIPE, epochs=7), resume=True)
    history = directory.read_history(run)
    best = max(history, key=lambda row: row["validation_accuracy"])["epoch"]
    names = {path.name for path in (run / "checkpoints").iterdir()}
    steps = {3 * best, 15, 18, 21}
    suffixes = ("index", "data-00000-of-00001", "json")
    assert names == {"checkpoint"} | {f"step-{step}.{suffix}" for step in steps for suffix in suffixes}
    assert not list(run.glob("*.tmp"))


def test_a_resumed_run_deletes_no_file_that_is_not_its_own(small, tmp_path):
    (tmp_path / "run").mkdir()
    names = {"thesis.tex", "thesis.tmp", "thesis.tex.77.tmp"}
    for name in names:
        (tmp_path / "run" / name).write_text("mine")
    train(small, tmp_path / "run", RECIPE, max_steps=1, resume=True)
    assert names < {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001", "json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(
    small, stopped, uninterrupted, caplog, suffix, damage
):
    path = stopped / "checkpoints" / f"step-4.{suffix}"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    train(small, stopped, resume=True)
    assert ("step-4" in caplog.text) == (suffix != "json" or damage != "missing")  # no manifest: no checkpoint
    assert checkpoint_bytes(stopped, 6) == checkpoint_bytes(uninterrupted, 6)
    assert epoch_costs(stopped) == epoch_costs(uninterrupted)


def test_newer_damaged_checkpoints_do_not_displace_good_ones(small, stopped, caplog):
    for step in (100, 200, 300):
        (stopped / f"checkpoints/step-{step}.json").write_text("{}")
        (stopped / f"checkpoints/step-{step}.index").write_text("")
    train(small, stopped, max_steps=5, resume=True)
    assert caplog.text.count("skipping this checkpoint") == 3
    caplog.clear()
    assert latest_step(stopped) == 5 and not caplog.text


def test_left_over_files_of_a_killed_save_do_not_affect_the_next_save_of_that_step(small, stopped, caplog):
    left_over = stopped / "checkpoints/step-6.data-00000-of-00001.tempstate123"
    left_over.write_text("half of it")
    train(small, stopped, resume=True)
    assert latest_step(stopped) == 6 and not caplog.text
    assert not left_over.exists()


def test_evaluation_skips_a_damaged_checkpoint_too(small, uninterrupted, tmp_path, caplog):
    shutil.copytree(str(uninterrupted), str(tmp_path / "run"))
    (tmp_path / "run/checkpoints/step-6.index").write_bytes(b"")
    with restore_run(tmp_path / "run") as (session, model):
        assert session.run(model.global_step) == 3
        evaluate(session, model, small.test)
    assert "step-6" in caplog.text


def test_a_run_whose_checkpoints_are_all_damaged_is_an_error_and_not_restarted(small, stopped):
    for path in (stopped / "checkpoints").glob("*.json"):
        path.write_text("{}")
    with pytest.raises(InputError, match="all checkpoints are damaged"):
        train(small, stopped, resume=True)


def test_resuming_without_a_checkpoint_starts_at_step_0(small, tmp_path, uninterrupted, caplog):
    train(small, tmp_path / "run", RECIPE, resume=True)
    assert "training starts at step 0" in caplog.text
    assert checkpoint_bytes(tmp_path / "run", 6) == checkpoint_bytes(uninterrupted, 6)


def test_the_latest_unfinished_run_is_resumed_by_default(small, tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    with pytest.raises(RunNotFound, match="no unfinished run"):
        train(small, resume=True)
    train(small, "runs/done", RECIPE)
    train(small, "runs/cut short", RECIPE, max_steps=1)
    assert train(small, resume=True)["run_dir"] == str(directory.RUNS_DIR / "cut short")


def test_an_infinite_cost_ends_the_run_and_keeps_the_last_good_checkpoint(small, tmp_path, caplog):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30)
    message = "became NaN or infinite at step .*lower learning rate.*checkpoint of step 0 is kept"
    with pytest.raises(TrainingFailed, match=message):
        train(small, tmp_path / "run", recipe)
    assert latest_step(tmp_path / "run") == 0 and not caplog.text
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_checkpoint_records_the_configuration_of_the_run(stopped):
    state = checkpoints.latest_checkpoint(stopped)[1]
    assert state["config"] == json.loads((stopped / "config.json").read_text())
    assert (state["step"], len(state["history"])) == (4, 1)
