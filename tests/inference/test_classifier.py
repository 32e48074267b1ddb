"""Classifier, predict.py and export.py: inference on a run and on an exported model."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawings import draw_random, draw_strokes, paint
from helpers import environment, one_line_error
from PIL import Image

from mnist_cnn import Classifier, InputError, NoDigitFound, Recipe, build_model, evaluate, prepare, restore_run, train
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
    """Names of two images of digits, a blank image, and a text file. In their folder is also damaged.tif."""
    paint(draw_strokes(7), BLACK, WHITE).save(str(tmp_path / "seven.png"))
    paint(draw_strokes(0), WHITE, BLACK).save(str(tmp_path / "zero.jpg"))
    Image.new("L", (50, 50), 200).save(str(tmp_path / "blank.png"))
    (tmp_path / "text.png").write_text("no image")
    tiff = io.BytesIO()
    paint(draw_strokes(7), BLACK, WHITE).save(tiff, "TIFF", compression="tiff_lzw")
    (tmp_path / "damaged.tif").write_bytes(tiff.getvalue().replace(tiff.getvalue()[20:400], b"\xaa" * 380))
    return [str(tmp_path / name) for name in ("seven.png", "zero.jpg", "blank.png", "text.png")]


def test_predictions_equal_those_of_the_restored_run(run, classifier, sample):
    with restore_run(run) as (session, model):
        expected = evaluate(session, model, sample.test).predictions
    found = classifier.predict(sample.test.images)
    assert (found.classes == expected).all()
    assert found.classes.dtype == np.int64 and found.classes.shape == (500,)
    assert found.probabilities.dtype == np.float32 and found.probabilities.shape == (500, 10)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (found.probabilities.argmax(axis=1) == found.classes).all()


def test_all_array_forms_give_equal_predictions(classifier, sample):
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
    for no_images in (images[:0], []):
        found = classifier.predict(no_images)
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
def test_an_array_of_another_shape_dtype_or_range_is_refused(classifier, array, message):
    with pytest.raises(InputError, match=message):
        classifier.predict(array)


def test_image_files_file_objects_and_pil_images_give_equal_predictions(classifier, files):
    seven, zero, blank, text = files
    expected = classifier.predict(np.stack([prepare(seven), prepare(zero)]))
    found = classifier.predict([seven, zero])
    assert (found.probabilities == expected.probabilities).all()
    with open(seven, "rb") as file:
        content = io.BytesIO(file.read())
    with Image.open(seven) as image:
        for source in (seven, content, image, [image]):
            assert classifier.predict(source).classes.tolist() == found.classes[:1].tolist()
    with pytest.raises(NoDigitFound, match="blank.png: no digit found"):
        classifier.predict([seven, blank])
    with pytest.raises(InputError, match="text.png is in none of the supported formats"):
        classifier.predict([seven, text])


def test_feature_maps_are_the_pooled_activations_of_the_run(run, classifier, exported, sample):
    images, _ = sample.test.batch(slice(0, 1))
    with restore_run(run) as (session, model):
        pooled = {name: model.activations[name] for name in ("pool1", "pool2")}
        expected = session.run(pooled, {model.images: images})
    with Classifier.load(exported) as loaded:
        for maps in (classifier.feature_maps(images), loaded.feature_maps(images)):
            assert {name: values.shape for name, values in maps.items()} == {"pool1": (14, 14, 32), "pool2": (7, 7, 64)}
            for name, values in maps.items():
                assert values.dtype == np.float32
                np.testing.assert_allclose(values, expected[name][0], atol=1e-5)
    for images in ([], sample.test.images[:2], sample.test.images[:300]):
        with pytest.raises(InputError, match=f"needs one image, and got {len(images)}"):
            classifier.feature_maps(images)


def test_a_network_without_pooling_has_no_feature_maps(small, tmp_path):
    train(small, tmp_path, Recipe(1, 100, 0.001, 0.8), max_steps=1, model="mlp")
    with Classifier.load(tmp_path) as classifier:
        assert classifier.feature_maps(small.test.images[0, ..., 0]) == {}
        with Classifier.load(classifier.export(tmp_path / "model")) as exported:
            assert exported.feature_maps(small.test.images[0, ..., 0]) == {}


@pytest.mark.slow
def test_a_model_exported_by_the_other_tensorflow_has_feature_maps(
    run, classifier, sample, python, other_python, tmp_path
):
    export = "from mnist_cnn import Classifier; Classifier.load({!r}).export({!r})"
    python(export.format(str(run), str(tmp_path / "model")), other_python)
    image = sample.test.images[0, ..., 0]
    expected = classifier.feature_maps(image)
    with Classifier.load(tmp_path / "model") as exported:
        maps = exported.feature_maps(image)
    assert set(maps) == {"pool1", "pool2"}
    for name, values in maps.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_classifiers_have_graphs_and_sessions_of_their_own(run, exported, sample):
    before = tf.get_default_graph()
    with Classifier.load(run) as one, Classifier.load(exported) as two:
        assert (one.predict(sample.test.images[:9]).classes == two.predict(sample.test.images[:9]).classes).all()
    assert tf.get_default_graph() is before and not before.get_operations()
    with pytest.raises(RuntimeError, match="closed"):
        one.predict(sample.test.images[:9])


def test_an_exported_model_predicts_the_same_probabilities(run, exported, sample):
    with restore_run(run) as (session, model):
        images, _ = sample.test.batch(slice(0, 250))
        expected = session.run(model.probabilities, {model.images: images})
    for folder in (exported, exported.parent):
        with Classifier.load(folder) as classifier:
            np.testing.assert_allclose(classifier.predict(images).probabilities, expected, atol=1e-6)


def test_an_exported_model_has_the_documented_signature_and_no_training_ops(exported):
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


def test_each_export_is_written_to_the_next_unused_number(run, tmp_path):
    (tmp_path / "model" / "7").mkdir(parents=True)
    (tmp_path / "model" / "notes").mkdir()
    with Classifier.load(run) as classifier:
        assert [classifier.export(tmp_path / "model").name for _ in range(2)] == ["8", "9"]
        with Classifier.load(tmp_path / "model") as latest:
            assert latest.export(tmp_path / "again").name == "1"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["7", "8", "9", "notes"]


def test_a_failed_export_leaves_no_files(classifier, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: the model cannot be written there"):
        classifier.export(tmp_path / "file")
    with pytest.raises(InputError, match="Not a directory" if os.name == "posix" else "cannot be written there"):
        classifier.export(tmp_path / "file" / "model")
    with pytest.raises(InputError, match="cannot be written there"):
        classifier.export(tmp_path / "new" / "folder" / ("n" * 300))
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_folder_that_cannot_be_loaded_gives_a_one_line_error(exported, tmp_path):
    def message(folder):
        with pytest.raises(InputError) as caught:
            Classifier.load(folder)
        (line,) = str(caught.value).splitlines()
        assert len(line) < 400
        return line

    assert "is neither a run nor an exported model" in message(tmp_path)
    assert "is neither a run nor an exported model" in message(tmp_path / "nowhere")
    for damaged in ('{"model": "rnn"}', '{"model": []}', "{}", "no JSON"):
        (tmp_path / "config.json").write_text(damaged)
        assert "config.json is damaged" in message(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "cnn"}')
    assert "no checkpoint was written" in message(tmp_path)
    shutil.copytree(str(exported), str(tmp_path / "model"))
    data = tmp_path / "model" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1000])
    assert "variables is damaged" in message(tmp_path / "model")
    shutil.rmtree(str(tmp_path / "model" / "variables"))
    assert "is a damaged SavedModel" in message(tmp_path / "model")
    with tf.Graph().as_default(), tf.Session() as session:
        x, y = tf.placeholder(tf.float32, [None], name="x"), tf.Variable(1.0, use_resource=False)
        session.run(y.initializer)
        tf.saved_model.simple_save(session, str(tmp_path / "other"), {"x": x}, {"y": x + y})
    assert "is not a model of this project" in message(tmp_path / "other")


def test_no_operation_of_a_strangers_model_is_run(tmp_path, sample):
    """A SavedModel with the project's signature and weights can contain operations that write files."""
    written = [tmp_path / "when loaded", tmp_path / "when used"]
    with tf.Graph().as_default(), tf.Session() as session:
        model = build_model()
        session.run(tf.global_variables_initializer())
        with tf.control_dependencies([tf.write_file(str(written[1]), "")]):
            probabilities = tf.identity(model.probabilities)
        signature = tf.saved_model.signature_def_utils.predict_signature_def(
            {"images": model.images}, {"classes": model.predictions, "probabilities": probabilities}
        )
        expected = session.run(model.probabilities, {model.images: sample.test.images[:5] / 255})
        builder = tf.saved_model.builder.SavedModelBuilder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=tf.write_file(str(written[0]), ""),
            saver=tf.train.Saver(list(model.weights.values())),
        )
        builder.save()
    with Classifier.load(tmp_path / "model") as classifier:
        np.testing.assert_allclose(classifier.predict(sample.test.images[:5]).probabilities, expected, atol=1e-6)
        classifier.feature_maps(sample.test.images[0, :, :, 0])
    assert not any(path.exists() for path in written)


