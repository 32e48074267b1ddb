"""Other data in MNIST's format, and the names under which the four files are found."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from helpers import write_idx

from mnist_cnn import DataNotFound, InputError, load_idx, load_mnist, read_data_sets
from mnist_cnn.data.idx import IDX_FILES

NAMES = list(IDX_FILES)


@pytest.fixture
def folder(tmp_path, other_data):
    write_idx(tmp_path, *other_data)
    return tmp_path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "pattern",
    ["{0}", "{1}", "{0}/{0}", "{1}/{1}"],
    ids=["as published", "with a dot", "in a folder", "with a dot, in a folder"],
)
def test_files_are_found_under_the_names_that_other_sources_give_them(tmp_path, other_data, pattern, suffix):
    write_idx(tmp_path, *other_data, pattern=pattern, suffix=suffix)
    dataset = load_idx(tmp_path)
    assert (dataset.name, dataset.folder) == ("idx", str(tmp_path.resolve()))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [550, 50, 100]
    images = np.concatenate([dataset.validation.images, dataset.train.images])
    assert sorted(map(bytes, images)) == sorted(map(bytes, other_data[0]))
    assert (dataset.test.labels == other_data[3]).all()


def test_the_error_lists_the_files_that_are_there_and_the_names_that_are_expected(tmp_path):
    for name in ("mnist.npz", "train.csv"):
        (tmp_path / name).write_bytes(b"")
    for load in (load_mnist, load_idx):
        with pytest.raises(DataNotFound, match="mnist.npz, train.csv.*train-images-idx3-ubyte.*t10k-labels"):
            load(tmp_path)


def test_other_data_is_not_called_damaged(folder):
    with pytest.raises(InputError, match="valid IDX file of shape .600, 28, 28., but.*not that of MNIST") as error:
        load_mnist(folder)
    assert "damaged" not in str(error.value) and "delete" not in str(error.value)


def test_mnist_is_never_downloaded_beside_other_data(folder):
    (folder / NAMES[-1]).unlink()
    with pytest.raises(InputError, match="not that of MNIST"):
        load_mnist(folder)
    with pytest.raises(InputError, match=f"{NAMES[-1]} missing in"):
        read_data_sets(str(folder))


def test_read_data_sets_reads_other_data_with_a_notice(folder, other_data, caplog):
    datasets = read_data_sets(str(folder), validation_size=100)
    assert str(folder) in caplog.text and "not MNIST" in caplog.text
    assert datasets.train.num_examples == 500 and datasets.test.num_examples == 100
    assert (datasets.validation.labels == other_data[1][:100]).all()


@pytest.mark.parametrize(
    "index, array, message",
    [
        (0, np.zeros([600, 32, 32], np.uint8), "the training images have 32 x 32 pixels, not 28 x 28"),
        (3, np.zeros([99], np.uint8), "100 test images, but 99 labels"),
        (1, np.full([600], 10, np.uint8), "there is no training image of the label 0, but one of 10"),
        (0, np.zeros([600, 784], np.uint8), "train-images-idx3-ubyte is damaged or not an IDX file"),
    ],
)
def test_files_that_do_not_fit_are_named_in_the_error(tmp_path, other_data, index, array, message):
    arrays = list(other_data)
    arrays[index] = array
    write_idx(tmp_path, *arrays)
    with pytest.raises(InputError, match=message):
        load_idx(tmp_path)


@pytest.mark.parametrize("train, test, message", [(11, 1, "11 training images"), (12, 0, "0 test images")])
def test_too_few_images_are_an_error(tmp_path, other_data, train, test, message):
    write_idx(tmp_path, *(array[:size] for array, size in zip(other_data, (train, train, test, test))))
    with pytest.raises(InputError, match=message):
        load_idx(tmp_path)


def test_memory_is_bounded_by_the_length_of_the_file(tmp_path, other_data):
    write_idx(tmp_path, *other_data)
    header = struct.pack(">4I", 0x803, 1200000, 28, 28)  # 940 MB
    contents = {
        "": (header + bytes(1000), "it holds 1,016 of 940,800,016 bytes"),
        ".gz": (gzip.compress(header + bytes(10**5)), "cannot contain the 940,800,016 of its header"),
    }
    (tmp_path / NAMES[0]).unlink()
    tracemalloc.start()
    try:
        for suffix, (content, message) in contents.items():
            path = tmp_path / (NAMES[0] + suffix)
            path.write_bytes(content)
            with pytest.raises(InputError, match=message):
                load_idx(tmp_path)
            path.unlink()
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
