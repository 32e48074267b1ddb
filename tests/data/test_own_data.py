"""Data of one's own in the forms IDX, npz and CSV: what is read, and what each error and warning says."""

import gzip
import io
import string
import zipfile

import numpy as np
import pytest
from helpers import write_idx

from mnist_cnn import DataNotFound, InputError, load_csv, load_idx, load_npz

NAMES = "x_train", "y_train", "x_test", "y_test"


def make_arrays(num_classes=3, size=48, test_size=12):
    """Images that are all different, with labels 0, 1, ... in turn: four arrays."""
    pixels = np.random.RandomState(1).randint(0, 256, [size + test_size, 28, 28]).astype(np.uint8)
    labels = (np.arange(size + test_size) % num_classes).astype(np.uint8)
    return pixels[:size], labels[:size], pixels[size:], labels[size:]


def write_npz(path, *arrays, **options):
    np.savez(str(path), **dict(zip(NAMES, arrays)), **options)


def format_csv(images, labels=None, header=True):
    rows = images.reshape(len(images), -1)
    if labels is not None:
        rows = np.column_stack([labels, rows])
    names = [f"pixel{i}" for i in range(784)]
    lines = [",".join(["label", *names] if labels is not None else names)] if header else []
    return "\n".join([*lines, *(",".join(map(str, row)) for row in rows), ""]).encode()


def assert_holds(dataset, images, labels, test_images, test_labels):
    train_images = np.concatenate([dataset.validation.images, dataset.train.images])[..., 0]
    train_labels = np.concatenate([dataset.validation.labels, dataset.train.labels])
    for actual, expected in [
        (train_images, images),
        (train_labels, labels),
        (dataset.test.images[..., 0], test_images),
        (dataset.test.labels, test_labels),
    ]:
        assert actual.dtype == np.uint8 and (actual == expected).all()
    classes = len(np.unique(labels))
    assert len(dataset.class_names) == classes and dataset.train.batch([0])[1].shape == (1, classes)


@pytest.mark.parametrize("load", [load_npz, load_csv])
def test_a_folder_without_the_form_is_an_error_that_names_it(tmp_path, load):
    with pytest.raises(DataNotFound, match=r"there is no .*(\.npz|\.csv)"):
        load(tmp_path)


def test_npz_is_read_whatever_the_order_and_the_type_of_its_numbers(tmp_path):
    images, labels, test_images, test_labels = arrays = make_arrays()
    write_npz(
        tmp_path / "a.npz", np.asfortranarray(images), labels.astype(np.int64), test_images.astype(">i2"), test_labels
    )
    dataset = load_npz(tmp_path)
    assert_holds(dataset, *arrays)
    assert (dataset.name, dataset.folder, dataset.class_names) == ("npz", str(tmp_path / "a.npz"), ("0", "1", "2"))
    assert len(dataset.validation) == 4
    assert load_npz(tmp_path / "a.npz").digest() == dataset.digest()
    write_npz(tmp_path / "b.npz", *arrays)
    with pytest.raises(InputError, match="several .npz files"):
        load_npz(tmp_path)


