"""A replacement for `tensorflow.examples.tutorials.mnist.input_data`, which TensorFlow 1.x shipped and 2.x removed.

An old tutorial imports it by `from mnist_cnn import input_data`. The behaviour is that of
tensorflow/examples/tutorials/mnist/input_data.py and contrib/learn/python/learn/datasets/mnist.py in TensorFlow 1.15.
As there, and unlike in the trainer, an epoch is one pass over the images, and a batch may span two epochs.
"""

import logging
import sys
from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from mnist_cnn.data.mnist import VALIDATION_SIZE, Split, load_mnist
from mnist_cnn.data.own_data import load_idx
from mnist_cnn.errors import OtherData

logger = logging.getLogger(__name__)


class DataSet:
    """TensorFlow 1.x's DataSet API on top of a Split."""

    def __init__(
        self,
        split: Split,
        one_hot: bool = False,
        dtype: Any = np.float32,
        reshape: bool = True,
    ):
        dtype = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))  # accepts tf.float32 too
        if dtype not in (np.float32, np.uint8):
            raise TypeError(f"Invalid image dtype {dtype}, expected uint8 or float32")
        self._split, self._one_hot, self._dtype, self._reshape = split, one_hot, dtype, reshape
        self._order = np.arange(len(split))
        self._index_in_epoch = self.epochs_completed = 0
        self._images: Optional[np.ndarray] = None

    @property
    def images(self) -> np.ndarray:
        """float32 [N, 784] in [0, 1], in the order of the files; uint8 in 0..255 and [N, 28, 28, 1] if requested."""
        if self._images is None:
            self._images = self._select_images(slice(None))
        return self._images

    @property
    def labels(self) -> np.ndarray:
        """uint8 [N] in 0..9, or one-hot float64 [N, 10]; other data may have another number of classes."""
        return self._select_labels(slice(None))

    @property
    def num_examples(self) -> int:
        """The number of images."""
        return len(self._split)

    def next_batch(
        self, batch_size: int, fake_data: bool = False, shuffle: bool = True
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Returns the next images and labels. A batch that reaches the end of an epoch continues in the next one.

        Args:
          batch_size: the number of images.
          fake_data: return images that are all 1, of class 0, as TensorFlow did.
          shuffle: take the images in a new random order in each epoch.

        Returns:
          (images, labels) of `batch_size` images, in the formats of the properties `images` and `labels`.
        """
        if fake_data:
            return DataSet(_make_fake_split(batch_size), self._one_hot, self._dtype, self._reshape).next_batch(
                batch_size
            )
        start, size = self._index_in_epoch, self.num_examples
        if self.epochs_completed == 0 and start == 0 and shuffle:
            self._shuffle()
        self._index_in_epoch = start + batch_size
        indices = self._order[start : self._index_in_epoch]
        if self._index_in_epoch > size:
            self.epochs_completed += 1
            if shuffle:
                self._shuffle()
            self._index_in_epoch -= size
            indices = np.concatenate([indices, self._order[: self._index_in_epoch]])
        return self._select_images(indices), self._select_labels(indices)

    def _shuffle(self) -> None:
        # Shuffle the previous order, as TensorFlow does: a seed then gives TensorFlow's batches.
        order = np.arange(self.num_examples)
        np.random.shuffle(order)
        self._order = self._order[order]

    def _select_images(self, indices: Any) -> np.ndarray:
        images = self._split.images[indices]
        if self._dtype == np.float32:
            images = images.astype(np.float32)
            images *= np.float32(1 / 255)  # as TensorFlow does; a division by 255 rounds differently
        return images.reshape(len(images), 28 * 28) if self._reshape else images

    def _select_labels(self, indices: Any) -> np.ndarray:
        labels = self._split.labels[indices]
        return np.eye(self._split.num_classes)[labels] if self._one_hot else labels


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

    Other data in MNIST's form, such as Fashion-MNIST, are read if all four files are in `train_dir`; a warning is
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
    if fake_data:
        splits = [_make_fake_split(10000)] * 3
    else:
        try:
            dataset = load_mnist(train_dir, source_url, validation_size)
        except OtherData:
            dataset = load_idx(train_dir, validation_size)
            logger.warning("the data are not MNIST, but the IDX files in %s", dataset.folder)
        splits = [dataset.train, dataset.validation, dataset.test]
    # As TensorFlow does: the order of the batches comes from NumPy's global generator.
    np.random.seed(_get_graph_seed() if seed is None else seed)
    return Datasets(*(DataSet(split, one_hot, dtype, reshape) for split in splits))


def _make_fake_split(size: int) -> Split:
    return Split(np.full([size, 28, 28, 1], 255, np.uint8), np.zeros(size, np.uint8))
