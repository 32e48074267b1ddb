"""What all scripts share: one-line errors, exit statuses, and a TensorFlow that keeps quiet."""

import argparse
import contextlib
import faulthandler
import logging
import os
import sys
import warnings
from pathlib import Path

# A script runs the package it lies beside, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mnist_cnn.errors import InputError  # noqa: E402


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with defaults in --help, errors of one line, and --debug."""

    def __init__(self, description):
        super().__init__(
            description=description,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,  # or a script would break once a flag with the same beginning is added
        )

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def run(self, work):
        """Parses the command line, calls `work(args)` and exits: 0 done, 1 failed, 2 bad input, 130 Ctrl-C."""
        self.add_argument(
            "--debug", action="store_true", help="show tracebacks, and all that TensorFlow says"
        )
        args = self.parse_args()
        try:
            if not args.debug:
                _import_tensorflow_quietly()
            work(args)
            status = 0
        except BaseException as error:
            if args.debug or isinstance(error, SystemExit):
                raise
            status, message = _explain(error)
            print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(status)


def notice(text):
    """A line to people, which is no result: to stderr."""
    print(text, file=sys.stderr, flush=True)


def _explain(error):
    if isinstance(error, KeyboardInterrupt):
        return 130, "stopped"
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, InputError):
        return 2, f"error: {message}"
    if isinstance(error, (ImportError, OSError)):
        return 1, f"error: {message}"
    return 1, f"error: {type(error).__name__}: {message[:300]} (--debug shows the traceback)"


def _import_tensorflow_quietly():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with _stderr_closed():
        import mnist_cnn.tf1  # noqa: F401


@contextlib.contextmanager
def _stderr_closed():
    """TensorFlow 2 writes lines to file descriptor 2 while it loads, whatever the log level says."""
    with os.fdopen(os.dup(2), "w") as stderr, open(os.devnull, "w") as devnull:
        faulthandler.enable(stderr)  # a crash while loading, as on a CPU without AVX, is still seen
        os.dup2(devnull.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)
            faulthandler.disable()
