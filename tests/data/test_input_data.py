"""read_data_sets, compared with TensorFlow 1.15's own, and used by old tutorial scripts."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ROOT, environment

from mnist_cnn import InputError, read_data_sets
from mnist_cnn.input_data import DataSet
from mnist_cnn.tf1 import tf


def test_1200_batches_contain_no_image_twice_in_an_epoch(mnist_dir):
    train = read_data_sets(str(mnist_dir), seed=1).train
    assert train.num_examples == 55000
    seen, orders = [], []
    for call in range(1, 1201):
        images, labels = train.next_batch(100)
        assert images.shape == (100, 784) and labels.shape == (100,)
        # As in TensorFlow, an epoch is completed when the first image after it is requested.
        assert train.epochs_completed == (call * 100 - 1) // 55000
        seen.extend(image.tobytes() for image in images)
        if call in (550, 1100):
            assert len(set(seen)) == 55000
            orders.append(seen)
            seen = []
    assert orders[0] != orders[1] and set(orders[0]) == set(orders[1])


def test_a_batch_continues_past_the_end_of_an_epoch(mnist_dir):
    validation = read_data_sets(str(mnist_dir), validation_size=250).validation
    labels = np.concatenate([validation.next_batch(100, shuffle=False)[1] for _ in range(5)])
    assert (labels == np.concatenate([validation.labels, validation.labels])).all()
    assert validation.epochs_completed == 1


def test_arguments_have_the_same_effect_as_in_tensorflow(mnist_dir):
    assert read_data_sets(str(mnist_dir), validation_size=0).validation.images.shape == (0, 784)
    plain = read_data_sets(str(mnist_dir), dtype=tf.uint8, reshape=False, validation_size=0)
    assert plain.train.num_examples == 60000 and plain.validation.num_examples == 0
    images, labels = plain.test.next_batch(7, shuffle=False)
    assert images.shape == (7, 28, 28, 1) and images.dtype == np.uint8 and images.max() > 1
    assert labels.dtype == np.uint8
    with pytest.raises(InputError, match=r"0\.\.60000"):
        read_data_sets(str(mnist_dir), validation_size=60001)
    with pytest.raises(TypeError, match="uint8 or float32"):
        read_data_sets(str(mnist_dir), dtype=np.float64)


def test_images_are_converted_once(mnist_dir):
    test = read_data_sets(str(mnist_dir)).test
    assert test.images is test.images


def test_fake_data_needs_no_files(tmp_path):
    fake = read_data_sets(str(tmp_path), fake_data=True, one_hot=True)
    images, labels = fake.train.next_batch(5)
    assert (images == 1).all() and images.shape == (5, 784)
    assert (labels == np.eye(10)[[0] * 5]).all()
    assert not list(tmp_path.iterdir())


def test_missing_mnist_is_an_error_and_never_the_sample(tmp_path):
    with pytest.raises(InputError):
        read_data_sets(str(tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"one_hot": True}, marks=pytest.mark.slow),
        pytest.param({"reshape": False, "dtype": tf.uint8}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_result_equals_that_of_tensorflows_own_function(mnist_dir, options):
    if not tf.__version__.startswith("1."):
        pytest.skip("TensorFlow 2 has no read_data_sets to compare with")
    from tensorflow.examples.tutorials.mnist import input_data

    def read(function):
        data = function(str(mnist_dir), seed=3, **options)
        batches = []
        for _ in range(1200):
            images, labels = data.train.next_batch(100)
            batches.append((hash(images.tobytes()), labels.tolist(), data.train.epochs_completed))
        return function(str(mnist_dir), seed=3, **options), batches

    (ours, our_batches), (theirs, their_batches) = read(read_data_sets), read(input_data.read_data_sets)
    assert our_batches == their_batches
    for name in ("train", "validation", "test"):
        our_set, their_set = getattr(ours, name), getattr(theirs, name)
        assert our_set.num_examples == their_set.num_examples
        for actual, expected in ((our_set.images, their_set.images), (our_set.labels, their_set.labels)):
            assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
            assert (actual == expected).all()


@pytest.mark.parametrize("source", ["seed", "tf.set_random_seed", "numpy.random.seed"])
def test_each_seed_determines_the_batches_of_all_splits_as_in_tensorflow(mnist_dir, source):
    def draw_labels(read, seed):
        with tf.Graph().as_default():
            if source == "tf.set_random_seed":
                tf.set_random_seed(seed)
            data = read(str(mnist_dir), seed=seed if source == "seed" else None)
            if source == "numpy.random.seed":
                np.random.seed(seed)
            return [split.next_batch(100)[1].tolist() for split in data]

    labels = draw_labels(read_data_sets, 3)
    assert labels == draw_labels(read_data_sets, 3) != draw_labels(read_data_sets, 4)
    if tf.__version__.startswith("1."):
        from tensorflow.examples.tutorials.mnist import input_data

        assert labels == draw_labels(input_data.read_data_sets, 3)


def test_own_arrays_are_converted_shuffled_and_batched_as_in_tensorflow():
    images = np.random.RandomState(0).randint(256, size=[30, 4, 5, 1]) * 0.5
    labels = np.arange(30) / 7

    def read(data_set, **options):
        data = data_set(images, labels, seed=2, **options)
        batches = [data.next_batch(20) for _ in range(4)]
        assert data.num_examples == 30 and data.epochs_completed == 2
        return batches

    batches = read(DataSet)
    assert sorted(batches[0][1].tolist() + batches[1][1][:10].tolist()) == labels.tolist()
    for image, label in zip(*batches[3]):
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, images[round(label * 7)].ravel() / 255, rtol=1e-6)
    unchanged = DataSet(images, labels, dtype=tf.uint8, reshape=False)
    assert (unchanged.images == images).all() and (unchanged.next_batch(30, shuffle=False)[0] == images).all()
    if tf.__version__.startswith("1."):
        from tensorflow.contrib.learn.python.learn.datasets import mnist

        for options in ({}, {"reshape": False}, {"dtype": tf.uint8}):
            for ours, theirs in zip(read(DataSet, **options), read(mnist.DataSet, **options)):
                for actual, expected in zip(ours, theirs):
                    assert actual.dtype == expected.dtype and (actual == expected).all()


def test_attributes_that_scripts_set_have_an_effect():
    data = DataSet(np.zeros([30, 2, 2, 1]), np.arange(30))
    assert [data.next_batch(10)[1].size for _ in range(3)] == [10] * 3
    data._epochs_completed = data._index_in_epoch = 0
    data._images, data._labels, data._num_examples = data.images[:6] + 1, data.labels[:6], 6
    images, labels = data.next_batch(6)
    assert (images == 1).all() and sorted(labels) == sorted(data.labels) and data.num_examples == 6
    assert data.next_batch(1)[0].shape == (1, 4) and data.epochs_completed == 1


def test_arrays_that_cannot_be_a_dataset_are_refused():
    with pytest.raises(ValueError, match="3 images, but 2 labels"):
        DataSet(np.zeros([3, 28, 28, 1]), np.zeros(2))
    with pytest.raises(ValueError, match=r"\[3, 784\]: reshape=True needs \[N, height, width, 1\]"):
        DataSet(np.zeros([3, 784]), np.zeros(3))


@pytest.mark.parametrize(
    "name, accuracy",
    [
        ("softmax", 0.85),
        pytest.param("dense", 0.93, marks=pytest.mark.slow),
        pytest.param("convolutional", 0.85, marks=pytest.mark.slow),
    ],
)
def test_an_old_tutorial_runs_after_changing_only_its_imports(mnist_dir, tmp_path, name, accuracy):
    old = (ROOT / "tests/data/tutorials" / f"{name}.py").read_text()
    imports = "import tensorflow as tf\nfrom tensorflow.examples.tutorials.mnist import input_data\n"
    assert old.count(imports) == 1
    (tmp_path / "tutorial.py").write_text(old.replace(imports, "from mnist_cnn.tutorial import input_data, tf\n"))
    shutil.copytree(str(mnist_dir), str(tmp_path / "MNIST_data"))  # on Windows, only administrators may make links
    done = subprocess.run(
        [sys.executable, "tutorial.py"],
        cwd=str(tmp_path),
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > accuracy
