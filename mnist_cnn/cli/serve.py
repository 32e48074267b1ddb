"""`serve`: demo page and TensorFlow Serving's REST API."""

import argparse
import contextlib
import gc
import logging
import mimetypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Union

from mnist_cnn.cli.command import Hints, Parser, load_tensorflow
from mnist_cnn.cli.streams import discard
from mnist_cnn.errors import DataNotFound, InputError
from mnist_cnn.recipes import check_int
from mnist_cnn.run_dir.signals import SIGNALS
from mnist_cnn.server.address import CannotListen, OpenToAnyone, is_loopback

if TYPE_CHECKING:
    from mnist_cnn.data.mnist import Split

DESCRIPTION = (
    "Serves a page where you draw a number and see the network's prediction and feature maps, and TensorFlow Serving's "
    "REST API. Prints its URL when it is ready. Ctrl-C and SIGTERM stop it; requests sent before that are answered."
)
HINTS: Hints = {
    CannotListen: "choose another --host or --port",
    DataNotFound: "name the folder of MNIST's four files with --data-dir, or leave it out",
    OpenToAnyone: "add --collect-from-anyone if that is wanted",
}

logger = logging.getLogger(__name__)


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    parser.add_run_dir_argument(
        "a run, or the folder of an exported model (default: the latest completed run in runs/)"
    )
    add("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, for this machine only)")
    add(
        "--port",
        type=int,
        default=8501,
        metavar="N",
        help="port to listen at; 0 chooses a free one (default: %(default)s, as TensorFlow Serving's)",
    )
    add(
        "--max-body",
        type=int,
        default=8,
        metavar="MB",
        help="largest body of a request, apart from image files, in millions of bytes, 1 to 64 (default: %(default)s)",
    )
    add(
        "--data-dir",
        metavar="DIR",
        help="folder of the data that the run was trained on, for the page's test accuracy and mistakes (default: "
        "where train.py finds them; nothing is downloaded)",
    )
    add(
        "--collect",
        metavar="DIR",
        help="let visitors correct misread drawings, and save these as DIR/CLASS/TIME.png, for train.py --init-from "
        "RUN --dataset folder --data-dir DIR",
    )
    add(
        "--collect-from-anyone",
        action="store_true",
        help="with --collect: also accept corrections from other machines, at any --host and under any host name",
    )
    parser.run(serve, HINTS, argv)


def serve(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    # The system would use the port modulo 65536.
    check_int("port", args.port, 0, 65535)
    check_int("max-body", args.max_body, 1, 64)
    if args.collect_from_anyone and not args.collect:
        raise InputError("--collect-from-anyone needs --collect DIR")
    if args.collect and not (args.collect_from_anyone or is_loopback(args.host)):
        raise OpenToAnyone(f"other machines can reach {args.host}, and --collect would save what they draw")
    folder = args.run_dir or directory.latest_run(completed=True)
    # The server prepares images in several threads already. One BLAS thread for each halves the CPU time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if os.name == "nt":
        # Windows takes media types from the registry, where .js may be text/plain, which browsers do not run.
        mimetypes.add_type("text/javascript", ".js")
        mimetypes.add_type("text/css", ".css")
    raise_open_file_limit()
    # With a folder, they are loaded here, so that an error comes before the server starts.
    test_split = load_test_images(folder, args.data_dir) if args.data_dir else None
    load_tensorflow(args.debug, reads_images=True)
    if not args.debug:
        logging.getLogger("waitress").setLevel(logging.ERROR)  # at lower levels, waitress logs every queued request
    from mnist_cnn import Classifier
    from mnist_cnn.server.app import create_app
    from mnist_cnn.server.collect import Collector
    from mnist_cnn.server.http import Server

    with Classifier.load(folder) as classifier:
        collector = None
        if args.collect:
            collector = Collector(args.collect, classifier.class_names, classifier.preparation)
            logger.warning("corrected drawings are saved in %s", args.collect)
        max_body_bytes = args.max_body * 10**6
        app = create_app(
            classifier,
            collector,
            args.collect_from_anyone,
            max_body_bytes,
            load_test_split=lambda: test_split or load_test_images(folder, None),
        )
        server = Server(app, args.host, args.port, max_body_bytes)
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(signum, lambda *_: server.stop())
        host = f"[{args.host}]" if ":" in args.host else args.host  # IPv6
        url = f"http://{host}:{server.effective_port}/"
        try:
            print(url, flush=True)
        except OSError as error:
            discard(sys.stdout)
            logger.warning("stdout cannot be written (%s); serving at %s", error, url)
        # Without this, each full garbage collection visits all of TensorFlow's objects, which takes about 0.2 s.
        gc.freeze()
        # At the default of 5 ms, the thread that reads and writes waits that long for each of 128 connections, and
        # some get no response in time.
        sys.setswitchinterval(1e-4)
        server.run()


def load_test_images(folder: Union[str, Path], data_dir: Optional[str]) -> "Split":
    """Loads the test images of the data that a run was trained on; those of MNIST for an exported model.

    Raises:
      InputError: they are not there. Nothing is downloaded, since the page waits.
    """
    from mnist_cnn.cli.datasets import load_run_dataset
    from mnist_cnn.data.idx import IDX_FILES
    from mnist_cnn.data.mnist import find_files, get_data_dir, load_mnist
    from mnist_cnn.run_dir import directory

    is_run = Path(folder, "config.json").exists()
    config = directory.read_json(folder, "config.json") if is_run else {}
    dataset, mnist_dir = config.get("dataset"), data_dir
    while isinstance(dataset, dict) and dataset.get("mix"):  # with the data of the run that this one went on from
        config = directory.read_json(str(config.get("init_from")), "config.json")
        dataset, mnist_dir = config.get("dataset"), None
    if not isinstance(dataset, dict) or dataset.get("name") == "mnist":
        found = find_files(get_data_dir(mnist_dir))
        if len(found) < len(IDX_FILES):
            raise DataNotFound(f"MNIST is not in {get_data_dir(mnist_dir)}")
    return (load_run_dataset(folder, data_dir, None) if is_run else load_mnist(data_dir)).test


def raise_open_file_limit() -> None:
    """Allows more open files than the server's connections need: macOS allows 256 by default."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 1024:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
