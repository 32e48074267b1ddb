"""Drawings that visitors of the page corrected, as a folder of pictures for `train.py --dataset folder`."""

import contextlib
import io
import os
import tempfile
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Tuple, Union

from mnist_cnn.data.mnist import get_data_dir
from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write
from mnist_cnn.inference.image_io import read_image
from mnist_cnn.inference.preprocessing import PREPARATIONS

MAX_FILES = 10_000
MAX_FILE_BYTES = 64_000  # of an upload, and of a saved picture

_NO_FILE_NAME = set('/\\:*?"<>|') if os.name == "nt" else set("/")


class CannotSave(OSError):
    """A drawing cannot be saved because there is no space for it."""


class Collector:
    """A folder DIR in which drawings are saved as DIR/CLASS/TIME.png. Its methods may be called in several threads."""

    def __init__(self, folder: Union[str, Path], class_names: Tuple[str, ...], preparation: str):
        """Creates the folder, with a folder in it for each class.

        Args:
          folder: DIR; pictures that it contains stay there.
          class_names: the names of the classes.
          preparation: how the network gets its pictures, a key of preprocessing.PREPARATIONS.

        Raises:
          InputError: it cannot be created or written, has a folder `train`, whose pictures alone would be used for
            training, or the name of a class cannot be that of a folder.
        """
        self.folder = get_data_dir(Path(folder))
        self._class_names, self._prepare = class_names, PREPARATIONS[preparation]
        self._lock = threading.Lock()
        for name in class_names:
            if name.startswith(".") or name in ("train", "test") or _NO_FILE_NAME & set(name):
                raise InputError(f"the name of the class {name} cannot be that of a folder in {folder}")
        if (self.folder / "train").exists():
            raise InputError(f"{folder} has a folder named train: choose that, or another folder")
        try:
            for name in class_names:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            found = os.listdir(str(self.folder))
            tempfile.TemporaryFile(dir=str(self.folder)).close()
        except OSError as error:
            raise InputError(f"{error.filename}: drawings cannot be saved there: {error.strerror}") from error
        # Where "a" and "A" are one folder, the pictures of one class would get the label of the other.
        missing = set(class_names).difference(found)
        if missing:
            raise InputError(
                f"{folder}: there is already a folder whose name differs from {missing.pop()} in case alone"
            )

    def save(self, png: bytes, class_name: str) -> str:
        """Saves a drawing in grey.

        Args:
          png: an image file; the server accepts PNG alone.
          class_name: the class that the drawing shows.

        Returns:
          The file's path in the folder, "CLASS/TIME.png", with the time in UTC.

        Raises:
          InputError: there is no such class, or the image cannot be read or is too large as a file.
          NoDigitFound: the image shows nothing to learn from.
          CannotSave: the folder has MAX_FILES files, or the file cannot be written.
        """
        if class_name not in self._class_names:
            raise InputError(f"there is no class {class_name[:99]!r}")
        image = read_image(io.BytesIO(png))
        self._prepare(image)
        # Written anew, so that each file is whole and has nothing in it besides the pixels.
        file = io.BytesIO()
        image.convert("L").save(file, "PNG", optimize=True)
        if file.tell() > MAX_FILE_BYTES:
            raise InputError(f"the drawing needs {file.tell():,} bytes, more than {MAX_FILE_BYTES:,}: reduce its size")
        with self._lock:
            if sum(1 for _ in self.folder.glob("*/*")) >= MAX_FILES:
                raise CannotSave(f"{MAX_FILES:,} drawings are saved already: no more are kept")
            try:
                return self._write(class_name, file.getvalue())
            except OSError as error:
                raise CannotSave(f"the drawing cannot be saved: {error.strerror}") from error

    def _write(self, class_name: str, content: bytes) -> str:
        (self.folder / class_name).mkdir(parents=True, exist_ok=True)  # it may have been deleted since the start
        path = None
        while path is None or (self.folder / path).exists():
            path = f"{class_name}/{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}.png"
        # First as a hidden file: what a killed process leaves behind is then no picture of a class.
        hidden = self.folder / f".{Path(path).name}"
        try:
            atomic_write(hidden, content)
            os.rename(str(hidden), str(self.folder / path))
        except OSError:
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise
        return path
