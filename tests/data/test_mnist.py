"""Loading, verifying and splitting MNIST and the sample, and the order of the batches."""

import gzip
import shutil
import struct
import tracemalloc

import numpy as np
import pytest

from mnist_cnn import DataNotFound, InputError, load_mnist, load_sample
from mnist_cnn.data.batching import batch_indices
from mnist_cnn.data.idx import IDX_FILES

NAMES = list(IDX_FILES)


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    return load_mnist(mnist_dir)


@pytest.fixture
def copy(mnist_dir, tmp_path):
    """A copy of the four files, for tests that damage one."""
    for path in mnist_dir.glob("*ubyte*"):
        shutil.copyfile(str(path), str(tmp_path / path.name))
    return tmp_path


def gz_path(folder, name):
    return folder / (name + ".gz")


def decompress(folder, name):
    """Replaces a compressed file by the decompressed one; returns its path and content."""
    content = gzip.decompress(gz_path(folder, name).read_bytes())
    gz_path(folder, name).unlink()
    (folder / name).write_bytes(content)
    return folder / name, content


def test_mnist_is_split_as_in_tensorflow(mnist, mnist_dir):
    assert [len(split) for split in (mnist.train, mnist.validation, mnist.test)] == [55000, 5000, 10000]
    with gzip.open(str(gz_path(mnist_dir, "train-labels-idx1-ubyte"))) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    assert (np.concatenate([mnist.validation.labels, mnist.train.labels]) == labels).all()


def test_images_are_uint8_until_a_batch_is_made(mnist):
    assert mnist.train.images.dtype == np.uint8 and mnist.train.images.shape == (55000, 28, 28, 1)
    images, labels = mnist.train.batch(np.arange(100))
    assert images.dtype == labels.dtype == np.float32
    assert images.shape == (100, 28, 28, 1) and labels.shape == (100, 10)
    assert images.min() == 0 and images.max() == 1
    assert (labels.sum(axis=1) == 1).all() and (labels.argmax(axis=1) == mnist.train.labels[:100]).all()


def test_decompressed_files_give_the_same_images(mnist, copy):
    for name in NAMES:
        decompress(copy, name)
    assert load_mnist(copy).digest() == mnist.digest()


def test_the_folder_comes_from_the_argument_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MNIST_DATA_DIR", str(tmp_path / "environment"))
    with pytest.raises(DataNotFound, match="argument"):
        load_mnist(tmp_path / "argument")
    with pytest.raises(DataNotFound, match="environment"):
        load_mnist()
    monkeypatch.delenv("MNIST_DATA_DIR")
    with pytest.raises(DataNotFound, match="cache"):
        load_mnist()


def test_a_single_missing_file_is_named(copy):
    gz_path(copy, "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte missing in") as error:
        load_mnist(copy)
    assert not isinstance(error.value, DataNotFound)


@pytest.mark.parametrize("name", NAMES)
def test_one_flipped_bit_is_detected_in_every_file(copy, name):
    path, content = decompress(copy, name)
    altered = bytearray(content)
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))
    with pytest.raises(InputError, match=f"{name} is a valid IDX file.*SHA-256 is not that of.*an altered copy"):
        load_mnist(copy)


def test_one_flipped_bit_in_a_compressed_file_is_detected(copy):
    path = gz_path(copy, "t10k-images-idx3-ubyte")
    altered = bytearray(path.read_bytes())
    altered[len(altered) // 2] ^= 1
    path.write_bytes(bytes(altered))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte.gz is damaged"):
        load_mnist(copy)


def test_truncated_files_are_detected(copy):
    path = gz_path(copy, "t10k-labels-idx1-ubyte")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte.gz is damaged.*cut off"):
        load_mnist(copy)
    path, content = decompress(copy, "train-labels-idx1-ubyte")
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="train-labels-idx1-ubyte is damaged.*60,007 of 60,008 bytes"):
        load_mnist(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        b"<!DOCTYPE html><title>403 Forbidden</title>",
        gzip.compress(b"<!DOCTYPE html><title>403 Forbidden</title>"),
        gzip.compress(struct.pack(">4I", 0x803, 2**31 - 1, 28, 28) + bytes(100)),
        gzip.compress(struct.pack(">4I", 0x803, 60000, 28, 28) + bytes(100)),
    ],
    ids=["empty", "two bytes", "HTML", "compressed HTML", "false sizes in the header", "no images after the header"],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_content_other_than_idx_is_an_error_that_names_the_file(tmp_path, content, suffix):
    for name in NAMES:
        (tmp_path / (name + suffix)).write_bytes(content)
    with pytest.raises(InputError, match=f"train-images-idx3-ubyte{suffix} is damaged"):
        load_mnist(tmp_path)


def test_decompression_of_a_gzip_bomb_stops_at_the_known_size(tmp_path):
    for name in NAMES:
        with gzip.open(str(gz_path(tmp_path, name)), "wb", compresslevel=1) as file:
            file.write(struct.pack(">4I", 0x803, 60000, 28, 28))
            for _ in range(500):
                file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="over 47,040,016 of 47,040,016 bytes"):
            load_mnist(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_the_sample_is_balanced_and_always_the_same(sample):
    for split, of_each in ((sample.train, 400), (sample.validation, 50), (sample.test, 50)):
        assert (np.bincount(split.labels) == of_each).all()
    assert load_sample().digest() == sample.digest()


def test_no_image_of_the_sample_is_in_two_splits(sample):
    images = [{image.tobytes() for image in split.images} for split in (sample.train, sample.validation, sample.test)]
    assert len(set.union(*images)) == sum(map(len, images)) == 5000


def test_the_sample_is_a_subset_of_mnist(sample, mnist):
    labels_by_image = {
        image.tobytes(): label
        for split in (mnist.train, mnist.validation)
        for image, label in zip(split.images, split.labels)
    }
    for image, label in zip(sample.test.images, sample.test.labels):
        assert labels_by_image[image.tobytes()] == label


@pytest.mark.parametrize("size, batch_size", [(1000, 100), (1000, 300), (7, 7)])
def test_every_data_pass_contains_each_image_once_in_a_new_order(size, batch_size):
    steps = 3 * size // batch_size + 1
    stream = np.concatenate([batch_indices(size, batch_size, 1, step) for step in range(steps)])
    passes = stream[: 3 * size].reshape(3, size)
    assert (np.sort(passes) == np.arange(size)).all()
    assert len({order.tobytes() for order in passes}) == 3


def test_the_images_of_a_step_do_not_depend_on_earlier_calls():
    later = batch_indices(1000, 100, seed=1, step=25)
    for step in (0, 999, 24):
        batch_indices(1000, 100, seed=2, step=step)
    assert (batch_indices(1000, 100, seed=1, step=25) == later).all()
    assert (batch_indices(1000, 100, seed=2, step=25) != later).any()
