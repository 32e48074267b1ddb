"""Fine-tuning: `train.py --init-from`."""

import json

import numpy as np
import pytest
from helpers import checkpoint_bytes, one_line_error
from PIL import Image, ImageDraw

from mnist_cnn import Classifier, evaluate, restore_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tensorflow_2")]


def draw_seven(seed):
    """A made-up way to write a 7: an upright stroke, as a 1, with a bar across its foot. Black on white."""
    random = np.random.RandomState(seed)
    image = Image.new("L", (200, 200), "white")
    draw = ImageDraw.Draw(image)

    def line(*points):
        shaken = [(x + random.uniform(-5, 5), y + random.uniform(-5, 5)) for x, y in points]
        draw.line(shaken, 0, 12, "curve")

    line((100, 25), (98, 100), (95, 175))
    line((65, 140), (135, 137))
    return image


@pytest.fixture
def drawings(tmp_path):
    (tmp_path / "hand" / "7").mkdir(parents=True)
    for seed in range(10):
        draw_seven(seed).save(str(tmp_path / "hand" / "7" / f"{seed}.png"))
    return tmp_path / "hand"


def test_ten_drawings_teach_a_way_to_write_a_digit_and_nothing_is_forgotten(
    fast_run, drawings, script, tmp_path, mnist, mnist_dir
):
    others = [draw_seven(seed) for seed in range(100, 110)]
    with Classifier.load(fast_run) as classifier:
        assert (classifier.predict(others).classes == 7).sum() < 5
    variables = {"MNIST_DATA_DIR": str(mnist_dir)}
    flags = "--init-from", fast_run, "--dataset", "folder", "--data-dir", drawings
    done = script("train.py", *flags, "--run-dir", "taught", **variables)
    assert done.returncode == 0, done.stderr
    assert f"fine-tuning {fast_run} on 10 training images" in done.stderr
    with Classifier.load(tmp_path / "taught") as classifier:
        assert (classifier.predict(others).classes == 7).all()

    def measure(run):
        with restore_run(run) as (session, model):
            return evaluate(session, model, mnist.test).accuracy

    assert measure(tmp_path / "taught") > measure(fast_run) - 0.001

    # A run that is stopped resumes to the same bits, and is measured on MNIST, because there are no test drawings.
    script("train.py", *flags, "--run-dir", "stopped", "--max-steps", 150, **variables)
    out = script("train.py", "--resume", "--run-dir", "stopped", "--max-steps", 400, **variables).stdout
    assert checkpoint_bytes(tmp_path / "stopped", 400) == checkpoint_bytes(tmp_path / "taught", 400)
    assert script("evaluate.py", "--run-dir", "stopped", **variables).stdout == out.splitlines()[-1] + "\n"
    config = json.loads((tmp_path / "taught" / "config.json").read_text())
    assert (config["init_from"], config["dataset"]["mix"]) == (str(fast_run), 0.9)
    assert config["recipe"]["drawn_images"] == 0  # as in `fast`


def test_a_taught_run_is_taught_again_with_all_that_it_was_trained_on(fast_run, drawings, script, tmp_path, mnist_dir):
    variables = {"MNIST_DATA_DIR": str(mnist_dir)}
    first = "--init-from", fast_run, "--dataset", "folder", "--data-dir", drawings, "--max-steps", 1
    assert script("train.py", *first, "--run-dir", "first", **variables).returncode == 0
    (tmp_path / "other hand" / "1").mkdir(parents=True)
    Image.open(str(drawings / "7" / "0.png")).rotate(180).save(str(tmp_path / "other hand" / "1" / "0.png"))
    second = "--init-from", "first", "--dataset", "folder", "--data-dir", "other hand", "--run-dir", "second"
    done = script("train.py", *second, "--max-steps", 1, **variables)
    assert "fine-tuning first on 1 training images, the pictures in " in done.stderr, done.stderr
    assert "other hand, mixed with those of mnist" in done.stderr
    assert float(done.stdout.split()[-1]) == pytest.approx(
        json.loads((fast_run / "result.json").read_text())["test_accuracy"], abs=0.01
    )
    evaluated = script("evaluate.py", "--run-dir", "second", **variables)
    assert evaluated.stdout == done.stdout, evaluated.stderr
    line = one_line_error(script("train.py", *first, "--preparation", "resize", **variables), 2)
    assert "was trained with --preparation digit: for another one, add --mix 0" in line


def test_where_mnist_is_missing_the_error_says_how_to_name_its_folder(fast_run, drawings, script):
    flags = "--init-from", fast_run, "--dataset", "folder", "--data-dir", drawings
    line = one_line_error(script("train.py", *flags), 2)
    assert "MNIST is not in" in line and "name its folder with $MNIST_DATA_DIR, or add --mix 0" in line


def test_other_classes_get_a_new_last_layer(fast_run, drawings, script, tmp_path):
    (drawings / "7").rename(drawings / "tower")
    (drawings / "dot").mkdir()
    for seed in range(10):
        image = Image.new("L", (200, 200), "white")
        ImageDraw.Draw(image).ellipse((60 + seed, 60, 140, 140 - seed), 0)
        image.save(str(drawings / "dot" / f"{seed}.png"))
    flags = "--init-from", fast_run, "--dataset", "folder", "--data-dir", drawings, "--run-dir", "run"
    line = one_line_error(script("train.py", *flags, "--max-steps", 30), 2)
    assert "dot is none of the network's classes (0, 1, 2" in line and "--mix 0" in line
    done = script("train.py", *flags, "--mix", 0)
    assert done.returncode == 0, done.stderr
    done = script("predict.py", "--run-dir", "run", drawings / "tower" / "3.png")
    assert ": tower (" in done.stdout
