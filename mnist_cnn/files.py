"""Files that are never half written."""

import contextlib
import os


def replace(path, content):
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
