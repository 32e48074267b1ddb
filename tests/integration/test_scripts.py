"""The scripts, run as a user runs them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from mnist_cnn import ACCURATE, cpu, restore_run
from mnist_cnn.recipes import recipe_from_config
from mnist_cnn.tf1 import tf

SCRIPTS = ["download.py", "train.py", "evaluate.py", "report.py", "predict.py", "export.py", "serve.py", "benchmark.py"]


def one_line_error(done, status):
    """The message of a script that failed as promised: its exit status, one line on stderr, nothing on stdout."""
    assert (done.returncode, done.stdout) == (status, ""), done
    (line,) = done.stderr.splitlines()
    return line


def test_a_smoke_run_trains_on_the_sample_and_says_so(script, tmp_path):
    done = script("train.py", "--max-steps", 5)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["Accuracy"]
    stars, notice, why, stars_again, reminder, where = done.stderr.splitlines()
    assert "NOTICE" in notice and "SAMPLE" in notice and str(tmp_path / "cache") in why
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name in where
    assert json.loads((run / "config.json").read_text())["dataset"]["name"] == "sample"
    result = json.loads((run / "result.json").read_text())
    assert (result["dataset"], result["completed"], result["steps"]) == ("sample", False, 5)


@pytest.mark.slow
def test_evaluate_finds_the_newest_completed_run_and_repeats_its_accuracy(script, tmp_path):
    trained = script("train.py", "--dataset", "sample", "--epochs", 1, "--model", "mlp")
    assert json.loads(next((tmp_path / "runs").glob("*/config.json")).read_text())["model"] == "mlp"
    script("train.py", "--dataset", "sample", "--max-steps", 1)
    evaluated = script("evaluate.py")
    assert evaluated.returncode == 0, evaluated.stderr
    assert trained.stdout.splitlines()[-1] + "\n" == evaluated.stdout
    assert evaluated.stderr == ""


def test_the_real_mnist_is_used_where_it_is(script, tmp_path, mnist_dir):
    done = script("train.py", "--max-steps", 5, "--run-dir", "run", MNIST_DATA_DIR=str(mnist_dir))
    assert (done.returncode, done.stderr) == (0, "The run is in run\n")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["dataset"] == "mnist"
    evaluated = script("evaluate.py", "--run-dir", "run", "--data-dir", mnist_dir)
    assert evaluated.stdout == done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_without_tensorflow(python, name):
    said = python(
        f"import runpy, sys; sys.argv = ['{name}', '--help']; sys.path.insert(0, 'scripts')\n"
        f"try: runpy.run_path('scripts/{name}', run_name='__main__')\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    assert said.startswith("usage:") and said.endswith("False\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrong_flag_is_one_line(script, name):
    needed = {"predict.py": ["a.png"], "export.py": ["--export-dir", "model"]}.get(name, [])
    assert "unrecognized arguments: --wrong" in one_line_error(script(name, *needed, "--wrong"), 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "-1"],
        ["--epochs", "many"],
        ["--batch-size", "0"],
        ["--batch-size", "4001", "--dataset", "sample"],
        ["--learning-rate", "nan"],
        ["--keep-prob", "0"],
        ["--seed", "-1"],
        ["--max-steps", "0"],
        ["--checkpoint-secs", "0"],
        ["--dataset", "cifar"],
        ["--recipe", "slow"],
        ["--epoch", "1"],
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_one_line_and_leaves_no_run(script, tmp_path, arguments):
    line = one_line_error(script("train.py", *arguments), 2)
    assert line.startswith("train.py: error: ")
    assert not (tmp_path / "runs").exists()


def test_a_recipe_is_taken_by_its_name_and_changed_by_single_flags(script, tmp_path):
    done = script("train.py", "--dataset", "sample", "--recipe", "accurate", "--keep-prob", 0.7, "--max-steps", 2)
    assert done.returncode == 0, done.stderr
    config = json.loads(next((tmp_path / "runs").glob("*/config.json")).read_text())
    assert recipe_from_config(config) == ("cnn", replace(ACCURATE, keep_prob=0.7), 1)


@pytest.mark.slow
def test_mixed_precision_trains_where_it_can_and_says_where_it_cannot(script, tmp_path):
    flags = "train.py", "--dataset", "sample", "--recipe", "fast", "--max-steps", 20
    if tf.__version__.startswith("1."):
        assert "mixed precision needs TensorFlow 2" in one_line_error(script(*flags, "--mixed-precision"), 2)
    elif not cpu.has_bfloat16():
        assert "needs a CPU with bfloat16" in one_line_error(script(*flags, "--mixed-precision"), 2)
    else:
        mixed, single = script(*flags, "--mixed-precision", "--run-dir", "mixed"), script(*flags, "--run-dir", "single")
        assert (mixed.returncode, single.returncode) == (0, 0), mixed.stderr
        weights = []
        for run, precision in (("mixed", True), ("single", False)):
            config = json.loads((tmp_path / run / "config.json").read_text())
            assert config["machine"]["mixed precision"] is precision
            with restore_run(tmp_path / run) as (session, _):
                weights.append(session.run("W2:0"))
        assert (weights[0] != weights[1]).any()
        np.testing.assert_allclose(weights[0], weights[1], atol=0.05)
        return
    assert not (tmp_path / "runs").exists()


def test_mnist_or_an_error(script, tmp_path):
    line = one_line_error(script("train.py", "--dataset", "mnist", "--data-dir", tmp_path / "nowhere"), 2)
    assert str(tmp_path / "nowhere") in line


def test_damaged_data_is_one_line_that_names_the_file_and_never_the_sample(script, tmp_path, mnist_dir):
    folder = tmp_path / "data"
    shutil.copytree(str(mnist_dir), str(folder))
    path = next(folder.glob("train-labels*"))
    path.chmod(0o644)
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))
    assert str(path) in one_line_error(script("train.py", "--data-dir", folder), 2)
    path.unlink()
    assert "train-labels-idx1-ubyte missing in" in one_line_error(script("train.py", "--data-dir", folder), 2)


def test_evaluate_names_what_is_no_run(script, tmp_path):
    assert "no completed run" in one_line_error(script("evaluate.py"), 2)
    assert "nowhere is not a run" in one_line_error(script("evaluate.py", "--run-dir", "nowhere"), 2)
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in one_line_error(script("evaluate.py", "--run-dir", "."), 2)
    (tmp_path / "config.json").write_text('{"dataset": {"name": "sample"}}')
    assert "no checkpoint" in one_line_error(script("evaluate.py", "--run-dir", "."), 2)


def test_a_folder_that_cannot_be_written_is_one_line(script, tmp_path):
    (tmp_path / "file").write_text("")
    line = one_line_error(script("train.py", "--dataset", "sample", "--run-dir", tmp_path / "file" / "run"), 2)
    assert str(tmp_path / "file") in line
