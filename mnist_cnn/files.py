"""Atomic writes of files and directories, and paths for TensorFlow."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, Union

from mnist_cnn.errors import InputError

# On Windows a rename fails while another process, such as a virus scanner or a reader, has one of the files open.
_RETRY_SECS = (0.01, 0.1, 0.5) if os.name == "nt" else ()

# TensorFlow reads the path of a checkpoint as a pattern of file names. On Windows, the backslash is the separator.
_PATTERN = re.compile(r"[*?[]" if os.name == "nt" else r"[*?[\\]")


def atomic_write(path: Path, content: bytes) -> None:
    """Replaces the content of a file atomically: the file has either the new content or the old. Fsyncs it.

    Raises:
      OSError: the file cannot be written; the old content is unchanged.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(str(temporary), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_path(path.parent)


def atomic_replace_dir(path: Path, contents: Dict[str, bytes]) -> None:
    """Replaces a directory and all its files; `contents` are the new files by name.

    Raises:
      OSError: the files cannot be written; the old directory is unchanged.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=str(path.parent)))
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        for name, content in contents.items():
            atomic_write(new / name, content)
        # os.replace cannot replace a non-empty directory, so the old one is moved away first.
        with contextlib.suppress(FileNotFoundError):
            _replace(path, old)
        _replace(new, path)
    except BaseException:
        if old.exists() and not path.exists():
            _replace(old, path)
        raise
    finally:
        shutil.rmtree(str(temporary), ignore_errors=True)
    fsync_path(path.parent)


def _replace(source: Path, target: Path) -> None:
    for seconds in _RETRY_SECS:
        try:
            os.replace(str(source), str(target))
            return
        except PermissionError:
            time.sleep(seconds)
    os.replace(str(source), str(target))


def fsync_path(path: Path) -> None:
    """Flushes a file, or the entries of a directory, to the disk."""
    try:
        descriptor = os.open(str(path), os.O_RDWR if path.is_file() else os.O_RDONLY)
    except PermissionError:
        if os.name == "nt":
            return  # directories cannot be fsynced on Windows
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tensorflow_path(path: Union[str, Path]) -> str:
    """Returns the string by which TensorFlow finds a path.

    TensorFlow encodes paths in UTF-8, and Python in the encoding of the locale, so the strings may differ.

    Raises:
      InputError: the bytes of the path are not UTF-8.
    """
    try:
        return os.fsencode(str(path)).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: TensorFlow cannot write there: choose a path in UTF-8") from error


@contextlib.contextmanager
def tensorflow_readable(folder: Path, *patterns: str) -> Iterator[str]:
    """Yields a path at which TensorFlow reads the files of a folder that match: `with tensorflow_readable(…) as path:`.

    If TensorFlow cannot read there, it is the path of a temporary copy.

    Raises:
      OSError: the files cannot be copied.
    """
    if _is_plain(folder):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        _copy_files(folder, Path(temporary), *patterns)
        yield temporary


@contextlib.contextmanager
def tensorflow_writable(folder: Path) -> Iterator[str]:
    """Yields a path at which TensorFlow writes the files of a new folder: `with tensorflow_writable(…) as path:`.

    If TensorFlow cannot write there, it is the path of a temporary folder, whose files are then copied.

    Raises:
      OSError: the files cannot be copied.
    """
    if _is_plain(folder):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield temporary
        _copy_files(Path(temporary), folder, "**/*")


def _is_plain(path: Path) -> bool:
    """Returns whether TensorFlow opens a path as it is: it is no pattern, and UTF-8 is the locale's encoding of it."""
    try:
        # TensorFlow 2 passes some paths back to Python's functions, which encode them for the locale.
        return tensorflow_path(path) == str(path) and not _PATTERN.search(str(path))
    except InputError:
        return False


def _copy_files(source: Path, target: Path, *patterns: str) -> None:
    for file in (file for pattern in patterns for file in source.glob(pattern) if file.is_file()):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file), str(copy))
