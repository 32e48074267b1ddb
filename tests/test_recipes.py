"""Recipes, learning rate schedules and augmentation."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest

from mnist_cnn import RECIPES, Augmentation, Classifier, InputError, Recipe, build_model
from mnist_cnn.data.augmentation import augment
from mnist_cnn.data.batching import iterate_batches
from mnist_cnn.data.drawn_images import draw_images
from mnist_cnn.tf1 import tf

NO_DISTORTION = {"rotation": 0, "scaling": 0, "shear": 0, "shift": 0}


@pytest.fixture(scope="module")
def square():
    """200 copies of one image: a white square of 8 by 8 pixels in the centre."""
    images = np.zeros([200, 28, 28, 1], np.uint8)
    images[:, 10:18, 10:18] = 255
    return images


def distorted(images, seed=1, step=0, **amounts):
    return augment(images, Augmentation(**{**NO_DISTORTION, **amounts}), seed, step)


def moments(images):
    """Returns each image's mass in white pixels, centre (y, x) and covariance [n, 2, 2]."""
    images = images[..., 0].astype(np.float64)
    mass = images.sum(axis=(1, 2))
    coordinates = np.indices([28, 28]).astype(np.float64)
    centre = np.einsum("cij,nij->nc", coordinates, images) / mass[:, np.newaxis]
    offsets = coordinates[np.newaxis] - centre[:, :, np.newaxis, np.newaxis]
    return mass, centre, np.einsum("ncij,ndij,nij->ncd", offsets, offsets, images) / mass[:, np.newaxis, np.newaxis]


def test_zero_ranges_leave_images_unchanged(sample):
    images = sample.train.images[:100]
    found = distorted(images)
    assert found.dtype == np.float32 and found.shape == images.shape
    np.testing.assert_allclose(found, images / 255, atol=1e-6)


def test_each_image_is_shifted_independently_within_the_range(square):
    mass, centre, _ = moments(distorted(square, shift=2))
    shifts = centre - 13.5
    np.testing.assert_allclose(mass, 64, rtol=1e-5)
    assert np.abs(shifts).max() <= 2.0001
    assert (shifts.min(axis=0) < -1.8).all() and (shifts.max(axis=0) > 1.8).all()
    assert len(np.unique(shifts.round(4), axis=0)) == 200


def test_each_image_is_rotated_independently_within_the_range(square):
    bars = square.copy()
    bars[:, :, :12] = bars[:, :, 16:] = 0  # upright
    mass, centre, covariance = moments(distorted(bars, rotation=12))
    angles = np.degrees(0.5 * np.arctan2(2 * covariance[:, 0, 1], covariance[:, 0, 0] - covariance[:, 1, 1]))
    np.testing.assert_allclose(centre, 13.5, atol=0.02)
    np.testing.assert_allclose(mass, 32, rtol=0.05)
    assert angles.min() < -10 and angles.max() > 10 and np.abs(angles).max() < 13


def test_height_and_width_are_scaled_independently_within_the_range(square):
    _, centre, covariance = moments(distorted(square, scaling=0.12))
    before = moments(square)[2]
    heights, widths = (np.sqrt(covariance[:, axis, axis] / before[:, axis, axis]) for axis in (0, 1))
    np.testing.assert_allclose(centre, 13.5, atol=0.02)
    for sizes in (heights, widths):
        assert 0.87 < sizes.min() < 0.93 and 1.1 < sizes.max() < 1.17  # the inverse map is scaled, hence 1 / (1 ± 0.12)
    assert np.abs(np.corrcoef(heights, widths)[0, 1]) < 0.3


def test_each_image_is_sheared_independently_within_the_range(square):
    mass, centre, covariance = moments(distorted(square, shear=0.15))
    slants = covariance[:, 0, 1] / covariance[:, 0, 0]
    np.testing.assert_allclose(mass, 64, rtol=0.05)
    assert slants.min() < -0.12 and slants.max() > 0.12 and np.abs(slants).max() < 0.16


