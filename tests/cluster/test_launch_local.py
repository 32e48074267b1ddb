"""launch_local: tasks run the same copy of the package, and all of them exit."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT, environment, script_command, start, wait_for


def test_tasks_import_the_same_copy_of_the_package_from_any_directory(tmp_path):
    variables = environment()
    del variables["PYTHONPATH"]
    if sys.version_info >= (3, 11):  # older versions import from the current directory first
        (tmp_path / "mnist_cnn").mkdir()
        (tmp_path / "mnist_cnn/__init__.py").write_text("raise SystemExit('wrong copy')")
    command = [sys.executable, str(ROOT / "scripts/launch_local.py"), "--workers", "1", "--", "--help"]
    for safe_path in ("", "1"):
        done = subprocess.run(
            command,
            cwd=str(tmp_path),
            env={**variables, "PYTHONSAFEPATH": safe_path},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert all(line.startswith("[chief] ") for line in done.stdout.splitlines())
        assert "--cluster-timeout" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc and the ps of Linux")
@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.parametrize("event, status", [("a task is killed", 137), ("Ctrl-C", 130), ("Ctrl-C twice", 130)])
def test_all_tasks_end_with_the_status_of_the_one_that_failed(tmp_path, event, status):
    run_dir = tmp_path / "run"
    launcher = start(
        script_command("launch_local.py", "--workers", "2", "--", "--dataset", "sample", "--run-dir", run_dir)
    )
    wait_for(lambda: list(run_dir.glob("checkpoints/step-*.json")), launcher)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(launcher.pid)], stdout=subprocess.PIPE)
    tasks = [int(pid) for pid in children.stdout.split()]
    assert len(tasks) == 2
    if event == "a task is killed":
        os.kill(max(tasks), signal.SIGKILL)
    else:
        if event == "Ctrl-C twice":
            os.kill(min(tasks), signal.SIGSTOP)  # without this, the tasks may exit after the first Ctrl-C
            launcher.send_signal(signal.SIGINT)
            time.sleep(0.5)
        launcher.send_signal(signal.SIGINT)
    _, stderr = launcher.communicate(timeout=120)
    assert launcher.returncode == status, stderr
    assert all(re.match(r"\[chief\] |\[worker 1\] |launch_local.py: stopped", line) for line in stderr.splitlines())
    assert not [pid for pid in tasks if os.path.exists(f"/proc/{pid}")]
