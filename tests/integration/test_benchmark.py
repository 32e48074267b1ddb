"""Tests of benchmarks/benchmark.py: that the contenders run and the results add up, not how fast they are."""

import gzip
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, environment, one_line_error

from mnist_cnn import published
from mnist_cnn.data.idx import IDX_FILES
from mnist_cnn.data.mnist import find_mnist
from mnist_cnn.recipes import RECIPES, get_recipe

BENCHMARK = ROOT / "benchmarks" / "benchmark.py"
CONTENDERS_DIR = ROOT / "benchmarks" / "contenders"


def run(cwd, *command, **variables):
    """Runs `python COMMAND` in the folder `cwd`."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=str(cwd),
        env={**environment(), "XDG_CACHE_HOME": str(cwd), "PYTHONPATH": "", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_unusable_arguments_are_reported_in_one_line(tmp_path, mnist_dir):
    for arguments, reason in (
        (["--rounds", "11"], "rounds is 11"),
        (["--python", "theirs=python3"], "--python theirs=python3"),
        (["--data-dir", tmp_path], "MNIST is not in"),
        (["--data-dir", mnist_dir, "--python", f"plain={tmp_path}/python"], f"{tmp_path}/python"),
        (["--data-dir", mnist_dir, "--python", "plain=echo"], "echo is no Python interpreter"),
    ):
        line = one_line_error(run(tmp_path, BENCHMARK, *arguments), 2)
        assert line.startswith("benchmark.py: error: ") and reason in line


def test_uncompressed_files_are_reported_because_the_plain_script_cannot_read_them(tmp_path, mnist_dir):
    for name, path in zip(IDX_FILES, find_mnist(mnist_dir)):
        content = path.read_bytes()
        (tmp_path / name).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
    line = one_line_error(run(tmp_path, BENCHMARK, "--data-dir", tmp_path), 2)
    assert f"{tmp_path / 'train-images-idx3-ubyte'}.gz does not exist" in line


def test_the_benchmark_starts_however_it_is_called(tmp_path):
    for cwd, command, variables in (
        (tmp_path, [BENCHMARK], {}),
        (tmp_path, ["-I", BENCHMARK], {}),
        (tmp_path, ["-OO", BENCHMARK], {}),
        (tmp_path, [BENCHMARK], {"PYTHONSAFEPATH": "1"}),
        (ROOT, ["-m", "benchmarks.benchmark"], {}),
    ):
        done = run(cwd, *command, "--help", **variables)
        assert done.returncode == 0, done.stderr
        text = " ".join(done.stdout.split())  # argparse wraps lines
        assert text.startswith("usage: benchmark.py ") and "the tutorial's plain feed_dict script" in text


@pytest.mark.parametrize("script", ["ours.py", "plain.py", "plain_keras.py", "plain_pytorch.py"])
def test_each_contender_finds_the_protocol_module_however_it_is_called(tmp_path, script):
    for command, variables in ([], {}), (["-I"], {}), (["-OO"], {}), ([], {"PYTHONSAFEPATH": "1"}):
        done = run(tmp_path, *command, CONTENDERS_DIR / script, "--help", **variables)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: {script} ") and "block_size" in done.stdout


def test_memory_that_cannot_be_measured_is_named_in_the_table(python):
    result = {
        "name": "original",
        "versions": "TensorFlow 2.21.0, Python 3.11.7",
        "ms_per_step": 11.04,
        "step_ratio": 0.951,
        "peak_bytes": None,
        "seconds_to_first_step": 3.51,
        "training_seconds_per_run": 91.08,
        "run_ratio": 0.951,
    }
    table = python(f"from benchmarks.benchmark import format_table; print(format_table([{result!r}]))")
    assert (
        "| original | 11.0 | 0.95 | 91 s | 0.951 | not measured | 3.5 s | TensorFlow 2.21.0, Python 3.11.7 |"
    ) in table.splitlines()


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_all_contenders_run_in_turn_and_are_compared(tmp_path, mnist_dir):
    done = run(tmp_path, BENCHMARK, "--data-dir", mnist_dir, "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["contenders"]
    assert [result["name"] for result in results] == ["plain script", *RECIPES]
    for result in results:
        assert result["step_ratio"] == pytest.approx(result["ms_per_step"] / results[0]["ms_per_step"])
        seconds = result["steps_per_run"] * result["ms_per_step"] / 1000
        assert result["training_seconds_per_run"] == pytest.approx(seconds)
        assert 1e8 < result["peak_bytes"] < 1e10 and result["seconds_to_first_step"] > 0
    for result, name in zip(results[1:], RECIPES):
        recipe = get_recipe(name, "cnn")
        assert result["steps_per_run"] == recipe.epochs * (55000 // recipe.batch_size)


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_the_plain_script_trains_whole_epochs_and_prints_the_tutorials_lines(tmp_path, mnist_dir):
    done = run(tmp_path, CONTENDERS_DIR / "plain.py", mnist_dir, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    epoch, accuracy = [line for line in done.stdout.splitlines() if line.startswith(("Epoch", "Accuracy"))]
    cost = float(re.fullmatch(r"Epoch: 0001 Avg\. cost = (\d\.\d{3})", epoch).group(1))
    assert abs(np.log(cost / published.COSTS["cnn"][0])) <= np.log(1.4)
    assert float(accuracy.split()[1]) >= 0.95
