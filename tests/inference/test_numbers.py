"""Numbers of several digits, and what is no digit."""

import json
import string
from dataclasses import replace

import numpy as np
import pytest
from drawings import draw_strokes, paint
from PIL import Image, ImageDraw

from mnist_cnn import RECIPES, Classifier, InputError, NoDigitFound, Recipe, train
from mnist_cnn.inference.image_io import read_image
from mnist_cnn.inference.preprocessing import prepare, prepare_number
from mnist_cnn.run_dir import directory

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def draw(*strokes, width=20):
    """Draws strokes, black on white, in 400 x 400 pixels: a line through points, or an arc (box, start, end)."""
    image = Image.new("L", (400, 400), 255)
    context = ImageDraw.Draw(image)
    for stroke in strokes:
        if isinstance(stroke, tuple):
            context.arc(*stroke, fill=0, width=width)
        else:
            context.line(stroke, fill=0, width=width, joint="curve")
    return image


def put_together(images, random):
    """Puts MNIST images side by side, as if they were written on one sheet of paper."""
    trimmed = [image[:, np.flatnonzero(image.max(axis=0) > 60)] for image in images]
    gaps = [np.zeros([28, random.randint(3, 11)], np.uint8) for _ in images]
    row = np.pad(np.concatenate([part for pair in zip(gaps, trimmed) for part in pair], axis=1), 8)
    scale = random.choice([1, 3, 6])
    strokes = Image.fromarray(row).resize((row.shape[1] * scale, row.shape[0] * scale), Image.Resampling.BICUBIC)
    return paint(np.asarray(strokes), (40, 40, 90), (225, 220, 205), noise=4)


