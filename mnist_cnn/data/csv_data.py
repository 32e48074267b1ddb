"""Data of one's own as CSV: a line for each image, its label and its 784 pixels. Kaggle's Digit Recognizer is this."""

import codecs
import contextlib
import gzip
import itertools
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Dict, Iterator, List, Optional, Tuple, Union, cast

import numpy as np

from mnist_cnn.data.mnist import Dataset, get_data_dir
from mnist_cnn.data.own_data import find_only_file, make_dataset, order_by_pixels
from mnist_cnn.errors import DataNotFound, InputError

NUM_PIXELS = 28 * 28
MAX_ROWS = 200_000
TEST_FRACTION = 1 / 6  # of the images, where no file has test images: MNIST's fraction, rounded
_ROWS_AT_ONCE = 1000
_MAX_LINE = 2**14  # bytes: a header has names such as pixel783
_SUFFIXES = (".csv", ".csv.gz", ".csv.zip")


def load_csv(data_dir: Union[str, Path], validation_size: Optional[int] = None) -> Dataset:
    """Loads CSV files, with or without a header line, in which a line is an image's label and its 784 pixels.

    Args:
      data_dir: the file, or a folder with one whose name has the word "train" (or "training") in it, and maybe one
        with "test" (or "testing"); compressed (.gz, .zip) or not. Without labelled test images, as in Kaggle's
        test.csv, a sixth of the images is the test split; an image's own pixels decide, so that adding an image moves
        no other.
      validation_size: as for `load_idx`.

    Returns:
      A Dataset of the name "csv".

    Raises:
      DataNotFound: there is no such file.
      InputError: a file cannot be read, a line has too few or too many values or one that is not in 0..255, there are
        more than MAX_ROWS lines, the path begins with the home directory of an unknown user, or the data are invalid
        (see `make_dataset`).
    """
    path = get_data_dir(Path(data_dir))
    files = _find_files(path)
    images, labels = read_csv(files["train"])
    if labels is None:
        raise InputError(f"{files['train']}: its lines have {NUM_PIXELS} values, and no label before them")
    test_images, test_labels = read_csv(files["test"]) if "test" in files else (images, None)
    if test_labels is None:
        order, fractions = order_by_pixels(images, labels)
        test = np.sort(order[: max(1, np.searchsorted(fractions, TEST_FRACTION))])
        test_images, test_labels = images[test], labels[test]
        images, labels = np.delete(images, test, 0), np.delete(labels, test)
    return make_dataset("csv", path, images, labels, test_images, test_labels, validation_size)


def read_csv(path: Union[str, Path]) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Reads one file.

    Returns:
      images: uint8 [N, 28, 28].
      labels: uint8 [N], or None if the lines have 784 values and no label.

    Raises:
      InputError: as `load_csv`.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            arrays = list(_read_rows(file, path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, RuntimeError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not arrays:
        raise InputError(f"{path} contains no image")
    rows = np.concatenate(arrays)
    images = rows[:, -NUM_PIXELS:].reshape(-1, 28, 28)
    return images, rows[:, 0].copy() if rows.shape[1] > NUM_PIXELS else None


def _find_files(path: Path) -> Dict[str, Path]:
    if not path.is_dir():
        return {"train": find_only_file(path, *_SUFFIXES)}
    files: Dict[str, Path] = {}
    for kind in ("train", "test"):
        # A word, between characters that are no letters: "latest" contains "test".
        word = re.compile(rf"(?<![^\W\d_]){kind}(ing)?(?![^\W\d_])", re.IGNORECASE)
        named = sorted(file for file in path.glob("[!.]*.csv*") if word.search(file.name))
        found = [file for file in named if file.name.endswith(_SUFFIXES) and file not in files.values()]
        if len(found) > 1:
            raise InputError(f"{path} has several {kind} files, such as {found[0].name} and {found[1].name}: keep one")
        if found:
            files[kind] = found[0]
    if "train" not in files:
        raise DataNotFound(f"{path}: there is no .csv file with the word 'train' in its name")
    return files


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file, packed or not, for reading its content."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(str(path)) as archive:
            # The Finder of macOS adds __MACOSX/._NAME.csv, a file's metadata.
            names = [name for name in archive.namelist() if name.endswith(".csv") and not name.startswith("__MACOSX/")]
            if len(names) != 1:
                raise InputError(f"{path} must contain one .csv file, and contains {len(names)}")
            if archive.getinfo(names[0]).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(f"{path} is compressed by another method than deflate: unpack it")
            with archive.open(names[0]) as file:
                yield file
    elif path.suffix == ".gz":
        with gzip.open(str(path)) as file:
            yield cast(IO[bytes], file)
    else:
        with open(str(path), "rb") as file:
            yield file


def _read_rows(file: IO[bytes], path: Path) -> Iterator[np.ndarray]:
    """Yields uint8 [n, 784 or 785], a row for each line."""
    lines = iter(lambda: file.readline(_MAX_LINE), b"")  # bounded: a line may have any length
    number, width = 1, 0
    first = next(lines, b"")
    if first.startswith(codecs.BOM_UTF8):  # Excel writes it
        first = first[len(codecs.BOM_UTF8) :]
    if re.match(rb"\s*[-+.0-9]", first):
        lines = itertools.chain([first], lines)
    elif first:
        number = 2  # after the header
    while True:
        batch = [line.strip() for line in itertools.islice(lines, _ROWS_AT_ONCE)]
        while batch and not batch[-1]:
            batch.pop()  # empty lines at the end
        if not batch:
            return
        if number + len(batch) > MAX_ROWS + 2:
            raise InputError(f"{path} has more than {MAX_ROWS:,} lines")
        width = width or batch[0].count(b",") + 1
        if width not in (NUM_PIXELS, NUM_PIXELS + 1):
            raise InputError(f"{path}, line {number}: it has {width} values, not a label and {NUM_PIXELS} pixels")
        yield _parse(batch, width, number, path)
        number += len(batch)


def _parse(lines: List[bytes], width: int, number: int, path: Path) -> np.ndarray:
    text = b",".join(lines)
    # Figures and commas alone: NumPy's parser, 25 times faster than loadtxt, would stop silently at anything else.
    is_clean = not text.translate(None, b"0123456789,") and all(line.count(b",") + 1 == width for line in lines)
    values = np.fromstring(text, np.int64, sep=",") if is_clean else np.zeros(0, np.int64)
    if values.size != len(lines) * width or values.min() < 0 or values.max() > 255:
        for offset, line in enumerate(lines):
            fields = line.split(b",")
            if len(fields) != width:
                raise InputError(f"{path}, line {number + offset}: it has {len(fields)} values, not {width}")
            wrong = next((field for field in fields if not field.isdigit() or len(field) > 3 or int(field) > 255), None)
            if wrong is not None:
                shown = wrong[:20].decode(errors="replace")
                raise InputError(f"{path}, line {number + offset}: {shown!r} is not a whole number in 0..255")
    return values.reshape(-1, width).astype(np.uint8)