def draw_number(text, path):
    paint(draw_strokes(text, size=60, image_size=(60 * len(text), 120)), BLACK, WHITE).save(str(path))
    return str(path)


def test_predict_prints_one_line_for_each_file(script, run, files, tmp_path):
    damaged = str(tmp_path / "damaged.tif")
    number = draw_number("007", tmp_path / "number.png")
    done = script("predict.py", "--run-dir", run, *files, damaged, number)
    seven, zero, blank, text = files
    lines = done.stdout.splitlines()
    assert lines.pop(2) == f"{blank}: no digit found"
    for line, name, read in zip(lines, (seven, zero, number), ("7", "0", "007")):
        match = re.fullmatch(rf"{re.escape(name)}: {read} \((\d\.\d\d\d)\)", line)
        assert match and 0.1 <= float(match.group(1)) <= 1, line
    assert len(lines) == 3
    text_error, damaged_error = done.stderr.splitlines()  # messages of libtiff are suppressed
    formats = "PNG, JPEG, GIF, BMP, TIFF, WEBP"
    assert text_error == f"predict.py: error: {text} is in none of the supported formats ({formats})"
    assert damaged_error.startswith(f"predict.py: error: {damaged} is damaged")
    assert done.returncode == 2


@pytest.mark.slow
def test_predict_prints_json_and_saves_previews_for_an_exported_model(script, run, exported, files, tmp_path):
    files.append(draw_number("007", tmp_path / "number.png"))
    done = script("predict.py", "--run-dir", exported.parent, "--json", "--show", "shown", *files)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result.pop("image") for result in results] == files
    seven, _, blank, text, number = results
    assert seven["probability"] == max(seven["probabilities"])
    assert seven["class"] == np.argmax(seven["probabilities"]) == 7 and seven["text"] == "7"
    (digit,) = seven["digits"]
    assert {key: digit[key] for key in digit if key != "box"} == {
        key: seven[key] for key in ("class", "probability", "probabilities")
    }
    assert blank == {"class": None, "text": "", "digits": []}
    assert list(text) == ["error"] and "supported formats" in text["error"]
    assert set(number) == {"class", "probability", "text", "digits"}
    assert number["class"] is None and number["text"] == "007"
    assert [digit["class"] for digit in number["digits"]] == [0, 0, 7]
    assert number["probability"] == pytest.approx(np.prod([digit["probability"] for digit in number["digits"]]))
    for index, digit in enumerate(number["digits"]):
        left, top, right, bottom = digit["box"]
        assert 60 * index - 20 < left < right < 60 * index + 80 and 20 < top < bottom < 100
    sizes = {"0001-seven.png": (580, 280), "0002-zero.png": (580, 280), "0003-blank.png": (280, 280)}
    sizes["0005-number.png"] = (280 + 3 * 300, 280)
    assert sorted(path.name for path in (tmp_path / "shown").iterdir()) == sorted(sizes)
    for name, size in sizes.items():
        with Image.open(str(tmp_path / "shown" / name)) as image:
            assert image.size == size


