"""Runs and exported models under any path that the system allows, in any locale."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers import checkpoint_bytes, environment, latest_step, script_command, start, wait_for

from mnist_cnn import Classifier, InputError, Recipe, evaluate, restore_run, train
from mnist_cnn.tf1 import tf

RECIPE = Recipe(epochs=1, batch_size=100, learning_rate=0.001, keep_prob=0.8)  # 3 steps of `small`
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

on_posix = pytest.mark.skipif(os.name == "nt", reason="Windows does not allow such a name")
in_c_locale = pytest.mark.skipif(os.name == "nt", reason="on Windows, paths do not depend on the locale")


@pytest.fixture(scope="module")
def plain(small, tmp_path_factory):
    """An uninterrupted run with a plain path."""
    run = tmp_path_factory.mktemp("plain") / "run"
    train(small, run, RECIPE, model="mlp")
    return run


@pytest.fixture(scope="module")
def expected(small, plain):
    with Classifier.load(plain) as classifier:
        return classifier.predict(small.test.images).probabilities


def check_predictions(folder, small, expected):
    with Classifier.load(folder) as classifier:
        np.testing.assert_allclose(classifier.predict(small.test.images).probabilities, expected, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "a[b]",
        pytest.param("a\\b/run", marks=on_posix),
        pytest.param("*/?", marks=on_posix),
        pytest.param("-x[1]  {x} 'q' \"q\" %s%20 #\n", marks=on_posix),
        "é 한글",
    ],
)
def test_a_run_is_trained_resumed_read_and_exported(small, tmp_path, monkeypatch, plain, expected, name):
    (tmp_path / "ab").mkdir()  # matches the patterns a[b] and a\b
    monkeypatch.chdir(str(tmp_path))
    train(small, name, RECIPE, model="mlp", max_steps=1)
    result = train(small, tmp_path / name, resume=True)
    assert checkpoint_bytes(name, 3) == checkpoint_bytes(plain, 3)
    with restore_run(name) as (session, model):
        assert evaluate(session, model, small.test).accuracy == result["test_accuracy"]
    with Classifier.load(name) as classifier:
        exported = classifier.export(Path(name, "model"))
    for folder in (name, exported, exported.parent):
        check_predictions(folder, small, expected)
    tags = [
        value.tag
        for path in Path(name).glob("events.*")
        for event in tf.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    assert tags.count("validation_accuracy") == 1


def test_with_a_path_that_is_not_utf8_runs_are_read_and_exported_but_not_trained(small, tmp_path, plain, expected):
    folder = tmp_path / os.fsdecode(b"\xff")
    try:
        shutil.copytree(str(plain), str(folder / "run"))
    except OSError:
        pytest.skip("this file system allows no such name")
    with restore_run(folder / "run") as (session, model):
        assert session.run(model.global_step) == 3
    with Classifier.load(folder / "run") as classifier:
        exported = classifier.export(folder / "model")
    for readable in (folder / "run", exported):
        check_predictions(readable, small, expected)
    for resume in (False, True):
        with pytest.raises(InputError, match="choose a path in UTF-8"):
            train(small, folder / ("run" if resume else "new"), RECIPE, resume=resume, model="mlp")
    assert sorted(path.name for path in folder.iterdir()) == ["model", "run"]


@pytest.mark.slow
@in_c_locale
def test_in_the_c_locale_a_name_may_have_characters_that_are_not_ascii(tmp_path):
    code = """
import sys
from mnist_cnn import Classifier, load_sample, restore_run, train
run, sample = sys.argv[1], load_sample()
train(sample, run, model="mlp", max_steps=1)
train(sample, run, max_steps=2, resume=True)
with restore_run(run) as (session, model), Classifier.load(run) as classifier:
    assert session.run(model.global_step) == 2
    with Classifier.load(classifier.export(run + "/model")) as exported:
        images = sample.test.images[:9]
        assert (exported.predict(images).classes == classifier.predict(images).classes).all()
