"""`serve`: serves a page to draw digits on, and TensorFlow Serving's REST API."""

import gc
import logging
import os
import signal
import sys
from typing import List, Optional

from mnist_cnn.cli.command import Hints, Parser, load_tensorflow
from mnist_cnn.recipes import check_int
from mnist_cnn.run_dir.signals import SIGNALS

DESCRIPTION = (
    "Serves a page to draw digits on, which shows the network's activations, and TensorFlow Serving's REST API. "
    "Prints its address when it is ready. Ctrl-C and SIGTERM stop it after it has answered the requests received so far."
)
HINTS: Hints = {}


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    parser.add_run_dir_argument(
        "a run, or the folder of an exported model (default: the latest completed run in runs/)"
    )
    add("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s, this machine alone)")
    add(
        "--port",
        type=int,
        default=8501,
        metavar="N",
        help="default: %(default)s, which is TensorFlow Serving's too; 0 takes a free one",
    )
    parser.run(work, HINTS, argv)


def work(args):
    from mnist_cnn.run_dir import directory

    check_int("port", args.port, 0, 65535)  # the system would take its remainder
    folder = args.run_dir or directory.latest_run(completed=True)
    # As digits are prepared side by side, a thread for each is enough, and takes half of the CPU's time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    load_tensorflow(args.debug)
    if not args.debug:
        logging.getLogger("waitress").setLevel(logging.ERROR)  # else it tells each time that a request waits
    from mnist_cnn import Classifier
    from mnist_cnn.server.app import create_app
    from mnist_cnn.server.http import Server

    with Classifier.load(folder) as classifier:
        server = Server(create_app(classifier), args.host, args.port)
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:  # as under nohup
                signal.signal(signum, lambda *_: server.stop())
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"http://{host}:{server.effective_port}/", flush=True)
        gc.freeze()  # else each full collection goes through all of TensorFlow, which takes some 0.2 s
        # Else the thread that reads and writes waits 5 ms for each of 128 connections, and some are never answered.
        sys.setswitchinterval(1e-4)
        server.run()
