"""The commands, run as users run them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, environment, one_line_error

from mnist_cnn import cpu, restore_run
from mnist_cnn.__main__ import VERBS
from mnist_cnn.recipes import RECIPES
from mnist_cnn.run_dir.config import recipe_from_config
from mnist_cnn.tf1 import tf

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


def test_every_verb_has_a_script():
    assert SCRIPTS == sorted(f"{verb}.py" for verb in VERBS)


def test_a_smoke_run_trains_on_the_sample_and_reports_that(script, tmp_path):
    done = script("train.py", "--max-steps", 5)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["Accuracy"]
    _, notice, why, _, accuracy_note, run_dir = done.stderr.splitlines()
    assert "NOTICE" in notice and "SAMPLE" in notice
    assert str(tmp_path / "cache") in why and "--data-dir" in why
    assert "sample" in accuracy_note
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name in run_dir
    assert json.loads((run / "config.json").read_text())["dataset"]["name"] == "sample"
    result = json.loads((run / "result.json").read_text())
    assert (result["dataset"], result["completed"], result["steps"]) == ("sample", False, 5)


@pytest.mark.slow
def test_evaluate_finds_the_latest_completed_run_and_repeats_its_accuracy(script, tmp_path):
    trained = script("train.py", "--dataset", "sample", "--epochs", 1, "--model", "mlp")
    assert json.loads(next((tmp_path / "runs").glob("*/config.json")).read_text())["model"] == "mlp"
    script("train.py", "--dataset", "sample", "--max-steps", 1)
    evaluated = script("evaluate.py")
    assert evaluated.returncode == 0, evaluated.stderr
    assert trained.stdout.splitlines()[-1] + "\n" == evaluated.stdout
    assert evaluated.stderr == ""


@pytest.mark.slow
def test_the_real_mnist_is_used_if_it_is_available(script, tmp_path, mnist_dir):
    done = script("train.py", "--max-steps", 5, "--run-dir", "run", MNIST_DATA_DIR=str(mnist_dir))
    assert (done.returncode, done.stderr) == (0, "The run is in run\n")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["dataset"] == "mnist"
    evaluated = script("evaluate.py", "--run-dir", "run", "--data-dir", mnist_dir)
    assert evaluated.stdout == done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_imports_neither_tensorflow_nor_numpy(python, verb):
    out = python(
        f"import sys; from mnist_cnn.cli import {verb}\n"
        f"try: {verb}.main(['--help'])\n"
        "finally: print({'tensorflow', 'numpy'} & set(sys.modules))"
    )
    assert out.startswith("usage:") and out.endswith("set()\n")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "flags, variables", [(["-I", "-OO"], {}), ([], {"PYTHONSAFEPATH": "1"})], ids=["-I -OO", "PYTHONSAFEPATH"]
)
def test_every_script_starts_from_any_folder_in_every_mode_of_python(tmp_path, verb, flags, variables):
    command = [sys.executable, *flags, str(ROOT / "scripts" / f"{verb}.py"), "--help"]
    check_help(command, f"{verb}.py", tmp_path, {**os.environ, "PYTHONPATH": "", **variables})


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_starts_as_a_module(tmp_path, verb):
    check_help([sys.executable, "-m", f"scripts.{verb}", "--help"], f"{verb}.py", ROOT, dict(os.environ))
    check_help([sys.executable, "-m", "mnist_cnn", verb, "--help"], f"mnist_cnn {verb}", tmp_path, environment())


def check_help(command, prog, folder, variables):
    done = subprocess.run(command, cwd=str(folder), env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    usage, description = done.stdout.split("\n\n")[:2]
    assert usage.startswith(f"usage: {prog} ") and len(description) > 40


def test_the_package_lists_its_verbs_and_rejects_others():
    command = [sys.executable, "-m", "mnist_cnn"]
    listed = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert listed.returncode == 0 and all(f"  {verb} " in listed.stdout for verb in VERBS)
    wrong = subprocess.run([*command, "trian"], env=environment(), capture_output=True, text=True)
    assert "unknown verb 'trian'; choose from download, train" in one_line_error(wrong, 2)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrong_flag_is_a_one_line_error(script, name):
    required = {"predict.py": ["a.png"], "export.py": ["--export-dir", "model"]}.get(name, [])
    assert "unrecognized arguments: --wrong" in one_line_error(script(name, *required, "--wrong"), 2)


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
def test_a_wrong_argument_is_a_one_line_error_and_leaves_no_run(script, tmp_path, arguments):
    line = one_line_error(script("train.py", *arguments), 2)
    assert line.startswith("train.py: error: ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_single_flags_override_values_of_a_recipe(script, tmp_path):
    done = script("train.py", "--dataset", "sample", "--recipe", "accurate", "--keep-prob", 0.75, "--max-steps", 2)
    assert done.returncode == 0, done.stderr
    config = json.loads(next((tmp_path / "runs").glob("*/config.json")).read_text())
    assert recipe_from_config(config) == ("cnn", replace(RECIPES["accurate"], keep_prob=0.75), 1)


@pytest.mark.slow
def test_mixed_precision_trains_or_reports_that_it_is_not_supported(script, tmp_path):
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
            assert config["machine"]["mixed_precision"] is precision
            with restore_run(tmp_path / run) as (session, model):
                weights.append(session.run(model.weights["W2"]))
        assert (weights[0] != weights[1]).any()
        np.testing.assert_allclose(weights[0], weights[1], atol=0.05)
        for flag, precision in (([], True), (["--no-mixed-precision"], False)):
            done = script("train.py", "--dataset", "sample", "--resume", "--run-dir", "mixed", "--max-steps", 22, *flag)
            assert done.returncode == 0, done.stderr
            config = json.loads((tmp_path / "mixed" / "config.json").read_text())
            assert config["machine"]["mixed_precision"] is precision
        return
    assert not (tmp_path / "runs").exists()
    # A run that another machine began with mixed precision is not continued without it by itself.
    assert script(*flags, "--run-dir", "run").returncode == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["machine"]["mixed_precision"] = True
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    resume = "train.py", "--dataset", "sample", "--resume", "--run-dir", "run"
    assert "mixed precision needs" in one_line_error(script(*resume), 2)
    assert script(*resume, "--no-mixed-precision").returncode == 0


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_onednn_is_used_unless_its_variable_is_set_and_the_run_records_it(script, tmp_path, monkeypatch):
    if not os.path.exists("/proc/cpuinfo") or " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs a CPU with AVX2, on Linux")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    flags = "train.py", "--dataset", "sample", "--run-dir", "run"
    config = tmp_path / "run" / "config.json"
    started = script(*flags, "--max-steps", 2, TF_ENABLE_ONEDNN_OPTS="0")
    assert started.returncode == 0, started.stderr
    assert json.loads(config.read_text())["machine"]["onednn"] is False
    resumed = script(*flags, "--max-steps", 4, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(config.read_text())["machine"]["onednn"] is True
    assert "onednn was False and is True: resuming, but results will not be bit-identical" in resumed.stderr


def test_dataset_mnist_never_falls_back_to_the_sample(script, tmp_path):
    line = one_line_error(script("train.py", "--dataset", "mnist", "--data-dir", tmp_path / "nowhere"), 2)
    assert str(tmp_path / "nowhere") in line and "--data-dir" in line and "--dataset sample" in line


def test_damaged_data_is_a_one_line_error_that_names_the_file_and_never_the_sample(script, tmp_path, mnist_dir):
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


def test_evaluate_reports_what_is_not_a_run(script, tmp_path):
    line = one_line_error(script("evaluate.py"), 2)
    assert "no completed run" in line and "--run-dir" in line
    assert "nowhere is not a run" in one_line_error(script("evaluate.py", "--run-dir", "nowhere"), 2)
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in one_line_error(script("evaluate.py", "--run-dir", "."), 2)
    (tmp_path / "config.json").write_text('{"dataset": {"name": "sample"}}')
    assert "no checkpoint" in one_line_error(script("evaluate.py", "--run-dir", "."), 2)


def test_a_run_directory_that_cannot_be_written_is_a_one_line_error(script, tmp_path):
    (tmp_path / "file").write_text("")
    line = one_line_error(script("train.py", "--dataset", "sample", "--run-dir", tmp_path / "file" / "run"), 2)
    assert str(tmp_path / "file") in line