"""
    command = [sys.executable, "-c", code, "한é"]
    subprocess.run(command, check=True, cwd=str(tmp_path), env=environment(**C_LOCALE))
    result = json.loads((tmp_path / "한é/result.json").read_text())
    assert result["run_dir"].encode("ascii", "surrogateescape").decode() == "한é"
    assert len(list((tmp_path / "한é").glob("events.*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "tensorflow, name, variables",
    [
        pytest.param("tensorflow_2", '-x[1] {x} "q" it\'s %s\\ #é', {}, marks=on_posix, id="special characters"),
        pytest.param("tensorflow_1", "한é", C_LOCALE, marks=in_c_locale, id="C locale"),
    ],
)
def test_every_command_works(request, script, tmp_path, tensorflow, name, variables):
    request.getfixturevalue(tensorflow)
    from drawings import draw_strokes, paint

    def run(command, *arguments):
        done = script(command, *arguments, **variables)
        assert done.returncode == 0, done
        return done.stdout

    run_flag = f"--run-dir={name}"
    run("train.py", "--dataset", "sample", "--epochs", 1, "--max-steps", 30, run_flag)
    accuracy = run("train.py", "--resume", run_flag).splitlines()[-1]
    assert run("evaluate.py", run_flag) == f"{accuracy}\n"

    paint(draw_strokes(7), (0, 0, 0), (255, 255, 255)).save(str(tmp_path / "é.png"))
    predict = ["é.png", f"--show={name}/shown", run_flag]
    prediction = run("predict.py", *predict)
    assert re.fullmatch(r"é\.png: \d \(0\.\d{3}\)\n", prediction)
    assert os.listdir(str(tmp_path / name / "shown")) == ["0001-é.png"]
    image = json.loads(run("predict.py", "--json", *predict))["image"]
    assert image.encode("utf-8", "surrogateescape").decode() == "é.png"

    assert run("report.py", run_flag) == f"{Path(name, 'report', 'index.html')}\n"
    assert (tmp_path / name / "report" / "index.html").stat().st_size > 10000
    assert run("export.py", f"--export-dir={name}", run_flag) == f"{Path(name, '1')}\n"
    shutil.move(str(tmp_path / name / "1"), str(tmp_path / "model[1]"))
    assert run("predict.py", "--run-dir=model[1]", "é.png") == prediction

    command = script_command("serve.py", "--port", 0, run_flag)
    server = start(command, cwd=str(tmp_path), env=environment(**variables))
    try:
        with urllib.request.urlopen(server.stdout.readline().strip()) as page:
            assert page.status == 200
    finally:
        server.terminate()
        assert server.communicate()[1] == ""

    flags = ["--dataset", "sample", "--model", "mlp", "--max-steps", 2, f"--run-dir={name}/cluster"]
    run("launch_local.py", "--workers", 2, "--", *flags)
    run("launch_local.py", "--workers", 2, "--", *flags[:-2], 4, flags[-1], "--resume")
    assert (tmp_path / name / "cluster/checkpoints/step-4.json").exists()


@pytest.mark.slow
@on_posix
def test_a_killed_run_and_a_stopped_run_are_resumed_by_the_printed_flags_in_a_shell(tmp_path):
    name = "-x[1] it's $HOME"
    command = script_command("train.py", "--resume", "--epochs", 100000, f"--run-dir={name}")
    for signum in (signal.SIGKILL, signal.SIGTERM):
        step = max((int(path.stem[5:]) for path in (tmp_path / name).glob("checkpoints/*.json")), default=0)
        process = start([*command, "--dataset", "sample", "--model", "mlp"], cwd=str(tmp_path))
        wait_for((tmp_path / name / f"checkpoints/step-{step + 40}.json").exists, process)
        process.send_signal(signum)
        _, error = process.communicate()
    assert process.returncode == 143
    flags = re.search("; to resume: (.*)", error).group(1)
    train_py = " ".join(map(shlex.quote, script_command("train.py")))
    last_step = latest_step(tmp_path / name) + 1
    resumed = start(["sh", "-c", f"{train_py} {flags} --max-steps {last_step}"], cwd=str(tmp_path))
    assert resumed.communicate()[0].splitlines()[-1].startswith("Accuracy: ")
    assert latest_step(tmp_path / name) == last_step


@pytest.mark.slow
@on_posix
def test_a_new_run_with_a_path_that_is_not_utf8_is_a_one_line_error(tmp_path):
    command = script_command("train.py", "--dataset", "sample", "--run-dir")
    done = subprocess.run([*command, b"\xff"], cwd=str(tmp_path), env=environment(), capture_output=True)
    line = b"train.py: error: \xff: TensorFlow cannot write there: choose a path in UTF-8\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", line)
    assert not os.listdir(str(tmp_path))
