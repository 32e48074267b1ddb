"""Data of one's own as folders of pictures."""

import shutil
import unicodedata

import numpy as np
import pytest
from drawings import FONTS, draw_strokes, paint
from PIL import Image

from mnist_cnn import DataNotFound, InputError, load_folder, prepare

WORDS = {"ay": "A", "bee": "B", "sea": "C"}


pytestmark = pytest.mark.usefixtures("cache")


def draw_pictures(folder, per_class=40):
    """Draws letters in folders: the pictures of a class are all different."""
    for name, letter in WORDS.items():
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            strokes = draw_strokes(letter, FONTS[number % len(FONTS)], size=40 + number)
            paint(strokes, (20, 20, 90), (230, 230, 220)).save(str(folder / name / f"{number:03}.png"))
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_pictures(tmp_path_factory.mktemp("drawn") / "pictures")


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(str(drawn), str(tmp_path / "pictures")) and tmp_path / "pictures"


def images_of(split):
    return {image.tobytes() for image in split.images}


def test_pictures_are_prepared_as_for_prediction_and_their_folders_name_the_classes(folder):
    dataset = load_folder(folder)
    assert dataset.class_names == ("ay", "bee", "sea") and (dataset.name, dataset.folder) == ("folder", str(folder))
    splits = dataset.train, dataset.validation, dataset.test
    assert sum(map(len, splits)) == 120 and min(map(len, splits)) > 0 and 8 <= len(dataset.test) <= 35
    expected = (prepare(folder / "bee" / "007.png") * 255).round().astype(np.uint8)
    found = [split.labels[(split.images[..., 0] == expected).all(axis=(1, 2))] for split in splits]
    assert np.concatenate(found).tolist() == [1]


def test_adding_a_picture_moves_no_other(folder):
    before = load_folder(folder)
    paint(draw_strokes("A", size=99), (0, 0, 0), (255, 255, 255)).save(str(folder / "ay" / "new.png"))
    after = load_folder(folder)
    for name in ("train", "validation", "test"):
        old, new = images_of(getattr(before, name)), images_of(getattr(after, name))
        assert old <= new and len(new - old) <= 1


def test_folders_named_train_and_test_are_the_splits(folder, tmp_path):
    for name in WORDS:
        (tmp_path / "split" / "test" / name).mkdir(parents=True)
        (folder / name / "000.png").rename(tmp_path / "split" / "test" / name / "000.png")
    digest = load_folder(folder).digest()
    folder.rename(tmp_path / "split" / "train")
    dataset = load_folder(tmp_path / "split")
    assert len(dataset.test) == 3 and len(dataset.train) + len(dataset.validation) == 117
    for name in WORDS:  # without test pictures, the splits are those of a folder of classes
        (tmp_path / "split" / "test" / name / "000.png").unlink()
    assert load_folder(tmp_path / "split").digest() == digest
    shutil.rmtree(str(tmp_path / "split" / "test"))
    assert load_folder(tmp_path / "split").digest() == digest


def test_of_a_few_pictures_too_each_split_has_some(folder, tmp_path):
    for name in WORDS:
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(6):
            shutil.copy(str(folder / name / f"{number:03}.png"), str(tmp_path / "few" / name))
    dataset = load_folder(tmp_path / "few")
    assert min(map(len, (dataset.validation, dataset.test))) >= 1


def test_whole_pictures_are_scaled_on_request(tmp_path):
    for name, colour in ("dark", 40), ("light", 200):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for i in range(20):
            image = Image.new("RGB", (60, 30), (colour + i,) * 3)
            image.save(str(tmp_path / "grey" / name / f"{i}.png"))
    with pytest.raises(InputError, match="40 of 40 pictures .* or show no strokes.*; .*the preparation `resize`"):
        load_folder(tmp_path / "grey")  # they show no strokes
    dataset = load_folder(tmp_path / "grey", "resize")
    assert dataset.preparation == "resize"
    image = dataset.train.images[dataset.train.labels == 1][0, ..., 0]
    assert 200 <= image[14, 14] < 220 and (image[:6] == 0).all() and image[14, 0] == image[14, 14]


def test_pictures_that_cannot_be_read_are_named_and_skipped_up_to_a_twentieth(folder, caplog):
    for number in range(3):
        (folder / "sea" / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff broken")
    for hidden in (".hidden", "Thumbs.db", "desktop.ini"):
        (folder / "sea" / hidden).write_bytes(b"x")
    Image.new("RGB", (50, 50), "white").save(str(folder / "ay" / "empty.png"))
    dataset = load_folder(folder)
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 120
    expected = (
        "4 of 124 pictures cannot be read or show no strokes: "
        "ay/empty.png, sea/broken-0.jpg, sea/broken-1.jpg and 1 more; skipping"
    )
    assert expected in caplog.text.replace("\\", "/")
    for number in range(3, 8):
        (folder / "sea" / f"broken-{number}.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="9 of 129 pictures cannot be read or show no strokes"):
        load_folder(folder)


def test_prepared_pictures_are_kept_and_a_damaged_cache_is_as_good_as_none(folder, cache):
    digest = load_folder(folder).digest()
    (file,) = cache.iterdir()
    modified = file.stat().st_mtime_ns
    assert load_folder(folder).digest() == digest and file.stat().st_mtime_ns == modified
    file.write_bytes(file.read_bytes()[:5000])
    assert load_folder(folder).digest() == digest and file.stat().st_mtime_ns != modified
    shutil.rmtree(str(cache))
    cache.write_bytes(b"a file in its place")
    assert load_folder(folder).digest() == digest


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: [shutil.rmtree(str(folder / name)) for name in ("bee", "sea")], r"has 1 classes \(ay …\)"),
        (
            lambda folder: [path.unlink() for path in (folder / "bee").iterdir()],
            "the class bee has no training picture",
        ),
        (lambda folder: [(folder / f"class {n}").mkdir() for n in range(100)], r"has 103 classes"),
        (lambda folder: [path.write_bytes(b"") for path in (folder / "bee").iterdir()], "40 of 120 pictures cannot"),
    ],
)
def test_folders_that_do_not_fit_are_named_in_the_error(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        load_folder(folder)


def test_a_class_of_one_training_picture_is_trained_on(folder, tmp_path):
    parts = tmp_path / "parts"
    for name in ("train/bee", "test/ay", "test/bee"):
        shutil.copytree(str(folder / "bee"), str(parts / name))
    (parts / "train" / "ay").mkdir()
    for path in (folder / "ay").iterdir():  # whichever split its hash stands for
        shutil.copy(str(path), str(parts / "train" / "ay" / "one.png"))
        assert 0 in load_folder(parts).train.labels


def test_decomposed_names_are_those_of_the_classes(folder):
    (folder / "ay").rename(folder / unicodedata.normalize("NFD", "가"))
    (folder / "bee").rename(folder / unicodedata.normalize("NFD", "é"))
    (folder / "sea").rename(folder / "b")
    assert load_folder(folder).class_names == ("b", "é", "가")
    assert len(load_folder(folder, class_names=("b", "é", "가", "d")).train) == 120


def test_a_folder_without_pictures_is_not_found(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataNotFound):
            load_folder(path)
    with pytest.raises(InputError, match="unknown preparation 'crop'; choose from digit, resize"):
        load_folder(tmp_path, "crop")
