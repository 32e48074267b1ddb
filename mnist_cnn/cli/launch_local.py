"""Starts all tasks of a cluster on this machine, for trying it: each is train.py, with a TF_CONFIG of its own.

    launch_local.py --workers 2 -- --max-steps 100

The first worker is the chief. What the tasks say is shown with their names before it.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from mnist_cnn.cli.command import Parser
from mnist_cnn.recipes import check_int
from mnist_cnn.run_dir.signals import GracefulShutdown

TRAIN = str(Path(__file__).resolve().parent / "train.py")
GRACE = 60  # seconds to end by themselves, 10 after a failure; then they are killed, which costs a run nothing


def main():
    parser = Parser(__doc__.split("\n")[0])
    parser.add_argument("--workers", metavar="N", type=int, default=2, help="the chief is one of them (default: 2)")
    parser.add_argument("--ps", metavar="N", type=int, default=0, help="parameter servers (default: 0)")
    parser.add_argument("flags", metavar="-- ...", nargs="*", help="the flags of train.py")
    parser.run(work)


def work(args):
    check_int("workers", args.workers, 1)
    check_int("ps", args.ps, 0)
    addresses = free_addresses(args.workers + args.ps)
    cluster = {"worker": addresses[: args.workers], "ps": addresses[args.workers :]}
    tasks = []
    with GracefulShutdown() as stop:
        try:
            for job in cluster:
                for index in range(len(cluster[job])):
                    tasks.append(start(cluster, job, index, args.flags))
            status = wait(tasks, stop)
        finally:  # by a second Ctrl-C, too
            for task in tasks:
                task.kill()
                task.wait()
                for thread in task.echoes:
                    thread.join()
    if status:
        sys.exit(status)


def free_addresses(n):
    """Of loopback. Nothing holds them until the tasks do."""
    with ExitStack() as open_together:
        sockets = [open_together.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def start(cluster, job, index, flags):
    process = subprocess.Popen(
        [sys.executable, TRAIN, *flags],
        env={**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        start_new_session=True,  # Ctrl-C is for this process, which tells the chief
    )
    name = "chief" if (job, index) == ("worker", 0) else f"{job} {index}"
    process.echoes = [
        threading.Thread(target=echo, args=[name, process.stdout, sys.stdout]),
        threading.Thread(target=echo, args=[name, process.stderr, sys.stderr]),
    ]
    for thread in process.echoes:
        thread.start()
    return process


def echo(name, stream, to):
    for line in stream:
        to.write(f"[{name}] {line}")
        to.flush()


def wait(tasks, stop):
    """Until all have ended. Returns the status of the first that failed, or 0."""
    status, end_by, told = 0, None, False
    while True:
        ended = [task.returncode for task in tasks if task.poll() is not None]
        status = status or next((code for code in ended if code), 0)
        if len(ended) == len(tasks):
            return status if status >= 0 else 128 - status
        if stop.signum and not told:
            tasks[0].send_signal(stop.signum)  # the chief saves, and tells the others
            told = True
        if end_by is None and (stop.signum or ended):
            end_by = time.monotonic() + (10 if status else GRACE)
            if status:
                for task in tasks:
                    task.terminate()
        elif end_by is not None and time.monotonic() > end_by:
            for task in tasks:
                task.kill()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
