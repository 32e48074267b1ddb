"""Deterministic batching: the images of a step are a function of (seed, step).

A data pass takes each image once. It differs from the trainer's epoch, which is len(train) // batch_size steps: data
passes continue without a gap, so a batch may contain the last images of one pass and the first of the next.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Generator, Tuple

import numpy as np

from mnist_cnn.data.augmentation import augment
from mnist_cnn.data.drawn_images import draw_images
from mnist_cnn.data.mnist import Split
from mnist_cnn.recipes import Recipe


def iterate_batches(
    split: Split, recipe: Recipe, seed: int, step: int
) -> Generator[Tuple[np.ndarray, np.ndarray], None, None]:
    """Infinite generator of (images, labels) as returned by Split.batch, starting at `step`.

    Prefetches one batch in a background thread, which `close()` ends.

    Args:
      split: the images and labels.
      recipe: gives the batch size, the label smoothing, the augmentation and the number of drawn images.
      seed: an int in 0..2³²-1.
      step: the 0-based first step.
    """
    num_drawn = round(recipe.drawn_images * recipe.batch_size)
    if num_drawn:
        drawn_images, drawn_labels = draw_images(split.images, split.labels, seed)
    num_augmented = (recipe.epochs - recipe.plain_epochs) * (len(split) // recipe.batch_size)  # steps

    def make_batch(step: int) -> Tuple[np.ndarray, np.ndarray]:
        indices = batch_indices(len(split), recipe.batch_size, seed, step)
        images, labels = split.images[indices], _smooth(split.batch(indices)[1], recipe.label_smoothing)
        if num_drawn:
            chosen = np.random.RandomState([seed, step, 2**31 + 1]).randint(0, len(drawn_images), num_drawn)
            images = np.concatenate([images, drawn_images[chosen]])
            labels = np.concatenate([labels, drawn_labels[chosen]])
        if recipe.augmentation and step < num_augmented:
            return augment(images, recipe.augmentation, seed, step), labels
        return np.divide(images, 255, dtype=np.float32), labels

    with ThreadPoolExecutor(1) as executor:
        next_batch = executor.submit(make_batch, step)
        while True:
            step += 1
            batch, next_batch = next_batch.result(), executor.submit(make_batch, step)
            yield batch


def _smooth(labels: np.ndarray, fraction: float) -> np.ndarray:
    return (1 - np.float32(fraction)) * labels + np.float32(fraction / labels.shape[1])


def batch_indices(size: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Returns the indices of the images of a step, deterministic in the arguments.

    Each data pass is a new permutation; a batch may span two passes.

    Args:
      size: the number of images in the split.
      batch_size: images per step, at most `size`.
      seed: an int in 0..2³²-1.
      step: the 0-based step.

    Returns:
      int64 [batch_size] in 0..size-1.
    """
    data_pass, start = divmod(step * batch_size, size)
    indices = _permutation(size, seed, data_pass)[start : start + batch_size]
    if len(indices) < batch_size:
        num_missing = batch_size - len(indices)
        indices = np.concatenate([indices, _permutation(size, seed, data_pass + 1)[:num_missing]])
    return indices


@functools.lru_cache(maxsize=2)
def _permutation(size: int, seed: int, data_pass: int) -> np.ndarray:
    # RandomState's streams are frozen; those of default_rng may change between NumPy versions.
    permutation = np.random.RandomState([seed, data_pass]).permutation(size)
    return permutation.astype(np.int64, copy=False)  # before NumPy 2, it is int32 on Windows
