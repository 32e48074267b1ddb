"""Data of one's own, with its own classes, in each form and through every command."""

import http.client
import json
import os
import re
import shutil
import string
from dataclasses import replace

import numpy as np
import pytest
from drawings import FONTS, draw_strokes, paint
from helpers import checkpoint_bytes, environment, one_line_error, script_command, start, wait_for, write_idx
from PIL import Image

from mnist_cnn import RECIPES, load_folder, train

LETTERS = "ABC"
STEPS = 200


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of pictures of the letters, 60 of each, in folders named after them; and each as arrays."""
    folder = tmp_path_factory.mktemp("own") / "pictures"
    for letter in LETTERS:
        (folder / letter).mkdir(parents=True)
        for number in range(60):
            strokes = draw_strokes(letter, FONTS[number % len(FONTS)], size=40 + number)
            paint(strokes, (20, 20, 90), (230, 230, 220)).save(str(folder / letter / f"{number:03}.png"))
    return folder


def write_form(form, pictures, folder):
    """Writes the pictures in another form. Returns the folder, and the names that its classes have."""
    if form == "folder":
        return pictures, list(LETTERS)
    dataset = load_folder(pictures)
    images = np.concatenate([dataset.train.images, dataset.validation.images])[..., 0]
    labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
    order = np.random.RandomState(0).permutation(len(labels))
    arrays = images[order], labels[order], dataset.test.images[..., 0], dataset.test.labels
    folder.mkdir()
    if form == "idx":
        write_idx(folder, *arrays)
    elif form == "npz":
        np.savez(str(folder / "a.npz"), **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays)))
    else:
        for name, (split, classes) in (("train", arrays[:2]), ("test", arrays[2:])):
            rows = np.column_stack([classes, split.reshape(len(split), -1)])
            np.savetxt(str(folder / f"{name}.csv"), rows, "%d", ",")
    return folder, ["0", "1", "2"]


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("form", ["folder", pytest.param("csv", marks=pytest.mark.long)])
def test_each_form_goes_through_every_command(form, pictures, script, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, names = write_form(form, pictures, tmp_path / "data")

    def run(name, *arguments):
        done = script(name, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    flags = ["--dataset", form, "--data-dir", folder, "--batch-size", 20, "--epochs", 100, "--max-steps", STEPS]
    run("train.py", *flags, "--run-dir", "unbroken")
    killed = tmp_path / "killed"
    process = start(
        script_command("train.py", *flags, "--run-dir", killed, "--checkpoint-secs", 0.01),
        env=environment(XDG_CACHE_HOME=str(tmp_path / "cache")),
    )
    wait_for(lambda: list(killed.glob("checkpoints/step-[1-9]*.json")), process)
    process.kill()
    process.communicate()
    assert not (killed / "result.json").exists()
    out = run("train.py", "--resume", "--run-dir", "killed", "--max-steps", STEPS)
    assert checkpoint_bytes(killed, STEPS) == checkpoint_bytes(tmp_path / "unbroken", STEPS)
    accuracy = out.splitlines()[-1]
    assert float(accuracy.split()[-1]) > 0.9
    assert run("evaluate.py", "--run-dir", "killed") == accuracy + "\n"

    config = json.loads((killed / "config.json").read_text())
    assert config["dataset"]["classes"] == names and config["dataset"]["name"] == form
    image = pictures / "B" / "003.png"
    exported = run("export.py", "--run-dir", "killed", "--export-dir", "exported").strip()
    for model in ("killed", exported):
        line = run("predict.py", "--run-dir", model, image)
        assert re.fullmatch(rf"{re.escape(str(image))}: {names[1]} \(\d\.\d+\)\n", line)
        result = json.loads(run("predict.py", "--run-dir", model, "--json", image))
        assert (result["class"], result["text"]) == (1, names[1]) and len(result["probabilities"]) == 3
    labels = json.loads((tmp_path / exported / "assets.extra" / "labels.json").read_text())
    assert labels == {"classes": names, "preparation": "digit", "min_probability": labels["min_probability"]}

    page = (tmp_path / run("report.py", "--run-dir", "killed").strip()).read_text(encoding="utf-8")
    assert "not comparable with one on MNIST" in page and "0.9907" not in page

    server = start(script_command("serve.py", "--run-dir", killed, "--port", 0))
    try:
        port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/digits", image.read_bytes(), {"Content-Type": "image/png"})
        response = json.loads(connection.getresponse().read())
        assert (response["text"], response["classes"]) == (names[1], names)
    finally:
        server.kill()
        server.communicate()


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_words_are_read_and_a_submission_is_printed(pictures, script, tmp_path):
    (tmp_path / "words").mkdir()
    for letter, word in zip(LETTERS, ("apple", "bear", "$cat$")):
        (tmp_path / "words" / word).symlink_to(pictures / letter, target_is_directory=True)
    flags = "--dataset", "folder", "--data-dir", "words", "--batch-size", 20, "--epochs", 100, "--max-steps", STEPS
    done = script("train.py", *flags, "--run-dir", "run")
    assert "of 3 classes" in done.stderr
    done = script("predict.py", "--run-dir", "run", pictures / "C" / "010.png")
    assert ": $cat$ (" in done.stdout
    assert script("report.py", "--run-dir", "run").returncode == 0

    images = load_folder(pictures).test.images
    np.savetxt(str(tmp_path / "test.csv"), images.reshape(len(images), -1), "%d", ",")
    done = script("predict.py", "--run-dir", "run", "--csv", "test.csv")
    header, *lines = done.stdout.splitlines()
    assert header == "ImageId,Label" and [line.split(",")[0] for line in lines] == list(
        map(str, range(1, len(images) + 1))
    )
    names = [line.split(",")[1] for line in lines]
    expected = np.array(["$cat$", "apple", "bear"])[
        [{"A": 1, "B": 2, "C": 0}[LETTERS[label]] for label in load_folder(pictures).test.labels]
    ]
    assert np.mean(np.array(names) == expected) > 0.9
    line = one_line_error(script("predict.py", "--run-dir", "run", "--csv", "test.csv", "--json"), 2)
    assert "--csv FILE without --json" in line
    line = one_line_error(script("evaluate.py", "--run-dir", "run", "--dataset", "sample"), 2)
    assert "was trained on other classes than sample has: $cat$, apple, bear" in line


def test_a_format_without_a_folder_is_an_error_that_names_the_flag(script, pictures, tmp_path):
    for form in ("csv", "folder", "idx", "npz"):
        line = one_line_error(script("train.py", "--dataset", form), 2)
        assert f"--dataset {form} needs the folder of" in line and "--data-dir" in line
    line = one_line_error(script("train.py", "--dataset", "csv", "--data-dir", "absent"), 2)
    assert line.endswith("absent does not exist: name the folder of the CSV files with --data-dir")
    line = one_line_error(script("train.py", "--data-dir", pictures), 2)
    assert line.endswith(f"{pictures} has folders of pictures: to train on them, add --dataset folder")
    picture = next(pictures.glob("*/*.png"))
    for name in ("split/train/circle/1.png", "other/circle/1.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        shutil.copy(str(picture), str(path))
        line = one_line_error(script("train.py", "--data-dir", name.split("/")[0]), 2)
        assert line.endswith("has folders of pictures: to train on them, add --dataset folder")
    line = one_line_error(script("train.py", "--init-from", "absent", "--dataset", "csv"), 2)
    assert "absent is not a run" in line and "--resume" not in line
    line = one_line_error(script("train.py", "--dataset", "sample", "--preparation", "resize"), 2)
    assert "--preparation is for pictures: add --dataset folder" in line


TRAINING_FONTS = [
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique", "Mono-Bold", "Mono-Oblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic")),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "cmr10", "cmb10", "cmtt10"),
]
TEST_FONTS = ["DejaVuSerif-BoldItalic", "STIXGeneralItalic", "cmss10", "DejaVuSansMono"]


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
@pytest.mark.parametrize(
    "characters, accuracy",
    [
        pytest.param("AB", 0.99, id="2 classes"),
        pytest.param(string.ascii_uppercase, 0.97, id="26 classes"),
        pytest.param(string.digits + string.ascii_letters, 0.85, marks=pytest.mark.long, id="62 classes"),
    ],
)
def test_characters_in_fonts_that_were_not_trained_on_are_recognised(tmp_path, monkeypatch, characters, accuracy):
    pytest.importorskip("matplotlib")  # its fonts
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for part, fonts, sizes in (("train", TRAINING_FONTS, (40, 90)), ("test", TEST_FONTS, (60,))):
        for number, character in enumerate(characters):
            folder = tmp_path / part / f"{number:02} {character}"  # some file systems ignore the case of a name
            folder.mkdir(parents=True)
            for font in fonts:
                for size in sizes:
                    strokes = draw_strokes(character, font, size)
                    paint(strokes, (20, 20, 20), (235, 235, 235)).save(str(folder / f"{font}-{size}.png"))
    dataset = load_folder(tmp_path)
    assert len(dataset.class_names) == len(characters)
    result = train(dataset, tmp_path / "run", replace(RECIPES["accurate"], epochs=20, batch_size=30))
    assert result["test_accuracy"] >= accuracy


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_pictures_are_evaluated_as_the_run_prepared_them(script, tmp_path):
    for name, colour in ("dark", 40), ("light", 200):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for number in range(30):
            Image.new("L", (60, 60), colour + number).save(str(tmp_path / "grey" / name / f"{number}.png"))
    data = "--dataset", "folder", "--data-dir", "grey"
    flags = "--preparation", "resize", "--batch-size", 10, "--recipe", "fast", "--run-dir", "run"
    accuracy = script("train.py", *data, *flags).stdout.splitlines(True)[-1]
    done = script("evaluate.py", *data, "--run-dir", "run")
    assert (done.returncode, done.stdout) == (0, accuracy), done.stderr


@pytest.mark.usefixtures("tensorflow_1")
@pytest.mark.slow
def test_pictures_that_are_skipped_are_named_before_the_training(pictures, script, tmp_path):
    for letter in LETTERS:
        (tmp_path / "some" / letter).mkdir(parents=True)
        for number in range(20):
            shutil.copy(str(pictures / letter / f"{number:03}.png"), str(tmp_path / "some" / letter))
    (tmp_path / "some" / "A" / "broken.jpg").write_bytes(b"broken")
    done = script("train.py", "--dataset", "folder", "--data-dir", "some", "--batch-size", 10, "--max-steps", 1)
    assert done.returncode == 0, done.stderr
    broken = os.path.join("A", "broken.jpg")
    reason = f"1 of 61 pictures cannot be read or show no strokes: {broken}; skipping them\n"
    assert f"NOTICE: some: {reason}" in done.stderr