def test_the_strokes_of_a_fraction_of_the_images_become_wider_or_narrower(square):
    mass, _, covariance = moments(distorted(square, stroke_width=0.8))
    widths = np.sqrt(12 * covariance[:, (0, 1), (0, 1)] + 1).round(3)  # of a uniform distribution over whole pixels
    assert (mass == (widths[:, 0] * widths[:, 1]).round()).all()
    counts = {tuple(pair): n for *pair, n in np.c_[np.unique(widths, axis=0, return_counts=True)].tolist()}
    assert set(counts) == {(8, 8), (9, 8), (8, 9), (7, 8), (8, 7), (10, 10)}
    assert 20 <= counts.pop((8, 8)) <= 60 and 20 <= counts.pop((10, 10)) <= 60 and min(counts.values()) >= 15


def test_augmentation_is_determined_by_seed_and_step(sample):
    def found(seed, step):
        return augment(sample.train.images[:50], RECIPES["accurate"].augmentation, seed, step)

    assert (found(1, 7) == found(1, 7)).all()
    for other in (found(1, 8), found(2, 7)):
        assert (other != found(1, 7)).any(axis=(1, 2, 3)).all()
    assert found(1, 7).min() >= 0 and found(1, 7).max() <= 1


def test_distorted_images_keep_their_labels(sample):
    slightly = dataclasses.replace(RECIPES["original"], augmentation=Augmentation(4, 0.04, 0.05, 0.5))
    with closing(iterate_batches(sample.train, slightly, seed=1, step=3)) as batch:
        images, labels = next(batch)
    with closing(iterate_batches(sample.train, RECIPES["original"], seed=1, step=3)) as batch:
        originals, true_labels = next(batch)
    assert (labels == true_labels).all()
    # A distorted image correlates more with its original than with the others.
    correlation = np.corrcoef(images.reshape(100, -1), originals.reshape(100, -1))[:100, 100:]
    assert (correlation.argmax(axis=1) == np.arange(100)).mean() > 0.9


def take_batch(split, recipe, step):
    with closing(iterate_batches(split, recipe, seed=1, step=step)) as batches:
        return next(batches)


def test_the_plain_epochs_are_the_last_ones(sample):
    steps_per_epoch = len(sample.train) // 100
    recipe = Recipe(3, 100, 0.001, 0.8, augmentation=Augmentation(12, 0.1, 0.1, 2), plain_epochs=1)
    for step, is_plain in [(0, False), (2 * steps_per_epoch - 1, False), (2 * steps_per_epoch, True)]:
        originals, _ = take_batch(sample.train, RECIPES["original"], step)
        images, _ = take_batch(sample.train, recipe, step)
        assert (images == originals).all() == is_plain, step


def test_label_smoothing_spreads_a_fraction_of_each_label_over_all_classes(sample):
    _, labels = take_batch(sample.train, RECIPES["original"], 7)
    images, smoothed = take_batch(sample.train, dataclasses.replace(RECIPES["original"], label_smoothing=0.2), 7)
    np.testing.assert_allclose(smoothed, np.where(labels == 1, 0.82, 0.02), rtol=1e-6)
    assert images.dtype == smoothed.dtype == np.float32


@pytest.mark.slow
def test_drawn_images_are_added_to_each_batch(sample):
    recipe = dataclasses.replace(RECIPES["original"], drawn_images=0.2)
    originals, true_labels = take_batch(sample.train, RECIPES["original"], 7)
    images, labels = take_batch(sample.train, recipe, 7)
    assert len(images) == len(labels) == 120
    assert (images[:100] == originals).all() and (labels[:100] == true_labels).all()
    again, _ = take_batch(sample.train, recipe, 7)
    other, _ = take_batch(sample.train, recipe, 8)
    assert (again == images).all() and (other[100:] != images[100:]).any(axis=(1, 2, 3)).sum() > 15


def test_drawn_images_are_in_the_format_of_mnist_and_most_have_equal_labels_for_all_classes(sample):
    images, labels = draw_images(sample.train.images, sample.train.labels, seed=1)
    assert images.dtype == np.uint8 and images.shape[1:] == (28, 28, 1) and 7000 < len(images) <= 8000
    assert (images.max(axis=(1, 2, 3)) > 200).all()
    mass, centre, _ = moments(images / 255)
    assert np.percentile(np.abs(centre - 13.5), 99) < 1
    mnist = moments(sample.train.images / 255)[0]
    assert mnist.mean() / 2 < mass.mean() < 2 * mnist.mean()
    is_digit = labels.max(axis=1) == 1
    assert labels.shape == (len(images), 10) and 0.1 < is_digit.mean() < 0.2
    np.testing.assert_allclose(labels[~is_digit], 0.1)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.slow
