"""A trained run that reads images, and what it exports."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import environment
from drawings import any_drawing, ink, painted
from PIL import Image
from test_scripts import one_line_error

from mnist_cnn import Classifier, InputError, NoDigitFound, Recipe, evaluate, prepare, restore_run, train
from mnist_cnn.tf1 import tf

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(sample, folder, Recipe(2, 100, 0.003, 0.8, initial_weights="he"))
    return folder


@pytest.fixture(scope="module")
def classifier(run):
    with Classifier.load(run) as classifier:
        yield classifier


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    return classifier.export(tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture
def files(tmp_path):
    """Names of two pictures of digits, a blank one, and one that is none."""
    painted(ink(7), BLACK, WHITE).save(str(tmp_path / "seven.png"))
    painted(ink(0), WHITE, BLACK).save(str(tmp_path / "zero.jpg"))
    Image.new("L", (50, 50), 200).save(str(tmp_path / "blank.png"))
    (tmp_path / "text.png").write_text("no picture")
    strip = io.BytesIO()
    painted(ink(7), BLACK, WHITE).save(strip, "TIFF", compression="tiff_lzw")
    (tmp_path / "damaged.tif").write_bytes(strip.getvalue().replace(strip.getvalue()[20:400], b"\xaa" * 380))
    return [str(tmp_path / name) for name in ("seven.png", "zero.jpg", "blank.png", "text.png")]


def test_it_predicts_what_the_run_predicts(run, classifier, sample):
    with restore_run(run) as (session, model):
        expected = evaluate(session, model, sample.test).predictions
    found = classifier.predict(sample.test.images)
    assert (found.classes == expected).all()
    assert found.classes.dtype == np.int64 and found.classes.shape == (500,)
    assert found.probabilities.dtype == np.float32 and found.probabilities.shape == (500, 10)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (found.probabilities.argmax(axis=1) == found.classes).all()


def test_arrays_of_each_form_say_the_same(classifier, sample):
    images = sample.test.images[:20]
    expected = classifier.predict(images).probabilities
    for same in (
        images[..., 0],
        images.reshape(-1, 784),
        images / 255,
        (images / 255).astype(np.float32),
        list(images[..., 0]),
    ):
        np.testing.assert_allclose(classifier.predict(same).probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(classifier.predict(images[3, ..., 0]).probabilities, expected[3:4], atol=1e-6)
    for none in (images[:0], []):
        found = classifier.predict(none)
        assert found.classes.shape == (0,) and found.probabilities.shape == (0, 10)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros([28, 27]), r"shape \[28, 27\]"),
        (np.zeros([784]), r"shape \[784\]"),
        (np.zeros([2, 28, 28, 3]), r"shape \[2, 28, 28, 3\]"),
        (np.zeros([]), r"shape \[\]"),
        (np.zeros([28, 28], np.int64), "int64"),
        (np.zeros([28, 28], complex), "complex"),
        (np.full([28, 28], "7"), "U1"),
        (np.full([28, 28], 255.0), r"in \[0, 1\]"),
        (np.full([28, 28], -0.1), r"in \[0, 1\]"),
        (np.full([28, 28], np.nan), r"in \[0, 1\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_an_array_that_is_no_image_is_refused(classifier, array, message):
    with pytest.raises(InputError, match=message):
        classifier.predict(array)


def test_pictures_are_read_however_they_come(classifier, files):
    seven, zero, blank, text = files
    expected = classifier.predict(np.stack([prepare(seven), prepare(zero)]))
    found = classifier.predict([seven, zero])
    assert (found.probabilities == expected.probabilities).all()
    with open(seven, "rb") as file:
        content = io.BytesIO(file.read())
    with Image.open(seven) as image:
        for one in (seven, content, image, [image]):
            assert classifier.predict(one).classes.tolist() == found.classes[:1].tolist()
    with pytest.raises(NoDigitFound, match="blank.png: no digit found"):
        classifier.predict([seven, blank])
    with pytest.raises(InputError, match="text.png is not a picture"):
        classifier.predict([seven, text])


def test_two_classifiers_share_nothing_and_leave_the_process_as_it_was(run, exported, sample):
    before = tf.get_default_graph()
    with Classifier.load(run) as one, Classifier.load(exported) as two:
        assert (one.predict(sample.test.images[:9]).classes == two.predict(sample.test.images[:9]).classes).all()
    assert tf.get_default_graph() is before and not before.get_operations()
    with pytest.raises(RuntimeError, match="closed"):
        one.predict(sample.test.images[:9])


def test_an_exported_model_equals_the_session(run, exported, sample):
    with restore_run(run) as (session, model):
        images, _ = sample.test.batch(slice(0, 250))
        expected = session.run(model.probabilities, {model.images: images})
    for folder in (exported, exported.parent):
        with Classifier.load(folder) as classifier:
            np.testing.assert_allclose(classifier.predict(images).probabilities, expected, atol=1e-6)


def test_an_exported_model_has_the_promised_signature_and_nothing_of_training(exported):
    with tf.Graph().as_default() as graph, tf.Session() as session:
        signature = tf.saved_model.loader.load(session, ["serve"], str(exported)).signature_def["serving_default"]
        described = {
            name: (tf.as_dtype(tensor.dtype).name, [dimension.size for dimension in tensor.tensor_shape.dim])
            for name, tensor in [*signature.inputs.items(), *signature.outputs.items()]
        }
        assert described == {
            "images": ("float32", [-1, 28, 28, 1]),
            "classes": ("int64", [-1]),
            "probabilities": ("float32", [-1, 10]),
        }
        assert [variable.op.name for variable in tf.global_variables()] == ["W1", "W2", "W3", "W4"]
        names = " ".join(operation.name for operation in graph.get_operations()).lower()
        assert not any(word in names for word in ("dropout", "noise", "adam", "gradients", "train", "labels"))
        assert not any(operation.type.startswith(("Random", "Stateless")) for operation in graph.get_operations())


def test_each_export_gets_the_next_number(run, tmp_path):
    (tmp_path / "model" / "7").mkdir(parents=True)
    (tmp_path / "model" / "notes").mkdir()
    with Classifier.load(run) as classifier:
        assert [classifier.export(tmp_path / "model").name for _ in range(2)] == ["8", "9"]
        with Classifier.load(tmp_path / "model") as newest:
            assert newest.export(tmp_path / "again").name == "1"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["7", "8", "9", "notes"]


def test_an_export_that_fails_leaves_nothing(classifier, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: the model cannot be written there"):
        classifier.export(tmp_path / "file")
    with pytest.raises(InputError, match="Not a directory"):
        classifier.export(tmp_path / "file" / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_neither_a_run_nor_a_model_is_one_line(exported, tmp_path):
    def message(folder):
        with pytest.raises(InputError) as caught:
            Classifier.load(folder)
        (line,) = str(caught.value).splitlines()
        assert len(line) < 400
        return line

    assert "is neither a run nor an exported model" in message(tmp_path)
    assert "is neither a run nor an exported model" in message(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model": "rnn"}')
    assert "config.json is damaged" in message(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "cnn"}')
    assert "holds no checkpoint" in message(tmp_path)
    content = (exported / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert "is a damaged SavedModel" in message(tmp_path)  # without its variables
    (tmp_path / "saved_model.pb").write_bytes(content[: len(content) // 2])
    assert "is a damaged SavedModel" in message(tmp_path)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        tf.saved_model.simple_save(session, str(tmp_path / "other"), {"x": x}, {"y": x + 1})
    assert "is another SavedModel" in message(tmp_path / "other")


def test_predict_prints_a_line_for_each_picture(script, run, files, tmp_path):
    damaged = str(tmp_path / "damaged.tif")
    done = script("predict.py", "--run-dir", run, *files, damaged)
    seven, zero, blank, text = files
    lines = done.stdout.splitlines()
    for line, name in zip(lines, (seven, zero)):
        start, answer = line.rsplit(": ", 1)
        digit, probability = answer.split(" ")
        assert start == name and digit in "0123456789" and 0.1 <= float(probability.strip("()")) <= 1
    assert lines[2:] == [f"{blank}: no digit found"]
    of_text, of_damaged = done.stderr.splitlines()  # without what libtiff says by itself
    assert of_text == f"predict.py: error: {text} is not a picture of the kinds PNG, JPEG, GIF, BMP, TIFF, WEBP"
    assert of_damaged.startswith(f"predict.py: error: {damaged} is damaged")
    assert done.returncode == 2


@pytest.mark.slow
def test_predict_answers_machines_by_an_exported_model_and_shows_what_it_saw(script, run, exported, files, tmp_path):
    done = script("predict.py", "--run-dir", exported.parent, "--json", "--show", "shown", *files)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["image"] for result in results] == files
    assert results[0]["probability"] == max(results[0]["probabilities"])
    assert results[0]["class"] == np.argmax(results[0]["probabilities"])
    assert results[2]["class"] is None and "not a picture" in results[3]["error"]
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == ["0001-seven.png", "0002-zero.png"]
    with Image.open(str(tmp_path / "shown" / "0001-seven.png")) as image:
        assert image.size == (580, 280)


@pytest.mark.slow
def test_predict_and_export_take_the_newest_completed_run(script, run, files, tmp_path):
    assert "no completed run" in one_line_error(script("predict.py", files[0]), 2)
    assert "no completed run" in one_line_error(script("export.py", "--export-dir", "model"), 2)
    assert "name a folder" in one_line_error(script("predict.py", "--show", "a.png", *files), 2)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first").symlink_to(run, target_is_directory=True)
    assert script("predict.py", files[0], "--show", "one.png").returncode == 0
    assert (tmp_path / "one.png").exists()
    done = script("export.py", "--export-dir", "model")
    assert (done.stdout, done.stderr) == ("model/1\n", "")


@pytest.mark.slow
def test_saved_model_cli_runs_an_exported_model(exported, sample, tmp_path):
    images, _ = sample.test.batch(slice(0, 5))
    np.save(str(tmp_path / "images.npy"), images)
    subprocess.run(
        [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", str(exported)]
        + ["--tag_set", "serve", "--signature_def", "serving_default", "--outdir", str(tmp_path)]
        + ["--inputs", f"images={tmp_path / 'images.npy'}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    with Classifier.load(exported) as classifier:
        expected = classifier.predict(images)
    assert (np.load(str(tmp_path / "classes.npy")) == expected.classes).all()
    np.testing.assert_allclose(np.load(str(tmp_path / "probabilities.npy")), expected.probabilities, atol=1e-6)


@pytest.mark.slow
def test_a_fast_run_reads_fonts(fast_run):
    random = np.random.RandomState(1)
    pictures, digits = zip(*[any_drawing(random) for _ in range(500)])
    with Classifier.load(fast_run) as classifier:
        assert (classifier.predict(list(pictures)).classes == digits).mean() >= 0.95


@pytest.mark.slow
def test_60000_images_need_little_memory(run, python):
    said = python(
        "import re\nimport numpy as np\nfrom mnist_cnn import Classifier\n"
        f"classifier = Classifier.load({str(run)!r})\n"
        r"def peak(): return int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read()).group(1)) / 1024"
        "\n"
        "images = np.random.RandomState(0).randint(0, 256, [60000, 784]).astype(np.uint8)\n"
        "classifier.predict(images[:1000]); before = peak()\n"
        "assert len(classifier.predict(images).classes) == 60000\n"
        "print(peak() - before)"
    )
    assert float(said) < 100  # MB