@pytest.mark.slow
def test_predict_and_export_use_the_latest_completed_run(script, run, files, tmp_path):
    assert "no completed run" in one_line_error(script("predict.py", files[0]), 2)
    assert "no completed run" in one_line_error(script("export.py", "--export-dir", "model"), 2)
    assert "name a folder" in one_line_error(script("predict.py", "--show", "a.png", *files), 2)
    shutil.copytree(str(run), str(tmp_path / "runs" / "first"))
    assert script("predict.py", files[0], "--show", "one.png").returncode == 0
    assert (tmp_path / "one.png").exists()
    long_name = shutil.copy(str(files[0]), str(tmp_path / ("7" * 240 + ".png")))
    done = script("predict.py", files[0], long_name, "--show", "previews.png/")
    assert done.returncode == 0 and len(list((tmp_path / "previews.png").iterdir())) == 2, done.stderr
    done = script("export.py", "--export-dir", "model")
    assert (done.stdout, done.stderr) == (f"{Path('model', '1')}\n", "")


def draw_large(digit, size):
    """Draws a digit, black on white, 0.6 times as high as the image's shorter side."""
    return Image.fromarray(255 - draw_strokes(digit, size=min(size) * 6 // 10, image_size=size))


def test_a_48_megapixel_photo_and_a_600_dpi_scan_are_read(classifier, tmp_path):
    photo, scan = tmp_path / "photo.jpg", tmp_path / "scan.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_large(7, (6000, 8000)).transpose(Image.Transpose.ROTATE_90).convert("RGB").save(str(photo), exif=exif)
    draw_large(0, (4961, 7016)).convert("RGB").save(str(scan), compress_level=1)
    assert classifier.predict([photo, scan]).classes.tolist() == [7, 0]


MEASURE_PREDICT = """
import re, sys
from mnist_cnn.cli import predict
try:
    predict.main(sys.argv[1:])
finally:
    # Not ru_maxrss, which starts at the value of the parent process.
    kilobytes = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
    print("peak", kilobytes * 1024)
"""


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc, which only Linux has")
def test_predict_needs_less_than_1_gb_for_the_largest_images(run, tmp_path):
    jpeg, other, ordinary = draw_large(7, (8000, 6250)), draw_large(7, (6000, 6000)), draw_large(7, (3741, 3742))
    panorama = draw_large(7, (65500, 763)).convert("RGB")
    strokes = Image.eval(other, lambda level: 255 - level)
    transparent = Image.merge("RGBA", [strokes.point(lambda _: 0)] * 3 + [strokes])
    palette = strokes.point(lambda level: level > 127, "P")
    palette.putpalette([*WHITE, *BLACK])
    grey16 = Image.fromarray(np.asarray(ordinary, np.uint16) * 257)
    frames = {"save_all": True, "append_images": [transparent.rotate(90)]}
    largest = {
        "444.jpg": (jpeg.convert("RGB"), {"quality": 95, "subsampling": 0}),
        "progressive.jpg": (jpeg.convert("RGB"), {"progressive": True}),
        "cmyk.jpg": (jpeg.convert("CMYK"), {}),
        "progressive-cmyk.jpg": (jpeg.convert("CMYK"), {"progressive": True}),
        "panorama.jpg": (panorama, {"progressive": True}),
        "rgba.png": (transparent, {"compress_level": 1}),
        "la.png": (transparent.convert("LA"), {"compress_level": 1}),
        "palette.png": (palette, {"transparency": 0}),
        "1.png": (other.convert("1"), {}),
        "16.png": (grey16, {"compress_level": 1}),
        "strip.tif": (other.convert("RGB"), {"compression": "tiff_lzw", "strip_size": 2**30}),
        "rgba.tif": (transparent, {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (other.convert("RGB"), {"compression": "jpeg"}),
        "raw.tif": (other.convert("CMYK"), {}),
        "16.tif": (grey16, {"compression": "tiff_lzw"}),
        "palette.gif": (palette, {"transparency": 0}),
        "rgb.bmp": (other.convert("RGB"), {}),
        "animated.png": (transparent, {"compress_level": 1, **frames}),
        "rgba.webp": (transparent, {"method": 0}),
        "lossless.webp": (transparent, {"method": 0, "lossless": True}),
    }
    for name, (image, options) in largest.items():
        image.save(str(tmp_path / name), **options)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_PREDICT, "--run-dir", str(run), "--show", "previews", *largest],
        cwd=str(tmp_path),
        env=environment(),
        capture_output=True,
        text=True,
    )
    *lines, peak = done.stdout.splitlines()
    found = dict(line.split()[:2] for line in lines)
    assert found.pop("panorama.jpg:") == "no"  # the digit would be one pixel high
    assert len(found) == len(largest) - 1 and set(found.values()) == {"7"}, done
    assert int(peak.split()[1]) < 10**9


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


@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.slow
def test_a_fast_run_reads_95_percent_of_500_digits_drawn_in_fonts(fast_run):
    random = np.random.RandomState(1)
    images, digits = zip(*[draw_random(random) for _ in range(500)])
    with Classifier.load(fast_run) as classifier:
        assert (classifier.predict(list(images)).classes == digits).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc, which only Linux has")
def test_60000_images_need_less_than_100_mb(run, python):
    megabytes = python(
        "import re\nimport numpy as np\nfrom mnist_cnn import Classifier\n"
        f"classifier = Classifier.load({str(run)!r})\n"
        r"def peak(): return int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read()).group(1)) / 1024"
        "\n"
        "images = np.random.RandomState(0).randint(0, 256, [60000, 784]).astype(np.uint8)\n"
        "classifier.predict(images[:1000]); before = peak()\n"
        "assert len(classifier.predict(images).classes) == 60000\n"
        "print(peak() - before)"
    )
    assert float(megabytes) < 100
