"""Data of one's own as folders of pictures, one folder for each class. Needs the extra `images`."""

import hashlib
import io
import logging
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.mnist import MAX_CLASSES, Dataset, Split, check_class_names, get_data_dir
from mnist_cnn.data.own_data import make_dataset
from mnist_cnn.errors import DataNotFound, InputError, NoDigitFound, OtherClasses
from mnist_cnn.files import atomic_write
from mnist_cnn.inference.preprocessing import PREPARATIONS
from mnist_cnn.progress import make_bar

TEST_FRACTION, VALIDATION_FRACTION = 1 / 6, 1 / 12  # MNIST's, rounded
MAX_UNREADABLE = 0.05  # of the pictures
MAX_PICTURES = 200_000
_MAX_FILE_SIZE = 150 * 10**6  # bytes, as in image_io
_NAMED = 3  # unreadable pictures in a message
_CACHE_VERSION = 3  # to be raised when a preparation changes
# Files and folders that Windows, macOS and network drives add to others.
_OF_FILE_MANAGERS = ("desktop.ini", "thumbs.db", "icon\r", "@eadir", "__macosx")

logger = logging.getLogger(__name__)


class Picture(NamedTuple):
    """A file in a folder of pictures."""

    path: Path
    label: int
    is_test: bool  # whether it is in a folder `test`


def load_folder(
    data_dir: Union[str, Path], preparation: str = "digit", class_names: Optional[Tuple[str, ...]] = None
) -> Dataset:
    """Loads pictures from folders: DIR/train/NAME/ and DIR/test/NAME/, or DIR/NAME/, with NAME the class's name.

    Without pictures in a folder `test`, a sixth of the pictures is the test split; of the training pictures, a twelfth
    of all is the validation split. A hash of each file decides, so that adding a picture moves no other. Prepared
    pictures are kept in the user's cache folder. Pictures that cannot be read are skipped, and a warning names them.

    Args:
      data_dir: the folder.
      preparation: "digit", dark or light strokes on a background, which become an image as MNIST's (see `prepare`);
        or "resize", the whole picture in grey, scaled to 28 x 28 pixels.
      class_names: the classes of a network that is fine-tuned on these pictures. There may be pictures of some of
        them alone; without pictures in a folder `test`, all are training pictures.

    Returns:
      A Dataset of the name "folder", with the classes in the order of their names.

    Raises:
      DataNotFound: there is no such folder, or it contains no folder with a picture.
      OtherClasses: a folder has the name of none of `class_names`.
      InputError: more than MAX_UNREADABLE of the pictures cannot be read, a class has no picture, there are fewer than
        2 or more than MAX_CLASSES classes or more than MAX_PICTURES pictures, the data are invalid (`make_dataset`), or
        the folder begins with the home directory of an unknown user.
    """
    if preparation not in PREPARATIONS:
        raise InputError(f"unknown preparation {preparation!r}; choose from {', '.join(PREPARATIONS)}")
    folder = get_data_dir(Path(data_dir))
    names, pictures = _find_pictures(folder, class_names)
    images, digests = _prepare_pictures(folder, pictures, preparation)
    labels = np.array([picture.label for picture in pictures])
    is_readable = np.array([image is not None for image in images])
    fractions = np.array([int.from_bytes(digest[:4], "big") / 2**32 for digest in digests])
    is_test = np.array([picture.is_test for picture in pictures])
    if class_names is None and not is_test.any():
        is_test = fractions < TEST_FRACTION
        if not is_test[is_readable].any():  # of a few pictures, none may have such a hash
            is_test[np.argmin(np.where(is_readable, fractions, 2))] = True
    may_validate = is_readable & ~is_test & (class_names is None)
    for number in range(len(names)):  # each class keeps a training picture
        members = np.flatnonzero(may_validate & (labels == number))
        may_validate[members[np.argsort(fractions[members])[:1]]] = False
    is_validation = may_validate & (fractions >= 1 - VALIDATION_FRACTION)
    if may_validate.any() and not is_validation.any():
        is_validation[np.argmax(np.where(may_validate, fractions, -1))] = True
    pixels = np.stack([np.zeros([28, 28], np.uint8) if image is None else image for image in images])
    train = np.flatnonzero(is_readable & ~is_test)
    train = train[np.argsort(~is_validation[train], kind="stable")]  # the validation split comes first
    test = is_readable & is_test
    if class_names is not None:
        return Dataset(
            "folder",
            train=Split(pixels[train, ..., np.newaxis], labels[train].astype(np.uint8), len(names)),
            validation=Split(pixels[:0, ..., np.newaxis], labels[:0].astype(np.uint8), len(names)),
            test=Split(pixels[test, ..., np.newaxis], labels[test].astype(np.uint8), len(names)),
            folder=os.path.abspath(str(folder)),
            class_names=names,
            preparation=preparation,
        )
    for number, name in enumerate(names):
        if not (labels[train] == number).any():
            raise InputError(f"{folder}: the class {name} has no training picture that can be read")
    num_validation = int(is_validation[train].sum())
    dataset = make_dataset(
        "folder", folder, pixels[train], labels[train], pixels[test], labels[test], num_validation, names
    )
    return replace(dataset, preparation=preparation)


