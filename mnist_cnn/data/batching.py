"""Deterministic batching: the images of a step are a function of (seed, step)."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mnist_cnn.data.augmentation import augment


def iterate_batches(split, recipe, seed, step):
    """What the network is fed in step `step` and those after it, without end: each a (images, labels) of Split.batch.

    A function of the arguments alone. Each batch is made while the one before it is in use; `close()` ends that.
    """

    def make(step):
        indices = batch_indices(len(split), recipe.batch_size, seed, step)
        images, labels = split.batch(indices)
        if recipe.augmentation:
            images = augment(split.images[indices], recipe.augmentation, seed, step)
        return images, labels

    with ThreadPoolExecutor(1) as background:
        coming = background.submit(make, step)
        while True:
            step += 1
            batch, coming = coming.result(), background.submit(make, step)
            yield batch


def batch_indices(size, batch_size, seed, step):
    """Which of `size` images make up step `step`: int64 [batch_size], a function of its arguments alone.

    Every pass takes each image once, in an order of its own; a batch that reaches the end of
    a pass is filled up from the next.
    """
    epoch, start = divmod(step * batch_size, size)
    indices = _shuffled(size, seed, epoch)[start : start + batch_size]
    if len(indices) < batch_size:
        rest = batch_size - len(indices)
        indices = np.concatenate([indices, _shuffled(size, seed, epoch + 1)[:rest]])
    return indices


@functools.lru_cache(maxsize=2)
def _shuffled(size, seed, epoch):
    # RandomState: its streams are frozen, those of default_rng may change between NumPy versions.
    return np.random.RandomState([seed, epoch]).permutation(size)
