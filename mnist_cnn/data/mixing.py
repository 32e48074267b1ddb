"""Mixes data of one's own with the data that a run was trained on, for fine-tuning that limits forgetting."""

from dataclasses import replace

import numpy as np

from mnist_cnn.data.mnist import Dataset, Split
from mnist_cnn.errors import InputError, OtherClasses

NUM_STEPS = 400  # of recipes.FINETUNE


def mix_datasets(own: Dataset, base: Dataset, fraction: float, size: int, seed: int) -> Dataset:
    """Makes a training split of two datasets with the same classes, deterministic in the arguments.

    Each of the own training images occurs equally often, or once more than others. The images of `base` are a random
    part of its training images. The validation images are those of both; the test images are the own ones, or those
    of `base` if there are none.

    Args:
      own, base: the datasets.
      fraction: the part of the training images that come from `base`, at least 0 and below 1.
      size: the number of training images.
      seed: an int in 0..2³²-1.

    Raises:
      OtherClasses: the classes differ.
      InputError: there are no own training images.
    """
    if own.class_names != base.class_names:
        raise OtherClasses("data of other classes cannot be mixed with those that the run was trained on")
    if not len(own.train):
        raise InputError(f"{own.folder} contains no training picture that can be read")
    random = np.random.RandomState([seed, 0, 2**31 + 3])
    num_base = int(round(fraction * size))
    chosen_own = np.resize(random.permutation(len(own.train)), size - num_base)
    chosen_base = np.resize(random.permutation(len(base.train)), num_base)
    train = _join(_choose(own.train, chosen_own), _choose(base.train, chosen_base))
    return replace(
        own,
        train=train,
        validation=own.validation if base is own else _join(own.validation, base.validation),
        test=own.test if len(own.test) else base.test,
        mixed_with=base.mixed_with or base.name,
    )


def _choose(split: Split, indices: np.ndarray) -> Split:
    return replace(split, images=split.images[indices], labels=split.labels[indices])


def _join(first: Split, second: Split) -> Split:
    images, labels = np.concatenate([first.images, second.images]), np.concatenate([first.labels, second.labels])
    return replace(first, images=images, labels=labels)
