"""A replacement for `tensorflow.examples.tutorials.mnist.input_data`, which TensorFlow 1.x shipped and 2.x removed.

An old tutorial imports it by `from mnist_cnn import input_data`. The behaviour is that of
tensorflow/examples/tutorials/mnist/input_data.py and contrib/learn/python/learn/datasets/mnist.py in TensorFlow 1.15.
As there, and unlike in the trainer, an epoch is one pass over the images, and a batch may span two epochs.
"""

import io
import logging
import sys
from typing import Any, BinaryIO, Dict, NamedTuple, Optional, Tuple

import numpy as np

from mnist_cnn.data.idx import read_idx
from mnist_cnn.data.mnist import DIGITS, VALIDATION_SIZE, Split, load_mnist
from mnist_cnn.data.own_data import load_idx
from mnist_cnn.errors import OtherData

__all__ = ["DataSet", "Datasets", "dense_to_one_hot", "extract_images", "extract_labels", "read_data_sets"]

logger = logging.getLogger(__name__)


class DataSet:
    """TensorFlow 1.x's DataSet: images and labels in batches, in a random order."""

    def __init__(
        self,
        images: Any,
        labels: Any,
        fake_data: bool = False,
        one_hot: bool = False,
        dtype: Any = np.float32,
        reshape: bool = True,
        seed: Optional[int] = None,
    ):
        """As TensorFlow does, seeds NumPy's global generator, from which the order of the batches comes.

        Args:
          images: [N, height, width, 1] in 0..255; without `reshape`, of any shape [N, ...].
          labels: [N, ...].
          fake_data: hold 10,000 images that are all 1, of class 0, in place of `images` and `labels`.
          one_hot: whether the labels of fake data are one-hot, here and in `next_batch`.
          dtype: np.float32 to divide the images by 255, or np.uint8 to leave them as they are.
          reshape: make the images [N, height * width].
          seed: random seed of the order; default: that of `tf.set_random_seed`, or a new one for each call.

        Raises:
          TypeError: another dtype is requested.
          ValueError: there are not as many labels as images, or the images cannot be reshaped.
        """
        dtype = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))  # accepts tf.float32 too
        if dtype not in (np.float32, np.uint8):
            raise TypeError(f"Invalid image dtype {dtype}, expected uint8 or float32")
        if fake_data:
            images, labels = np.full([10000, 28, 28, 1], 255, np.uint8), _make_fake_labels(10000, one_hot)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images, but {len(labels)} labels")
        if reshape:
            if images.ndim != 4 or images.shape[3] != 1:
                raise ValueError(f"images of shape {list(images.shape)}: reshape=True needs [N, height, width, 1]")
            images = images.reshape(len(images), images.shape[1] * images.shape[2])
        if dtype == np.float32:
            images = images.astype(np.float32)
            images *= np.float32(1 / 255)  # as TensorFlow does; a division by 255 rounds differently
        # Scripts set these attributes, too.
        self._images, self._labels, self._num_examples = images, labels, len(images)
        self._epochs_completed = self._index_in_epoch = 0
        self._one_hot = one_hot
        np.random.seed(_get_graph_seed() if seed is None else seed)

    @property
    def images(self) -> np.ndarray:
        """All images: float32 in [0, 1], or as they were given for dtype uint8."""
        return self._images

    @property
    def labels(self) -> np.ndarray:
        """All labels."""
        return self._labels

    @property
    def num_examples(self) -> int:
        """The number of images."""
        return self._num_examples

    @property
    def epochs_completed(self) -> int:
        """How many times all images were in a batch."""
        return self._epochs_completed

    def next_batch(
        self, batch_size: int, fake_data: bool = False, shuffle: bool = True
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Returns the next images and labels. A batch that reaches the end of an epoch continues in the next one.

        Args:
          batch_size: the number of images.
          fake_data: return images [batch_size, 784] that are all 1, of class 0, as TensorFlow did.
          shuffle: put all images and labels into a new random order before each epoch, as TensorFlow did.

        Returns:
          (images, labels) of `batch_size` images, in the formats of the properties `images` and `labels`.
        """
        if fake_data:
            return np.ones([batch_size, 784], np.float32), _make_fake_labels(batch_size, self._one_hot)
        if self._epochs_completed == self._index_in_epoch == 0 and shuffle:
            self._shuffle()
        start, end, size = self._index_in_epoch, self._index_in_epoch + batch_size, self._num_examples
        images, labels = self._images[start : min(end, size)], self._labels[start : min(end, size)]
        if end > size:
            self._epochs_completed += 1
            if shuffle:
                self._shuffle()
            end -= size
            images = np.concatenate([images, self._images[:end]])
            labels = np.concatenate([labels, self._labels[:end]])
        self._index_in_epoch = end
        return images, labels

    def _shuffle(self) -> None:
        order = np.arange(self._num_examples)
        np.random.shuffle(order)
        self._images, self._labels = self._images[order], self._labels[order]


def _make_fake_labels(size: int, one_hot: bool) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    return dense_to_one_hot(labels, len(DIGITS)) if one_hot else labels


def _get_graph_seed() -> Optional[int]:
    """Returns the seed of `tf.set_random_seed`, or None."""
    if "tensorflow" not in sys.modules:
        return None
    from mnist_cnn.tf1 import tf

    return tf.get_default_graph().seed


class Datasets(NamedTuple):
    """Result of `read_data_sets`."""

    train: DataSet
    validation: DataSet
    test: DataSet


def read_data_sets(
    train_dir: str,
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: Any = np.float32,
    reshape: bool = True,
    validation_size: int = VALIDATION_SIZE,
    seed: Optional[int] = None,
    source_url: Optional[str] = None,
) -> Datasets:
    """Loads MNIST from `train_dir`; downloads missing files into it.

    Other data in MNIST's format, such as Fashion-MNIST, are read if all four files are in `train_dir`; a warning is
    logged about them.

    Args:
      train_dir: the folder of the four IDX files.
      fake_data: return three splits of 10,000 images that are all 1, of class 0, without reading any file.
      one_hot: labels are float64 [N, 10]; otherwise uint8 [N].
      dtype: np.float32 for images in [0, 1], or np.uint8 for images in 0..255.
      reshape: images are [N, 784]; otherwise [N, 28, 28, 1].
      validation_size: how many of the training images, from the first, form the validation split.
      seed: random seed of the batches' order, given to NumPy's global generator; default: that of
        `tf.set_random_seed`, or a new one for each call.
      source_url: the URL from which missing files are downloaded, which must be MNIST's; default: as `load_mnist`.

    Returns:
      train, validation and test, each a DataSet.

    Raises:
      InputError (a ValueError): MNIST cannot be found or downloaded, or a file is damaged; see `load_mnist` and
        `load_idx`.
      TypeError: another dtype is requested.
    """
    options: Dict[str, Any] = {"dtype": dtype, "reshape": reshape, "seed": seed}
    if fake_data:
        return Datasets(*(DataSet([], [], True, one_hot, **options) for _ in Datasets._fields))
    try:
        dataset = load_mnist(train_dir, source_url, validation_size)
    except OtherData:
        dataset = load_idx(train_dir, validation_size)
        logger.warning("the data are not MNIST, but the IDX files in %s", dataset.folder)

    def convert(split: Split) -> DataSet:
        labels = dense_to_one_hot(split.labels, split.num_classes) if one_hot else split.labels
        return DataSet(split.images, labels, False, one_hot, **options)

    return Datasets(convert(dataset.train), convert(dataset.validation), convert(dataset.test))


def extract_images(f: BinaryIO) -> np.ndarray:
    """Reads an IDX file of images, compressed with gzip or not. Returns uint8 [N, height, width, 1].

    Raises:
      InputError (a ValueError): the file is damaged, or contains something else.
    """
    return _read_idx(f, 3)[..., np.newaxis]


def extract_labels(f: BinaryIO, one_hot: bool = False, num_classes: int = len(DIGITS)) -> np.ndarray:
    """Reads an IDX file of labels. Returns uint8 [N], or one-hot float64 [N, num_classes]; errors as `extract_images`.

    Raises:
      IndexError: one-hot is requested, and a label is not in 0..num_classes - 1.
    """
    labels = _read_idx(f, 1)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def _read_idx(f: BinaryIO, rank: int) -> np.ndarray:
    content = io.BytesIO(f.read())  # read_idx calls `seek`, which returns nothing in a tf.gfile.GFile
    return read_idx(content, getattr(f, "name", "the file"), rank)


def dense_to_one_hot(labels_dense: np.ndarray, num_classes: int) -> np.ndarray:
    """Makes labels one-hot: integers [N] in 0..num_classes - 1 become float64 [N, num_classes]."""
    return np.eye(num_classes)[np.ravel(labels_dense)]
