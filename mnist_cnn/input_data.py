"""What TensorFlow 1.x shipped as `tensorflow.examples.tutorials.mnist.input_data`, and 2.x removed.

An old tutorial needs `from mnist_cnn import input_data` in its place.
"""

from typing import NamedTuple

import numpy as np

from mnist_cnn.data.mnist import VALIDATION_SIZE, Split, load_mnist


class DataSet:
    """A Split as the old tutorials know it.

    images: float32 [N, 784] in [0, 1] (uint8 in 0..255 if so asked; [N, 28, 28, 1] without reshape),
      made when first asked for, in the order of the files.
    labels: uint8 [N], or one-hot float64 [N, 10].
    """

    def __init__(self, split, one_hot=False, dtype=np.float32, reshape=True, seed=None):
        dtype = np.dtype(getattr(dtype, "as_numpy_dtype", dtype))  # tf.float32, too
        if dtype not in (np.float32, np.uint8):
            raise TypeError(f"Invalid image dtype {dtype}, expected uint8 or float32")
        self._split, self._one_hot, self._dtype, self._reshape = split, one_hot, dtype, reshape
        self._random = np.random.RandomState(seed)
        self._order = np.arange(len(split))
        self._index_in_epoch = self.epochs_completed = 0
        self._images = None

    @property
    def images(self):
        if self._images is None:
            self._images = self._of(slice(None))[0]
        return self._images

    @property
    def labels(self):
        return self._of(slice(None), images=False)[1]

    @property
    def num_examples(self):
        return len(self._split)

    def next_batch(self, batch_size, fake_data=False, shuffle=True):
        """The next images and labels; past the end of an epoch, on into the next one, in a new order.

        `fake_data` gives what it gave in TensorFlow: images that are all 1, of the class 0.
        """
        if fake_data:
            return DataSet(_fake(batch_size), self._one_hot, self._dtype, self._reshape).next_batch(batch_size)
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
        return self._of(indices)

    def _shuffle(self):
        # Onto the order before, as in TensorFlow's, so that a seed gives the batches that it gave there.
        order = np.arange(self.num_examples)
        self._random.shuffle(order)
        self._order = self._order[order]

    def _of(self, indices, images=True):
        labels = self._split.labels[indices]
        if self._one_hot:
            labels = np.eye(10)[labels]
        if not images:
            return None, labels
        as_fed = self._split.batch(indices)[0] if self._dtype == np.float32 else self._split.images[indices]
        return as_fed.reshape(len(as_fed), -1) if self._reshape else as_fed, labels


class Datasets(NamedTuple):
    train: DataSet
    validation: DataSet
    test: DataSet


def read_data_sets(
    train_dir,
    fake_data=False,
    one_hot=False,
    dtype=np.float32,
    reshape=True,
    validation_size=VALIDATION_SIZE,
    seed=None,
):
    """MNIST from `train_dir`, into which it is downloaded where it is missing: MNIST or an error.

    Args:
      train_dir: the folder of the four IDX files.
      fake_data: instead, three times 10,000 images that are all 1, of the class 0; reads no file.
      one_hot: labels float64 [N, 10] in place of uint8 [N].
      dtype: float32, images in [0, 1]; or uint8, images in 0..255.
      reshape: images [N, 784] in place of [N, 28, 28, 1].
      validation_size: how many of the 60,000 training images, from the first, are set aside.
      seed: decides the order of the batches; without it every call has its own.

    Returns:
      Datasets, with train, validation and test, each a DataSet.

    Raises:
      InputError (a ValueError): as `load_mnist` does.
      TypeError: for another dtype.
    """
    if fake_data:
        splits = [_fake(10000)] * 3
    else:
        mnist = load_mnist(train_dir, validation_size=validation_size)
        splits = [mnist.train, mnist.validation, mnist.test]
    return Datasets(*(DataSet(split, one_hot, dtype, reshape, seed) for split in splits))


def _fake(size):
    return Split(np.full([size, 28, 28, 1], 255, np.uint8), np.zeros(size, np.uint8))
