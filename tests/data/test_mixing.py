"""Data of one's own, mixed with the data that a run was trained on."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mnist_cnn import Dataset, InputError, Split
from mnist_cnn.data.mixing import mix_datasets


def make_own(sample, size, test_size=0):
    """Dark images, which the sample has none of."""

    def split(n):
        images = np.random.RandomState(n).randint(1, 9, [n, 28, 28, 1]).astype(np.uint8)
        return Split(images, (np.arange(n) % 10).astype(np.uint8))

    return Dataset("folder", split(size), split(0), split(test_size), folder="/own", class_names=sample.class_names)


def test_each_own_image_occurs_equally_often_beside_the_share_of_the_others(sample):
    own = make_own(sample, 7)
    mixed = mix_datasets(own, sample, fraction=0.25, size=1000, seed=1)
    assert len(mixed.train) == 1000 and mixed.mixed_with == "sample" and mixed.folder == "/own"
    counts = Counter(image.tobytes() for image in mixed.train.images)
    own_counts = [counts.pop(image.tobytes()) for image in own.train.images]
    assert sum(own_counts) == 750 and max(own_counts) - min(own_counts) <= 1
    assert set(counts.values()) == {1} and set(counts) <= {image.tobytes() for image in sample.train.images}
    labels = {
        image.tobytes(): label for data in (own, sample) for image, label in zip(data.train.images, data.train.labels)
    }
    assert [labels[image.tobytes()] for image in mixed.train.images] == mixed.train.labels.tolist()


def test_what_was_learnt_before_is_still_measured(sample):
    mixed = mix_datasets(make_own(sample, 7), sample, 0.5, 100, 1)
    assert (mixed.validation.images == sample.validation.images).all()
    assert (mixed.test.images == sample.test.images).all()
    own = make_own(sample, 7, test_size=3)
    assert (mix_datasets(own, sample, 0.5, 100, 1).test.images == own.test.images).all()


def test_the_seed_determines_the_mixture(sample):
    own = make_own(sample, 30)
    first, again, other = (mix_datasets(own, sample, 0.5, 100, seed).digest() for seed in (1, 1, 2))
    assert first == again != other


def test_other_classes_and_missing_pictures_are_errors(sample):
    with pytest.raises(InputError, match="data of other classes cannot be mixed"):
        mix_datasets(replace(make_own(sample, 7), class_names=tuple("abcdefghij")), sample, 0.5, 100, 1)
    with pytest.raises(InputError, match="/own contains no training picture"):
        mix_datasets(make_own(sample, 0), sample, 0.5, 100, 1)
