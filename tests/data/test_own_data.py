"""Data of one's own in the formats IDX, npz and CSV: what is read, and what each error and warning says."""

import codecs
import gzip
import io
import re
import string
import zipfile

import numpy as np
import pytest
from helpers import write_idx

from mnist_cnn import DataNotFound, InputError, Split, load_csv, load_idx, load_npz

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


def list_images(*splits):
    """The images and their labels in an order that does not depend on that in the splits."""
    return sorted((image.tobytes(), label) for split in splits for image, label in zip(split.images, split.labels))


def assert_holds(dataset, images, labels, test_images, test_labels):
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.dtype == split.labels.dtype == np.uint8 and split.images.shape[1:] == (28, 28, 1)
    assert list_images(dataset.train, dataset.validation) == list_images(Split(images, labels))
    assert (dataset.test.images[..., 0] == test_images).all() and (dataset.test.labels == test_labels).all()
    classes = len(np.unique(labels))
    assert len(dataset.class_names) == classes and dataset.train.batch([0])[1].shape == (1, classes)


@pytest.mark.parametrize("load", [load_npz, load_csv])
def test_a_folder_without_the_form_is_an_error_that_names_it(tmp_path, load):
    with pytest.raises(DataNotFound, match=r"there is no .*(\.npz|\.csv)"):
        load(tmp_path)


@pytest.mark.parametrize("load", [load_idx, load_npz, load_csv])
def test_the_folder_of_an_unknown_user_is_an_error_that_names_it(load):
    with pytest.raises(InputError, match="^~no-such-user/data: this home directory is unknown"):
        load("~no-such-user/data")


@pytest.mark.parametrize("form", ["csv", "csv without a test file", "idx", "npz"])
def test_data_sorted_by_label_keep_training_images_of_every_class(tmp_path, form):
    images, labels, test_images, test_labels = make_arrays(26, 520, 52)
    labels = np.sort(labels)
    labels[-19:] = 26  # a class with one image is before it
    if form == "idx":
        write_idx(tmp_path, images, labels, test_images, test_labels)
        dataset = load_idx(tmp_path)
    elif form == "npz":
        write_npz(tmp_path / "a.npz", images, labels, test_images, test_labels)
        dataset = load_npz(tmp_path)
    else:
        (tmp_path / "train.csv").write_bytes(format_csv(images, labels))
        if form == "csv":
            (tmp_path / "test.csv").write_bytes(format_csv(test_images, test_labels))
        dataset = load_csv(tmp_path)
    counts = np.bincount(dataset.train.labels)
    assert len(counts) == 27 and counts[25] == 1 and np.delete(counts, 25).min() >= 9
    assert len(dataset.validation) == (len(dataset.train) + len(dataset.validation)) // 12


def test_the_validation_split_does_not_depend_on_the_order_of_the_file(tmp_path):
    images, labels, test_images, test_labels = make_arrays(size=240)
    validation = []
    for order in (slice(None), slice(None, None, -1)):
        write_npz(tmp_path / "a.npz", images[order], labels[order], test_images, test_labels)
        validation.append(list_images(load_npz(tmp_path).validation))
    assert len(validation[0]) == 20 and validation[0] == validation[1]
    first = load_npz(tmp_path, validation_size=7).validation.images[..., 0]
    assert (first == images[:-8:-1]).all()  # on request, the first images


def test_one_image_of_each_class_leaves_none_for_validation(tmp_path):
    write_npz(tmp_path / "a.npz", *make_arrays(12, 12))
    with pytest.raises(InputError, match="no class has two training images"):
        load_npz(tmp_path)


