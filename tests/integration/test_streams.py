"""Commands whose stdin, stdout or stderr is closed, full, or a pipe without a reader."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from drawings import draw_strokes, paint
from helpers import environment, script_command

from mnist_cnn import evaluate, restore_run
from mnist_cnn.run_dir import directory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs the redirections of sh")

# Two epochs of two steps: three lines on stdout.
TRAIN = ("train.py", "--dataset", "sample", "--model", "mlp", "--batch-size", 2000, "--epochs", 2)
ALL_CLOSED = "<&- >&- 2>&-"
MODULE = [sys.executable, "-m", "mnist_cnn"]  # without a verb, it prints the verbs


@contextlib.contextmanager
def broken_pipe():
    """A pipe's descriptor for writing, whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


def run(name, *arguments, redirections="", stdout=subprocess.PIPE, stderr=subprocess.PIPE, unbuffered=""):
    """Runs a script with redirections in the syntax of sh; returns its (exit status, stdout, stderr)."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *script_command(name, *arguments)],
        env=environment(PYTHONUNBUFFERED=unbuffered),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def assert_complete(run_dir, sample):
    """Asserts that a run's files have the results and that its checkpoint is undamaged."""
    result = directory.read_json(run_dir, "result.json")
    assert result["completed"] and len(directory.read_history(run_dir)) == 2
    with restore_run(run_dir) as (session, model):
        assert evaluate(session, model, sample.test).accuracy == result["test_accuracy"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a run that was trained without standard streams, and the (exit status, stdout, stderr)."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    # With --debug, TensorFlow writes its log to descriptor 2, whatever that is.
    return folder, run(*TRAIN, "--debug", "--run-dir", folder, redirections=ALL_CLOSED)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "seven.png"
    paint(draw_strokes(7), (0, 0, 0), (255, 255, 255)).save(str(path))
    return path


def test_training_without_standard_streams_leaves_its_results_in_the_files(trained, sample):
    run_dir, done = trained
    assert done == (0, "", "")
    assert_complete(run_dir, sample)


@pytest.mark.slow
def test_predict_without_stderr_prints_the_results(trained, image):
    status, stdout, _ = run("predict.py", image, "--run-dir", trained[0], redirections="2>&-")
    assert status == 0 and re.fullmatch(rf"{image}: \d \(\d\.\d+\)\n", stdout)


@pytest.mark.slow
def test_report_without_standard_streams_writes_its_files(trained):
    assert run("report.py", "--run-dir", trained[0], redirections=ALL_CLOSED) == (0, "", "")
    assert (trained[0] / "report/index.html").read_bytes().endswith(b"</html>\n")


@pytest.mark.slow
def test_evaluate_and_export_work_without_standard_streams(trained, tmp_path):
    assert run("evaluate.py", "--run-dir", trained[0], redirections=ALL_CLOSED) == (0, "", "")
    export = ("export.py", "--run-dir", trained[0], "--export-dir", tmp_path / "model")
    assert run(*export, redirections=ALL_CLOSED) == (0, "", "")
    assert (tmp_path / "model/1/saved_model.pb").exists()


@pytest.mark.slow
def test_launch_local_works_without_standard_streams(tmp_path, sample):
    launch = ("launch_local.py", "--workers", 1, "--", *TRAIN[1:], "--run-dir", tmp_path / "run")
    assert run(*launch, redirections=ALL_CLOSED) == (0, "", "")
    assert_complete(tmp_path / "run", sample)


def test_without_stderr_an_error_is_not_printed_to_stdout():
    assert run("evaluate.py", "--wrong", redirections="2>&-") == (2, "", "")
    assert run("evaluate.py", "--run-dir", "nowhere", redirections="2>&-") == (2, "", "")
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *MODULE, "trian"]
    unknown_verb = subprocess.run(command, env=environment(), stdout=subprocess.PIPE)
    assert (unknown_verb.returncode, unknown_verb.stdout) == (2, b"")


def test_an_opened_file_never_gets_the_descriptor_of_a_closed_stream(tmp_path):
    code = f"""
import os, subprocess, sys
from mnist_cnn.cli.streams import prepare_standard_streams
prepare_standard_streams()
with open({str(tmp_path / "file")!r}, "w") as file:
    assert file.fileno() > 2
    os.write(1, b"log")
    os.write(2, b"log")
    print("log"), print("log", file=sys.stderr)
    assert sys.stdin.read() == ""
    subprocess.run(["sh", "-c", "echo log; echo log >&2; cat"], check=True)
    file.write("content")
"""
    command = ["sh", "-c", f'exec "$@" {ALL_CLOSED}', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, env=environment()).returncode == 0
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_predict_ends_quietly_with_status_141_if_the_reader_of_stdout_is_gone(trained, image, unbuffered):
    predict = ("predict.py", image, image, "--run-dir", trained[0])
    with broken_pipe() as pipe:
        assert run(*predict, stdout=pipe, unbuffered=unbuffered) == (141, None, "")