@pytest.mark.parametrize("number", ["42", "007", "2026", "314159"])
@pytest.mark.parametrize("size", [40, 150])
def test_the_digits_of_a_number_are_found_from_left_to_right(number, size):
    image = paint(draw_strokes(number, size=size, image_size=(5 * size, 3 * size)), BLACK, WHITE)
    digits, _ = prepare_number(image)
    assert len(digits) == len(number)
    alone = [prepare(paint(draw_strokes(digit), BLACK, WHITE)) for digit in range(10)]
    for digit, expected in zip(digits, number):
        assert np.argmin([abs(digit.image - image).mean() for image in alone]) == int(expected)
    boxes = np.array([digit.box for digit in digits])
    ink = np.asarray(image.convert("L")) < 128
    for left, top, right, bottom in boxes:
        assert ink[top:bottom, left:right].mean() > 0.1
        ink[top:bottom, left:right] = False
    assert ink.mean() < 0.002  # the boxes contain all ink
    assert (boxes[1:, 0] > boxes[:-1, 2] - size // 20).all()


def test_boxes_are_in_pixels_of_the_file(tmp_path):
    path = tmp_path / "large.png"
    ink = draw_strokes("42", size=1200, image_size=(4000, 3000))
    Image.fromarray(255 - ink).save(str(path))
    boxes = np.array([digit.box for digit in prepare_number(path)[0]])
    columns, rows = np.flatnonzero(ink.any(axis=0)), np.flatnonzero(ink.any(axis=1))
    found = [boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()]
    np.testing.assert_allclose(found, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=25)
    expected = [tuple(box) for box in boxes.tolist()]
    assert [digit.box for digit in prepare_number(read_image(path))[0]] == expected
    with Image.open(str(path)) as image:
        image.info["scale"] = "3"  # as of a text in the file
        assert [digit.box for digit in prepare_number(image)[0]] == expected


@pytest.mark.parametrize(
    "image",
    [
        draw([150, 90, 270, 90], [150, 120, 150, 190], ([120, 170, 270, 320], 250, 500)),
        draw(([150, 60, 250, 180], 0, 360), ([140, 200, 260, 340], 0, 360)),
        draw([200, 60, 200, 120], [200, 140, 200, 210], [200, 235, 200, 330]),
    ],
    ids=["a 5 whose bar is detached", "an 8 of two rings", "a dashed 1"],
)
def test_a_digit_in_several_parts_is_one_digit(image):
    (digit,), _ = prepare_number(image)
    assert (digit.image == prepare(image)).all()


@pytest.mark.slow
def test_the_parts_of_a_broken_digit_are_one_digit_and_two_strokes_are_11(fast_run):
    zero = draw(([120, 60, 280, 340], 100, 260), ([120, 60, 280, 340], 280, 440))
    four = draw([170, 80, 130, 220, 220, 220], [250, 120, 250, 330])
    assert len(prepare_number(zero)[0]) == len(prepare_number(four)[0]) == 2
    with Classifier.load(fast_run) as classifier:
        assert classifier.read_number(zero).text == "0" and classifier.read_number(four).text == "4"
        assert classifier.read_number(draw([150, 60, 150, 340], [250, 60, 250, 340])).text == "11"


@pytest.mark.slow
def test_numbers_put_together_from_mnist_are_read(fast_run, mnist):
    random = np.random.RandomState(1)
    num_right = 0
    with Classifier.load(fast_run) as classifier:
        for _ in range(100):
            indices = random.randint(0, len(mnist.test), random.randint(2, 7))
            image = put_together(mnist.test.images[indices, ..., 0], random)
            try:
                num_right += classifier.read_number(image).text == "".join(map(str, mnist.test.labels[indices]))
            except NoDigitFound:
                pass
    assert num_right >= 80


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_a_run_with_drawn_images_refuses_most_letters_and_hardly_any_image_of_mnist(mnist, tmp_path):
    train(mnist, tmp_path / "run", replace(RECIPES["fast"], drawn_images=0.2))
    letters = [letter for letter in string.ascii_letters if letter not in "OoDQIilSsZzBbgq"]  # no digit's shape
    num_refused = 0
    with Classifier.load(tmp_path / "run") as classifier:
        result = directory.read_json(tmp_path / "run", "result.json")
        assert classifier.min_probability == result["min_probability"] and result["test_accuracy"] >= 0.985
        probabilities = classifier.predict(mnist.validation.images).probabilities.max(axis=1)
        assert (probabilities < classifier.min_probability).mean() <= 0.005
        for letter in letters:
            try:
                classifier.read_number(paint(draw_strokes(letter), BLACK, WHITE))
            except NoDigitFound:
                num_refused += 1
        with Classifier.load(classifier.export(tmp_path / "model")) as exported:
            assert exported.min_probability == classifier.min_probability
    assert num_refused >= len(letters) / 2


def test_a_run_without_a_result_has_no_threshold_and_a_damaged_one_is_an_error(small, tmp_path):
    train(small, tmp_path / "run", Recipe(1, 100, 0.001, 0.8))
    result = tmp_path / "run" / "result.json"
    with Classifier.load(tmp_path / "run") as classifier:
        assert 0 < classifier.min_probability < 1
    for damaged in ({"min_probability": "0.5"}, {"min_probability": 2.0}, {"min_probability": None}):
        result.write_text(json.dumps(damaged))
        with pytest.raises(InputError, match="result.json is damaged: its min_probability is not in 0..1"):
            Classifier.load(tmp_path / "run")
    result.unlink()
    with Classifier.load(tmp_path / "run") as classifier:
        assert classifier.min_probability == 0


@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.slow
def test_a_refused_number_can_be_looked_at(small, script, tmp_path):
    train(small, tmp_path / "run", Recipe(1, 100, 0.001, 0.8))
    directory.write_json(tmp_path / "run", "result.json", {"min_probability": 1.0})
    path, preview = str(tmp_path / "number.png"), tmp_path / "preview.png"
    paint(draw_strokes("42", size=60, image_size=(200, 120)), BLACK, WHITE).save(path)
    with Classifier.load(tmp_path / "run") as classifier:
        with pytest.raises(NoDigitFound, match="number.png: no digit found") as refused:
            classifier.read_number(path)
    assert len(refused.value.number.digits) == 2
    done = script("predict.py", path, "--run-dir", tmp_path / "run", "--show", preview)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: no digit found\n", "")
    with Image.open(str(preview)) as image:
        assert image.size == (280 + 2 * 300, 280)


@pytest.mark.slow
def test_a_fast_run_reads_strangers_handwriting(fast_run, handwriting):
    with Classifier.load(fast_run) as classifier:
        classes = classifier.predict([path for path, _ in handwriting]).classes
    assert (classes == [label for _, label in handwriting]).mean() >= 0.92