class Explosive:
    """If it is unpickled, a file appears."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_npz_is_never_unpickled(tmp_path):
    images, labels, *rest = make_arrays()
    trap = tmp_path / "trap"
    write_npz(tmp_path / "a.npz", images, np.array([Explosive(str(trap))] * len(labels), object), *rest)
    with pytest.raises(InputError, match="y_train has dtype object: it must be whole numbers"):
        load_npz(tmp_path)
    assert not trap.exists()


def rewrite(path, name, content):
    """Replaces a file of an archive."""
    with zipfile.ZipFile(str(path)) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    files[name] = content
    with zipfile.ZipFile(str(path), "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)


def make_header(shape, descr="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (make_header((2**40, 28, 28)) + bytes(100), "holds 100 bytes, and its header says"),
        (make_header((2**62, 2**62, 4)) + bytes(0), "holds 0 bytes, and its header says"),
        (make_header((1,), "<f8") + bytes(8), "x_train has dtype float64: it must be whole numbers"),
        (b"no array", "damaged or not an .npz file"),
        (b"\x93NUMPY\x01\x00\x04\x00((((", "is damaged: x_train.npy cannot be read"),
        (make_header((48, 28, 27)) + bytes(48 * 28 * 27), "the training images have 28 x 27 pixels, not 28 x 28"),
        (make_header((48, 28, 28), "<i2") + b"\xff\xff" * 48 * 28 * 28, "a pixel is -1: pixels must be in 0..255"),
    ],
)
def test_an_array_that_does_not_fit_is_named_in_the_error(tmp_path, content, message):
    write_npz(tmp_path / "a.npz", *make_arrays())
    rewrite(tmp_path / "a.npz", "x_train.npy", content)
    with pytest.raises(InputError, match=message):
        load_npz(tmp_path)


def test_damage_inside_compressed_arrays_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    names = "x_train", "y_train", "x_test", "y_test"
    np.savez_compressed(str(path), **dict(zip(names, make_arrays())))
    content = path.read_bytes()
    for start in range(40, len(content) - 600, len(content) // 20):  # before the list of the archive's files
        path.write_bytes(content[:start] + b"\xff" * 20 + content[start + 20 :])
        with pytest.raises(InputError, match="is damaged") as error:
            load_npz(tmp_path)
        assert len(str(error.value).splitlines()) == 1


def test_a_missing_array_and_a_damaged_file_are_named_in_the_error(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, *make_arrays()[:3])
    with pytest.raises(InputError, match="has no array y_test: it must have x_train, y_train, x_test and y_test"):
        load_npz(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged or not an .npz file"):
        load_npz(tmp_path)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
def test_csv_is_read_packed_or_not_with_or_without_a_header(tmp_path, header, suffix):
    images, labels, test_images, test_labels = arrays = make_arrays()
    for name, content in [
        ("mnist_train", format_csv(images, labels, header)),
        ("mnist_test", format_csv(test_images, test_labels, header)),
    ]:
        path = tmp_path / (name + suffix)
        if suffix == ".csv.zip":
            with zipfile.ZipFile(str(path), "w") as archive:
                archive.writestr(name + ".csv", content)
        else:
            path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    assert_holds(load_csv(tmp_path), *arrays)


def test_without_labelled_test_images_a_sixth_is_the_test_split_and_a_new_image_moves_no_other(tmp_path):
    images, labels, test_images, _ = make_arrays(size=1200)
    (tmp_path / "test.csv").write_bytes(format_csv(test_images))  # as Kaggle's, without labels

    def load(images, labels):
        (tmp_path / "train.csv").write_bytes(format_csv(images, labels))
        return load_csv(tmp_path)

    before = load(images[1:], labels[1:])
    assert 150 < len(before.test) < 250 and len(before.test) + len(before.train) + len(before.validation) == 1199
    after = load(images, labels)
    test_before, test_after = ({image.tobytes() for image in dataset.test.images} for dataset in (before, after))
    assert test_before <= test_after and len(test_after - test_before) <= 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: lines[:3] + [lines[3] + b",1"] + lines[4:], "train.csv, line 4: it has 786 values, not 785"),
        (lambda lines: lines[:3] + [lines[3][:-4]] + lines[4:], r"train.csv, line 4: it has 78\d values, not 785"),
        (
            lambda lines: lines[:3] + [b"0,256," + lines[3].split(b",", 2)[2]],
            "line 4: '256' is not a whole number in 0..255",
        ),
        (
            lambda lines: lines[:3] + [b"0,-1," + lines[3].split(b",", 2)[2]],
            "line 4: '-1' is not a whole number in 0..255",
        ),
        (lambda lines: lines[:3] + [b"cat,0," + lines[3].split(b",", 2)[2]], "line 4: 'cat' is not a whole number"),
        (lambda lines: lines[:3] + [b"0,99999999999999999999," + lines[3].split(b",", 2)[2]], "line 4: '9999"),
        (lambda lines: [b"1,2,3"], "train.csv, line 1: it has 3 values, not a label and 784 pixels"),
        (lambda lines: lines[:1], "train.csv contains no image"),
        (lambda lines: [b"0" * 100000], "line 1: it has 1 values, not a label and 784 pixels"),
        (lambda lines: [line.partition(b",")[2] for line in lines], "its lines have 784 values, and no label"),
    ],
)
def test_a_line_that_does_not_fit_is_named_in_the_error(tmp_path, change, message):
    images, labels, *_ = make_arrays()
    lines = change(format_csv(images, labels).splitlines())
    (tmp_path / "train.csv").write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(InputError, match=message):
        load_csv(tmp_path)


@pytest.mark.slow
def test_a_csv_file_of_more_than_200000_rows_is_refused(tmp_path):
    row = b"1" + b",0" * 784 + b"\n"
    with gzip.open(str(tmp_path / "train.csv.gz"), "wb", compresslevel=1) as file:
        for _ in range(202):
            file.write(row * 1000)
    with pytest.raises(InputError, match="more than 200,000 lines"):
        load_csv(tmp_path)


def write_emnist(folder, name, images, labels, test_images, test_labels):
    write_idx(folder / "plain", images.swapaxes(1, 2), labels, test_images.swapaxes(1, 2), test_labels)
    for path in (folder / "plain").iterdir():
        kind = "train" if path.name.startswith("train") else "test"
        path.rename(folder / f"emnist-{name}-{kind}-{path.name.partition('-')[2]}")
    (folder / "plain").rmdir()


def test_emnist_is_turned_and_its_letters_have_names(tmp_path, caplog):
    images, labels, test_images, test_labels = make_arrays(26, 260, 52)
    write_emnist(tmp_path, "letters", images, labels + 1, test_images, test_labels + 1)
    dataset = load_idx(tmp_path)
    assert_holds(dataset, images, labels, test_images, test_labels)
    assert dataset.class_names == tuple(string.ascii_uppercase)
    assert "transposed" in caplog.text and "begin at 1" in caplog.text
    write_emnist(tmp_path, "digits", *make_arrays(10))
    with pytest.raises(InputError, match=r"several of EMNIST's datasets \(digits, letters\)"):
        load_idx(tmp_path)


@pytest.mark.parametrize(
    "labels, test_label, message",
    [
        ([0, 1, 3], 0, "there is no training image of the label 2, but one of 3"),
        ([2, 3], 2, "there is no training image of the label 0, but one of 3"),
        ([0], 0, "the number of classes is 1: it must be in 2..100"),
        (range(101), 0, "the number of classes is 101: it must be in 2..100"),
        ([0, 1], 2, "a test image has the label 2, which no training image has"),
        ([-1, 0], 0, "there is no training image of the label 0, but one of -1"),
    ],
)
def test_labels_that_do_not_fit_are_named_in_the_error(tmp_path, labels, test_label, message):
    images, *_ = make_arrays(size=202)
    labels = np.resize(np.array(labels), len(images))
    write_npz(tmp_path / "a.npz", images, labels, images[:1], np.array([test_label]))
    with pytest.raises(InputError, match=message):
        load_npz(tmp_path)


def test_a_warning_counts_repeated_images(tmp_path, caplog):
    images, labels, test_images, test_labels = make_arrays()
    images[3:6] = images[2]  # one image under all three labels
    images[12] = images[9]  # under the same label
    test_images[:2], test_labels[:2] = images[7:9], labels[7:9]
    write_npz(tmp_path / "a.npz", images, labels, test_images, test_labels)
    load_npz(tmp_path)
    warnings = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert warnings == [
        "number of images under two labels or more: 1",
        "number of test images that are training images too: 2",
    ]
