"""NumPy's .npz files, read without trusting them: nothing is unpickled, and no header's size is believed."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Dict, Sequence

import numpy as np

from mnist_cnn.data.idx import MAX_SIZE
from mnist_cnn.errors import InputError


def read_npz(path: Path, names: Sequence[str], kinds: str) -> Dict[str, np.ndarray]:
    """Reads arrays of an .npz file.

    Args:
      path: the file.
      names: the arrays' names.
      kinds: the kinds of dtypes that are allowed, "ui" for whole numbers or "f" for floats.

    Returns:
      The arrays by name.

    Raises:
      InputError: the file cannot be read or is damaged, or an array is missing, over MAX_SIZE or of another dtype.
    """
    try:
        with zipfile.ZipFile(str(path)) as archive:
            missing = [name for name in names if f"{name}.npy" not in archive.namelist()]
            if missing:
                *others, last = names
                raise InputError(f"{path} has no array {missing[0]}: it must have {', '.join(others)} and {last}")
            return {name: _read_npy(archive, path, f"{name}.npy", kinds) for name in names}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged or not an .npz file ({error!r:.99})") from error


def _read_npy(archive: zipfile.ZipFile, path: Path, name: str, kinds: str) -> np.ndarray:
    size = archive.getinfo(name).file_size
    if size > MAX_SIZE:
        raise InputError(f"{path}: {name} holds more than {MAX_SIZE:,} bytes")
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: {name} is compressed by a method that NumPy does not use")
    try:
        with archive.open(name) as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read_header:
                raise InputError(f"{path}: {name} is in a form of NumPy arrays that is not supported")
            shape, is_fortran, dtype = read_header[version](file)
            if dtype.kind not in kinds:
                expected = {"ui": "whole numbers", "f": "floats"}[kinds]
                raise InputError(f"{path}: {name[:-4]} has dtype {dtype}: it must be {expected}")
            content = file.read(size)
    except (zlib.error, tokenize.TokenError) as error:
        raise InputError(f"{path} is damaged: {name} cannot be read ({error!r:.99})") from error
    count = 1
    for dimension in shape:
        count *= int(dimension)
    if count * dtype.itemsize != len(content):
        raise InputError(f"{path} is damaged: {name} holds {len(content):,} bytes, and its header says {list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
