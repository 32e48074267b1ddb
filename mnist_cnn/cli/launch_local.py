"""Starts all tasks of a cluster on this machine, to try distributed training without a second machine.

Each task is a process that runs the `train` command with its own TF_CONFIG. The first worker is the chief. Output
lines of the tasks are prefixed with the task name.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, TextIO

import mnist_cnn
from mnist_cnn.cli import command
from mnist_cnn.cli.streams import discard
from mnist_cnn.recipes import check_int
from mnist_cnn.run_dir.signals import GracefulShutdown

logger = logging.getLogger(__name__)

# Seconds for the tasks to exit by themselves. Then they are killed; checkpoints make that safe.
SHUTDOWN_SECS = 60
SHUTDOWN_SECS_AFTER_FAILURE = 10
# Options with which Ctrl-C reaches only this process, which forwards it to the chief.
_OWN_PROCESS_GROUP: Dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if sys.platform == "win32" else {"start_new_session": True}
)


class TaskProcess(NamedTuple):
    process: "subprocess.Popen[str]"
    output_threads: List[threading.Thread]  # copy its stdout and stderr to those of this process


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = command.Parser(
        prog,
        "Starts all tasks of a cluster on this machine, to try distributed training. Each task runs the train command.",
    )
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="workers, chief included (default: 2)")
    parser.add_argument("--ps", metavar="N", type=int, default=0, help="parameter servers (default: 0)")
    parser.add_argument("flags", metavar="TRAIN_FLAG", nargs="*", help="after --, the flags of the train command")
    parser.run(launch, argv=argv)


def launch(args: Namespace) -> None:
    """Runs the tasks until all have exited; exits with the status of the first one that failed."""
    check_int("workers", args.workers, 1)
    check_int("ps", args.ps, 0)
    addresses = free_addresses(args.workers + args.ps)
    cluster = {"worker": addresses[: args.workers], "ps": addresses[args.workers :]}
    tasks: List[TaskProcess] = []
    with GracefulShutdown() as shutdown:
        try:
            for job in cluster:
                for index in range(len(cluster[job])):
                    tasks.append(start_task(cluster, job, index, args.flags))
            status = wait_for_all([task.process for task in tasks], shutdown)
        finally:  # also after a second Ctrl-C, which raises Stopped
            for task in tasks:
                task.process.kill()
                task.process.wait()
                for thread in task.output_threads:
                    thread.join()
    if status:
        sys.exit(status)


def free_addresses(n: int) -> List[str]:
    """Returns `n` loopback addresses, "host:port", with free ports. They stay free until another process takes them."""
    with ExitStack() as stack:
        # All sockets are open at the same time, so that no port is chosen twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def start_task(cluster: Dict[str, List[str]], job: str, index: int, flags: Sequence[str]) -> TaskProcess:
    process = subprocess.Popen(
        [sys.executable, "-m", "mnist_cnn", "train", *flags],
        env={
            **package_environment(),
            "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}}),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",  # the names of files may have bytes that are not text
        **_OWN_PROCESS_GROUP,
    )
    name = "chief" if (job, index) == ("worker", 0) else f"{job} {index}"
    threads = [
        threading.Thread(target=copy_lines, args=[name, process.stdout, sys.stdout]),
        threading.Thread(target=copy_lines, args=[name, process.stderr, sys.stderr]),
    ]
    for thread in threads:
        thread.start()
    return TaskProcess(process, threads)


def package_environment() -> Dict[str, str]:
    """Returns an environment in which a new process imports the same copy of the package as this process."""
    # Since Python 3.11, this keeps another copy in the current directory from being imported.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    folder = str(Path(mnist_cnn.__file__).resolve().parent.parent)
    # Installed packages are found without PYTHONPATH, which would let them replace modules of the standard library.
    if folder != str(Path(sysconfig.get_path("purelib")).resolve()):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    return environment


def copy_lines(name: str, source: TextIO, target: TextIO) -> None:
    """Copies lines, each prefixed with the task name."""
    for line in source:
        try:
            target.write(f"[{name}] {line}")
            target.flush()
        except OSError as error:
            discard(target)  # and read on: the task would wait forever for a reader of its output
            logger.warning("%s cannot be written (%s); the run continues", target.name, error)


def wait_for_all(processes: "List[subprocess.Popen[str]]", shutdown: GracefulShutdown) -> int:
    """Waits until all tasks have exited, and makes them exit after a signal or when the first one has exited.

    Args:
      processes: the tasks, the chief first.
      shutdown: an entered GracefulShutdown.

    Returns:
      The exit status of the first task that failed (128 + the signal for one that was killed), or 0.
    """
    status, deadline, signal_forwarded = 0, None, False
    while True:
        exited = [process.returncode for process in processes if process.poll() is not None]
        status = status or next((code for code in exited if code), 0)
        if len(exited) == len(processes):
            return status if status >= 0 else 128 - status
        if shutdown.signum and not signal_forwarded:
            # The chief saves, and makes the others exit. Windows can send only Ctrl-Break to a process group.
            processes[0].send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else shutdown.signum)
            signal_forwarded = True
        if deadline is None and (shutdown.signum or exited):
            deadline = time.monotonic() + (SHUTDOWN_SECS_AFTER_FAILURE if status else SHUTDOWN_SECS)
            if status:
                for process in processes:
                    process.terminate()
        elif deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)