def _find_pictures(folder: Path, class_names: Optional[Tuple[str, ...]]) -> Tuple[Tuple[str, ...], List[Picture]]:
    """Returns the names of the classes, and the files in the folders of these names."""
    try:
        parts = [part for part in (folder / "train", folder / "test") if part.is_dir()]
        if folder / "train" not in parts:
            parts = [folder]
        # macOS writes names such as é and 가 decomposed, as a letter and an accent.
        by_part = [
            {unicodedata.normalize("NFC", path.name): path for path in _list_visible(part) if path.is_dir()}
            for part in parts
        ]
        names = sorted({name for classes in by_part for name in classes})
        if not names:
            raise DataNotFound(f"{folder} contains no folders: it must have one for each class, with its pictures")
        if class_names is not None:
            unknown = [name for name in names if name not in class_names]
            if unknown:
                raise OtherClasses(
                    f"{folder}: {unknown[0]} is none of the network's classes ({', '.join(class_names)})"
                )
            names = list(class_names)
        if len(names) < 2 or len(names) > MAX_CLASSES:
            raise InputError(f"{folder} has {len(names)} classes ({names[0]} …): it must have 2 to {MAX_CLASSES}")
        pictures = [
            Picture(path, label, is_test=part == 1)
            for part, classes in enumerate(by_part)
            for label, name in enumerate(names)
            if name in classes
            for path in _list_visible(classes[name])
            if path.is_file()
        ]
    except OSError as error:
        raise DataNotFound(f"{error.filename} cannot be read: {error.strerror}") from error
    if not pictures:
        raise DataNotFound(f"{folder}: the folders {names[0]} … {names[-1]} contain no files")
    if len(pictures) > MAX_PICTURES:
        raise InputError(f"{folder} has {len(pictures):,} pictures, more than {MAX_PICTURES:,}")
    return check_class_names(names, str(folder)), pictures


def _list_visible(folder: Path) -> List[Path]:
    return sorted(
        path for path in folder.iterdir() if not (path.name.startswith(".") or path.name.lower() in _OF_FILE_MANAGERS)
    )


def _prepare_pictures(
    folder: Path, pictures: List[Picture], preparation: str
) -> Tuple[List[Optional[np.ndarray]], List[bytes]]:
    """Returns for each picture an image, uint8 [28, 28], or None if it cannot be read; and its file's SHA-256."""
    cache_path = _get_cache_path(folder, preparation)
    cache = _read_cache(cache_path)
    images: List[Optional[np.ndarray]] = []
    digests, problems, is_new = [], [], False
    with make_bar(total=len(pictures), unit=" pictures") as bar:
        for picture in pictures:
            content = _read_bytes(picture.path)
            digest = hashlib.sha256(content or b"").digest()
            image = cache.get(digest)
            if image is None:
                image = _prepare(content, preparation)
                if image is None:  # not cached: another Pillow may be able to read it
                    problems.append(picture.path)
                else:
                    cache[digest], is_new = image, True
            images.append(image)
            digests.append(digest)
            bar.update()
    if problems:
        shown = ", ".join(str(path.relative_to(folder)) for path in problems[:_NAMED])
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        reason, hint = "cannot be read", ""
        if preparation == "digit":
            reason, hint = (
                "cannot be read or show no strokes",
                "; for pictures of other things, there is the preparation `resize`",
            )
        message = f"{folder}: {len(problems)} of {len(pictures):,} pictures {reason}: {shown}{more}"
        if len(problems) > MAX_UNREADABLE * len(pictures):
            raise InputError(message + hint)
        logger.warning("%s; skipping them", message)
    if is_new and cache_path:
        _write_cache(cache_path, {digest: cache[digest] for digest in digests if digest in cache})
    return images, digests


def _read_bytes(path: Path) -> Optional[bytes]:
    try:
        with open(str(path), "rb") as file:
            content = file.read(_MAX_FILE_SIZE + 1)
    except OSError:
        return None
    return content if len(content) <= _MAX_FILE_SIZE else None


def _prepare(content: Optional[bytes], preparation: str) -> Optional[np.ndarray]:
    if content is None:
        return None
    try:
        return (PREPARATIONS[preparation](io.BytesIO(content)) * 255).round().astype(np.uint8)
    except (InputError, NoDigitFound):
        return None


# The cache of prepared pictures: a file for each folder and preparation.


def _get_cache_path(folder: Path, preparation: str) -> Optional[Path]:
    name = hashlib.sha256(os.path.abspath(str(folder)).encode(errors="surrogateescape")).hexdigest()[:16]
    try:
        # Not $MNIST_DATA_DIR, which is for MNIST's files and may be read-only.
        cache = os.environ.get("XDG_CACHE_HOME")
        return get_data_dir(Path(cache or "~/.cache", "mnist_cnn")) / f"{preparation}-{name}.npz"
    except InputError:
        return None


def _read_cache(path: Optional[Path]) -> Dict[bytes, np.ndarray]:
    """Returns prepared images by the SHA-256 of the file. A cache that is damaged is as good as none."""
    try:
        with np.load(str(path), allow_pickle=False) as arrays:
            if int(arrays["version"]) != _CACHE_VERSION:
                return {}
            digests, images = arrays["digests"], arrays["images"]
        if digests.shape[1:] != (32,) or images.shape != (len(digests), 28, 28) or images.dtype != np.uint8:
            return {}
        return {digest.tobytes(): image for digest, image in zip(digests, images)}
    except Exception:  # NumPy and zipfile raise many exception types for damaged files
        return {}


def _write_cache(path: Path, cache: Dict[bytes, np.ndarray]) -> None:
    file = io.BytesIO()
    np.savez(
        file,
        version=_CACHE_VERSION,
        digests=np.frombuffer(b"".join(cache), np.uint8).reshape(-1, 32),
        images=np.stack(list(cache.values())),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, file.getvalue())
    except OSError as error:
        logger.warning("%s cannot be written (%s): the pictures are prepared again next time", path, error.strerror)