@pytest.mark.slow
def test_evaluate_report_and_export_end_quietly_with_status_141_if_the_reader_of_stdout_is_gone(trained, tmp_path):
    for command in (["evaluate.py"], ["report.py"], ["export.py", "--export-dir", tmp_path / "model"]):
        with broken_pipe() as pipe:
            assert run(*command, "--run-dir", trained[0], stdout=pipe) == (141, None, ""), command
    assert (tmp_path / "model/1/saved_model.pb").exists()


def test_download_ends_quietly_with_status_141_if_the_reader_of_stdout_is_gone(mnist_dir):
    with broken_pipe() as pipe:
        assert run("download.py", "--data-dir", mnist_dir, stdout=pipe) == (141, None, "")


def test_help_ends_quietly_if_its_reader_is_gone():
    with broken_pipe() as pipe:
        status, _, stderr = run("train.py", "--help", stdout=pipe)
        assert status in (0, 141) and stderr == ""  # since Python 3.9, argparse ignores the error
        usage = subprocess.run(MODULE, env=environment(PYTHONUNBUFFERED=""), stdout=pipe, stderr=subprocess.PIPE)
        assert (usage.returncode, usage.stderr) == (141, b"")


def test_an_error_keeps_its_status_if_its_reader_is_gone():
    with broken_pipe() as pipe:
        assert run("evaluate.py", "--wrong", stderr=pipe) == (2, "", None)
        assert run("evaluate.py", "--run-dir", "nowhere", stderr=pipe) == (2, "", None)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_command_that_cannot_write_to_a_full_device_fails_with_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            MODULE, env=environment(PYTHONUNBUFFERED=""), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("mnist_cnn: error: ") and "No space left on device: '<stdout>'" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("stdout", ["a pipe without a reader", "full"])
def test_training_continues_if_stdout_cannot_be_written_and_says_so_once(tmp_path, sample, stdout):
    run_dir = tmp_path / "run"
    with broken_pipe() as pipe, open("/dev/full", "w") as full:
        done = run(*TRAIN, "--run-dir", run_dir, stdout=full if stdout == "full" else pipe)
    assert done[0] == 0, done
    (notice,) = (line for line in done[2].splitlines() if "stdout" in line)
    assert notice.startswith("NOTICE: stdout cannot be written (") and str(run_dir) in notice
    assert "Exception ignored" not in done[2] and "Traceback" not in done[2]
    assert_complete(run_dir, sample)


@pytest.mark.slow
def test_training_continues_if_the_readers_of_stdout_and_stderr_are_gone(tmp_path, sample):
    with broken_pipe() as pipe:
        assert run(*TRAIN, "--run-dir", tmp_path / "run", stdout=pipe, stderr=pipe)[0] == 0
    assert_complete(tmp_path / "run", sample)


@pytest.mark.slow
def test_launch_local_continues_if_the_reader_of_stdout_is_gone(tmp_path, sample):
    with broken_pipe() as pipe:
        launch = ("launch_local.py", "--workers", 1, "--", *TRAIN[1:], "--run-dir", tmp_path / "run")
        status, _, stderr = run(*launch, stdout=pipe)
    assert status == 0 and stderr.count("cannot be written") == 1, stderr
    assert_complete(tmp_path / "run", sample)


@pytest.mark.slow
def test_the_server_serves_if_the_reader_of_stdout_is_gone(trained):
    with broken_pipe() as pipe:
        server = subprocess.Popen(
            script_command("serve.py", "--run-dir", trained[0], "--port", 0),
            env=environment(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        notice = server.stderr.readline()
        url = re.fullmatch(r"NOTICE: stdout cannot be written \(.*\); serving at (\S+)\n", notice).group(1)
        with urllib.request.urlopen(f"{url}healthz", timeout=30) as response:
            assert response.status == 200
        server.send_signal(signal.SIGTERM)
        assert (server.communicate(timeout=30)[1], server.returncode) == ("", 0)
    finally:
        server.kill()
        server.communicate()
