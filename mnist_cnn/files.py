"""Files and folders that are never half written."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def atomic_write(path, content):
    """Puts bytes into the file at a Path: whatever happens, it then holds either all of them or what it held before.

    Returns once they would outlive a power cut.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(str(temporary), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(temporary), str(path))
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync(path.parent)


def replace_folder(path, contents):
    """Puts files, bytes by name, into the folder at a Path in place of all that it holds: a failure leaves that."""
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=str(path.parent)))
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir()
        for name, content in contents.items():
            atomic_write(new / name, content)
        # No system that Python knows replaces a folder that holds something.
        with contextlib.suppress(FileNotFoundError):
            os.replace(str(path), str(old))
        os.replace(str(new), str(path))
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(str(old), str(path))
        raise
    finally:
        shutil.rmtree(str(beside), ignore_errors=True)
    sync(path.parent)


def sync(path):
    """Has the system write a file, or a folder's list of names, to the disk."""
    try:
        descriptor = os.open(str(path), os.O_RDWR if path.is_file() else os.O_RDONLY)
    except PermissionError:
        if os.name == "nt":
            return  # Windows opens no folders
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