def test_a_trained_network_reads_the_digits_among_the_drawn_images(fast_run, sample):
    images, labels = draw_images(sample.train.images, sample.train.labels, seed=1)
    is_digit = labels.max(axis=1) == 1
    with Classifier.load(fast_run) as classifier:
        assert (classifier.predict(images[is_digit]).classes == labels[is_digit].argmax(axis=1)).mean() > 0.7


def test_weight_decay_shrinks_the_weights_after_adams_update(sample):
    def step(**options):
        with tf.Graph().as_default(), tf.Session() as session:
            model = build_model(learning_rate=0.01, **options)
            session.run(tf.global_variables_initializer())
            images, labels = sample.train.batch(slice(0, 50))
            session.run(model.train_op, {model.images: images, model.labels: labels})
            return session.run(list(model.weights.values()))

    for without, with_decay in zip(step(), step(weight_decay=0.5)):
        np.testing.assert_allclose(with_decay, without * (1 - 0.5 * 0.01), rtol=1e-5, atol=1e-8)


def test_a_linear_schedule_rises_during_warm_up_and_then_falls_to_0():
    recipe = Recipe(1, 100, learning_rate=0.002, keep_prob=0.8, schedule="linear", warmup=0.2)
    rates = np.array([recipe.learning_rate_at(step, 100) for step in range(100)])
    assert (np.diff(rates[:20]) > 0).all() and (np.diff(rates[20:]) < 0).all()
    assert rates[0] == pytest.approx(0.00005) and rates.max() == pytest.approx(0.002, rel=0.03)
    assert rates[-1] == pytest.approx(0.002 * 0.005 / 0.8)


def test_the_published_learning_rate_is_constant():
    assert {RECIPES["original"].learning_rate_at(step, 8250) for step in range(0, 8250, 50)} == {0.001}


def test_he_weights_have_the_variance_2_over_fan_in():
    with tf.Graph().as_default(), tf.Session() as session:
        build_model(initial_weights="he")
        session.run(tf.global_variables_initializer())
        for name, inputs in (("W1", 9), ("W2", 288), ("W3", 3136), ("W4", 256)):
            assert session.run(name + ":0").std() == pytest.approx(np.sqrt(2 / inputs), rel=0.15)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"schedule": "cosine"}, "constant or linear"),
        ({"warmup": 1.0}, "below 1"),
        ({"warmup": -0.1}, "0 or more"),
        ({"initial_weights": "zero"}, "published or he"),
        ({"weight_decay": -1}, "0 or more"),
        ({"plain_epochs": 0.5}, "a whole number"),
        ({"label_smoothing": 1}, "0 or more, and below 1"),
        ({"beta2": 1}, "0 or more, and below 1"),
        ({"drawn_images": -0.1}, "0 or more"),
    ],
    ids=str,
)
def test_a_recipe_out_of_range_is_an_error(changes, message):
    with pytest.raises(InputError, match=message):
        Recipe(1, 100, 0.001, 0.8, **changes)


@pytest.mark.parametrize("amount", [{"rotation": -1}, {"scaling": 1}, {"shift": float("nan")}, {"shear": float("inf")}])
def test_an_augmentation_out_of_range_is_an_error(amount):
    with pytest.raises(InputError, match=f"{next(iter(amount))} is .*it must be 0 or more"):
        Augmentation(**{**NO_DISTORTION, **amount})


def test_a_fraction_of_stroke_widths_above_1_is_an_error():
    with pytest.raises(InputError, match="stroke_width is 1.5: it must be in 0..1"):
        Augmentation(**NO_DISTORTION, stroke_width=1.5)


def test_recipes_are_immutable():
    with pytest.raises(AttributeError):
        RECIPES["fast"].epochs = 3