def test_npz_is_read_whatever_the_order_and_the_type_of_its_numbers(tmp_path):
    images, labels, test_images, test_labels = arrays = make_arrays()
    write_npz(
        tmp_path / "a.npz",
        np.asfortranarray(images),
        labels.astype(np.int64)[:, np.newaxis],  # as Keras's CIFAR
        test_images.astype(">i2"),
        test_labels,
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
        (
            make_header((48, 28, 28), "<i2") + b"\xff\xff" + b"\x7f\x00" * (48 * 28 * 28 - 1),
            "a pixel is -1: pixels must be in 0..255",
        ),
        (make_header((48, 28, 28), "<i2") + b"\x00\x01" * 48 * 28 * 28, "a pixel is 256: pixels must be in 0..255"),
    ],
)
def test_an_array_that_does_not_fit_is_named_in_the_error(tmp_path, content, message):
    write_npz(tmp_path / "a.npz", *make_arrays())
    rewrite(tmp_path / "a.npz", "x_train.npy", content)
    with pytest.raises(InputError, match=message):
        load_npz(tmp_path)


def test_labels_of_more_dimensions_are_named_in_the_error(tmp_path):
    images, labels, *rest = make_arrays()
    write_npz(tmp_path / "a.npz", images, np.eye(3, dtype=np.uint8)[labels], *rest)
    with pytest.raises(InputError, match=r"the training labels have the shape \[48, 3\], not one dimension"):
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


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["", "byte order mark"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
def test_csv_is_read_packed_or_not_with_or_without_a_header(tmp_path, header, suffix, mark):
    images, labels, test_images, test_labels = arrays = make_arrays()
    for name, content in [
        ("mnist_train", format_csv(images, labels, header)),
        ("mnist_test", format_csv(test_images, test_labels, header)),
    ]:
        path, content = tmp_path / (name + suffix), mark + content
        if suffix == ".csv.zip":
            with zipfile.ZipFile(str(path), "w") as archive:
                archive.writestr(name + ".csv", content)
                archive.writestr(f"__MACOSX/._{name}.csv", b"metadata that the Finder of macOS adds")
        else:
            path.write_bytes(gzip.compress(content) if suffix == ".csv.gz" else content)
    assert_holds(load_csv(tmp_path), *arrays)


@pytest.mark.parametrize(
    "train_name, test_name",
    [
        ("latest_train.csv", None),
        ("latest_train.csv", "latest_test.csv"),
        ("contest-Train2.csv", "contest-Test2.csv"),
        ("letters-training.csv", "letters-testing.csv"),
        ("train_test.csv", None),
    ],
)
def test_a_csv_file_is_for_what_a_whole_word_of_its_name_says(tmp_path, train_name, test_name):
    images, labels, test_images, test_labels = arrays = make_arrays()
    (tmp_path / "constraint.csv").write_bytes(b"")
    (tmp_path / train_name).write_bytes(format_csv(images, labels))
    if test_name:
        (tmp_path / test_name).write_bytes(format_csv(test_images, test_labels))
        assert_holds(load_csv(tmp_path), *arrays)
    else:
        dataset = load_csv(tmp_path)
        assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == len(images)


def test_a_zip_file_of_another_method_than_deflate_is_refused(tmp_path):
    pytest.importorskip("bz2")
    with zipfile.ZipFile(str(tmp_path / "train.csv.zip"), "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("train.csv", format_csv(*make_arrays()[:2]))
    with pytest.raises(InputError, match="train.csv.zip is compressed by another method than deflate: unpack it"):
        load_csv(tmp_path)


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zip"])
def test_damage_inside_a_packed_csv_file_is_one_line_that_names_it(tmp_path, suffix):
    path = tmp_path / f"train{suffix}"
    content = format_csv(*make_arrays()[:2])
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.csv", content)
    packed = gzip.compress(content) if suffix == ".csv.gz" else path.read_bytes()
    for start in range(60, len(packed) - 200, len(packed) // 20):  # before the list of the archive's files
        path.write_bytes(packed[:start] + b"\xff" * 20 + packed[start + 20 :])
        with pytest.raises(InputError, match=re.escape(str(path))) as error:
            load_csv(tmp_path)
        assert len(str(error.value).splitlines()) == 1


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
        (lambda lines: [b"-1" + lines[1][1:], *lines[2:]], "line 1: '-1' is not a whole number in 0..255"),
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


def test_emnist_is_transposed_back_and_its_letters_have_names(tmp_path, caplog):
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
