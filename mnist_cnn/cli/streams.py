"""stdin, stdout and stderr of a command: closed, full or broken ones, and file names that are not text."""

import codecs
import contextlib
import faulthandler
import io
import os
import sys
from typing import Iterator, Optional, TextIO, Tuple, Union

_KEEP_FILE_NAMES = "mnist_cnn.keep_file_names"  # the name under which codecs knows _encode_file_name


def prepare_standard_streams() -> None:
    """Opens those of stdin, stdout and stderr that the process was started without, on the null device.

    Without this, the next file that is opened, such as a checkpoint, gets descriptor 1 or 2, and libraries write their
    log into it, and print(file=None) prints errors to stdout.

    stdout and stderr get a handler for file names that their encoding cannot express.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest free descriptor, except on Windows
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    codecs.register_error(_KEEP_FILE_NAMES, _encode_file_name)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_KEEP_FILE_NAMES)


def flush_or_discard(stream: TextIO) -> Optional[OSError]:
    """Flushes stdout or stderr. If that fails, discards its output from now on, and returns the error."""
    try:
        stream.flush()
    except OSError as error:
        discard(stream)
        error.filename = stream.name
        return error
    return None


def discard(stream: TextIO) -> None:
    """Discards the output of stdout or stderr from now on.

    Without this, Python writes the buffered rest when it exits, reports that this failed and exits with status 120.
    """
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), stream.fileno())


@contextlib.contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discards the output of libraries that write straight to file descriptor 2.

    TensorFlow 2 does so while it loads, and libtiff for damaged files; no setting of theirs prevents it.
    """
    if os.name == "nt" and sys.version_info < (3, 10):  # there, printing to a console fails afterwards: bpo-30555
        yield
        return
    with os.fdopen(os.dup(2), "w") as stderr, open(os.devnull, "w") as devnull:
        faulthandler.enable(stderr)  # a crash, as of TensorFlow on a CPU without AVX, is still reported
        os.dup2(devnull.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr.fileno(), 2)
            faulthandler.disable()


def _encode_file_name(error: UnicodeError) -> Tuple[Union[str, bytes], int]:
    """Handles a character that stdout or stderr cannot encode.

    The name of a file may have bytes that are not text in the locale's encoding: they are written as they are. It may
    also have characters that the stream's encoding lacks, such as cp1252 on Windows: they are escaped.
    """
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1  # handle one character at a time: the next one may be of the other kind
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)
