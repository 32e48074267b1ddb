"""What all scripts share: one-line errors, exit statuses, and a TensorFlow that keeps quiet."""

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

from mnist_cnn import cpu
from mnist_cnn.errors import InputError, Stopped, TrainingFailed
from mnist_cnn.run_dir.signals import SIGNALS

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # in glibc's malloc.h


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with --debug and errors of one line."""

    def __init__(self, description):
        # No abbreviations: one would break as soon as a flag with the same beginning is added.
        super().__init__(description=description, allow_abbrev=False)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def add_data_arguments(self):
        self.add_argument(
            "--data-dir",
            metavar="DIR",
            help="folder where MNIST's four IDX files are, packed or not, or into which they are downloaded "
            "(default: $MNIST_DATA_DIR, else a per-user cache folder)",
        )
        self.add_argument(
            "--mirror",
            metavar="URL",
            help="where to download them from (default: $MNIST_MIRROR, else the two public mirrors)",
        )

    def run(self, work):
        """Calls `work(args)` and exits: 0 done, 1 it failed, 2 the arguments or the data are bad,
        130, 143, 129 stopped by Ctrl-C, SIGTERM, SIGHUP.
        """
        self.add_argument("--debug", action="store_true", help="show tracebacks, and all that TensorFlow says")
        args = self.parse_args()
        for signum in SIGNALS:
            if signum != signal.SIGINT and signal.getsignal(signum) == signal.SIG_DFL:  # not under nohup
                signal.signal(signum, _stop)
        try:
            work(args)
            status = 0
        except BaseException as error:
            if args.debug or isinstance(error, SystemExit):
                raise
            status, message = _explain(error)
            print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(status)


def trained_on(run, args):
    """The Dataset that a run was trained on; `args` are those of `add_data_arguments`."""
    from mnist_cnn import load_mnist, load_sample
    from mnist_cnn.run_dir import directory

    dataset = directory.read_json(run, "config.json").get("dataset")
    if isinstance(dataset, dict) and dataset.get("name") == "sample":
        return load_sample()
    return load_mnist(args.data_dir, args.mirror)


def load_tensorflow(debug):
    """Once the arguments are known to be good: loading takes seconds. Silences it, unless `debug`."""
    _keep_freed_memory()
    _prepare_intels_build()
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        warnings.simplefilter("ignore")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.ExitStack() if debug else stderr_closed():
        import mnist_cnn.tf1  # noqa: F401


def _keep_freed_memory():
    # Else glibc hands the memory of a step's large tensors back to the system again and again, and
    # TensorFlow 1.15 takes up to 1,600 page faults a step, which cost 5 to 15 % of its time.
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 2**30)
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes


def _prepare_intels_build():
    """The best settings for intel-tensorflow 1.15.2, as measured. Other builds do not read them."""
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # ms for which idle threads spin: by default 200
    os.environ.setdefault("KMP_AFFINITY", "granularity=fine,compact,1,0")
    if cpu.is_amd():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # else MKL of that time avoids AVX2 on AMD


def notice(*lines):
    """Says something to people that is no result: on stderr."""
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def _stop(signum, frame):
    raise Stopped(signum)


def _explain(error):
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signum", signal.SIGINT), str(error) or "stopped"
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, InputError):
        return 2, f"error: {message}"
    if isinstance(error, (ImportError, OSError, TrainingFailed)):
        return 1, f"error: {message}"
    return 1, f"error: {type(error).__name__}: {message[:300]} (--debug shows the traceback)"


@contextlib.contextmanager
def stderr_closed():
    """For libraries that write to file descriptor 2, which no setting of theirs prevents: TensorFlow 2 while it
    loads, libtiff on what is damaged.
    """
    with os.fdopen(os.dup(2), "w") as stderr, open(os.devnull, "w") as devnull:
        faulthandler.enable(stderr)  # a crash, as of TensorFlow on a CPU without AVX, is still seen
        os.dup2(devnull.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)
            faulthandler.disable()
