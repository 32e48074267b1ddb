"""Atomic writes of files and directories."""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Dict

# On Windows a rename fails while another process, such as a virus scanner or a reader, has one of the files open.
_RETRY_SECS = (0.01, 0.1, 0.5) if os.name == "nt" else ()


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
