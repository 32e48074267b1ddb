"""TF_CONFIG: valid values are parsed, invalid ones are refused with the reason."""

import json

import pytest

from mnist_cnn import InputError
from mnist_cnn.cluster.tf_config import parse_tf_config

TWO_WORKERS = {"worker": ["a.example:2222", "10.0.0.2:2222"]}


def tf_config(cluster, job, index):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"cluster": {', "not valid JSON"),
        ("[]", "must be a JSON object"),
        (json.dumps({"cluster": TWO_WORKERS}), "needs both 'cluster' and 'task'"),
        (tf_config(TWO_WORKERS, "worker", 2), r"worker 2 is not in the cluster, which has worker 0\.\.1"),
        (tf_config(TWO_WORKERS, "worker", -1), "worker -1 is not in"),
        (tf_config(TWO_WORKERS, "ps", 0), "ps 0 is not in"),
        (tf_config(TWO_WORKERS, "worker", "2"), "worker 2 is not in"),
        (tf_config(TWO_WORKERS, "worker", "-1"), "worker '-1' is not in"),
        (tf_config(TWO_WORKERS, "worker", "first"), "worker 'first' is not in"),
        (tf_config(TWO_WORKERS, "worker", " 1"), "worker ' 1' is not in"),
        (tf_config(TWO_WORKERS, "worker", "\u0661"), "is not in"),
        (tf_config(TWO_WORKERS, "worker", "1" * 5000), "is not in"),
        (tf_config(TWO_WORKERS, "worker", True), "worker True is not in"),
        (tf_config(TWO_WORKERS, "worker", 1.0), "worker 1.0 is not in"),
        (tf_config(TWO_WORKERS, "worker", None), "worker None is not in"),
        (tf_config(TWO_WORKERS, ["worker"], 0), "is not in"),
        (tf_config(TWO_WORKERS, "master", 0), "chief 0 is not in"),
        (tf_config({"worker": ["a:1"], "reader": ["b:1"]}, "worker", 0), "job 'reader'"),
        (tf_config({"chief": ["a:1"], "master": ["b:1"]}, "chief", 0), "both a chief and a master"),
        (tf_config({"master": ["a:1", "b:1"]}, "master", 0), "at most one chief"),
        (tf_config({"ps": ["a:1"], "evaluator": ["b:1"]}, "ps", 0), "at least one worker"),
        (tf_config({"worker": "a:1"}, "worker", 0), "must be a list"),
        (tf_config({"worker": ["a"]}, "worker", 0), "'a' of worker; it must be HOST:PORT"),
        (tf_config({"worker": ["a:0"]}, "worker", 0), "'a:0'"),
        (tf_config({"worker": ["a:65536"]}, "worker", 0), "'a:65536'"),
        (tf_config({"worker": ["http://a:1"]}, "worker", 0), "'http://a:1'"),
        (tf_config({"worker": [5]}, "worker", 0), "address 5"),
        (tf_config({"worker": ["a:1", "a:1"]}, "worker", 0), "a:1 twice"),
        (tf_config({"chief": ["a:1", "b:1"]}, "chief", 0), "at most one chief"),
        (tf_config({"ps": ["a:1"]}, "ps", 0), "at least one worker"),
        ("[" * 100000, "not valid JSON"),
    ],
)
def test_an_invalid_tf_config_is_refused_with_the_reason(text, reason):
    with pytest.raises(InputError, match=reason):
        parse_tf_config(text)


def test_the_chief_is_the_chief_job_or_worker_0():
    assert parse_tf_config(tf_config(TWO_WORKERS, "worker", 1)).chief.address == "a.example:2222"
    assert parse_tf_config(tf_config({**TWO_WORKERS, "chief": ["c:1"]}, "worker", 0)).chief.address == "c:1"


def test_master_is_the_chief_and_the_evaluator_is_left_out():
    task = parse_tf_config(tf_config({"chief": ["c:1"], **TWO_WORKERS}, "chief", 0))
    assert task.device == "/job:chief/task:0"
    for chief, job in (("master", "master"), ("master", "chief"), ("chief", "master")):
        for evaluator in ({}, {"evaluator": ["e:1"]}, {"evaluator": []}):
            assert parse_tf_config(tf_config({chief: ["c:1"], **TWO_WORKERS, **evaluator}, job, 0)) == task


def test_an_index_of_decimal_digits_is_a_number():
    assert parse_tf_config(tf_config(TWO_WORKERS, "worker", "1")) == parse_tf_config(
        tf_config(TWO_WORKERS, "worker", 1)
    )


@pytest.mark.parametrize(
    "cluster", [{}, TWO_WORKERS, {**TWO_WORKERS, "evaluator": ["e:1"]}], ids=["none", "unlisted", "listed"]
)
def test_an_evaluator_says_that_it_has_nothing_to_do(script, tmp_path, cluster):
    done = script("train.py", TF_CONFIG=tf_config(cluster, "evaluator", 0))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("NOTICE: this task is an evaluator") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{}", '{"cluster": {}}', '{"task": {"type": "worker", "index": 0}}'])
def test_a_tf_config_without_a_cluster_describes_no_task(text):
    assert parse_tf_config(text) is None


def test_an_invalid_tf_config_is_a_one_line_error_of_the_train_command(script):
    done = script("train.py", TF_CONFIG=tf_config(TWO_WORKERS, "worker", 7))
    assert done.returncode == 2 and "worker 7 is not in the cluster" in done.stderr
    assert done.stderr.startswith("train.py: error: ") and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_without_tf_config_the_cluster_modules_are_not_imported(python, tmp_path):
    code = f"""
import sys
from mnist_cnn.cli.train import main
try:
    main(["--dataset", "sample", "--max-steps", "1", "--run-dir", {str(tmp_path / "run")!r}], "train.py")
except SystemExit as end:
    assert end.code == 0
print([name for name in sys.modules if name.startswith("mnist_cnn.cluster")])
"""
    assert python(code).splitlines()[-1] == "[]"
