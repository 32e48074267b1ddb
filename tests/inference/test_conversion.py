"""TensorFlow Lite and ONNX models: export.py --format, and the documentation's code that reads them."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from drawings import draw_strokes, paint
from helpers import ROOT, environment, one_line_error

from mnist_cnn import Classifier, InputError, Recipe, train
from mnist_cnn.inference import conversion
from mnist_cnn.tf1 import tf

pytestmark = pytest.mark.slow

needs_tensorflow_2 = pytest.mark.skipif(tf.__version__[0] == "1", reason="needs TensorFlow 2")
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))),
    reason="needs Python 3.10 or later, and pip install -e '.[onnx]'",
)


@pytest.fixture(scope="module")
def runs(sample, tmp_path_factory):
    """Two runs, of different seeds."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        train(sample, folder / str(seed), Recipe(1, 100, 0.003, 0.8, initial_weights="he"), seed=seed)
    return folder / "1", folder / "2"


def get_example(text):
    """The documentation's Python code that contains a text."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if text in block)


@needs_tensorflow_2
@pytest.mark.parametrize("file_format", ["tflite", pytest.param("onnx", marks=needs_onnx)])
def test_the_documentations_code_reads_an_exported_model(runs, script, tmp_path, file_format):
    paint(draw_strokes(7), (0, 0, 0), (255, 255, 255)).save(str(tmp_path / "digit.png"))
    number = 1 if file_format == "tflite" else 2  # as in the documentation
    (tmp_path / "model").mkdir()
    if number == 2:
        (tmp_path / "model" / "1").mkdir()
    done = script("export.py", "--run-dir", runs[0], "--export-dir", "model", "--format", file_format)
    assert (done.stdout, done.stderr) == (f"model/{number}\n", "")
    names = {path.name for path in (tmp_path / "model" / str(number)).iterdir()}
    assert names == {f"model.{file_format}", "labels.json"}
    code = get_example(f"model.{file_format}")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=str(tmp_path), env=environment(), capture_output=True, text=True)
    with Classifier.load(runs[0]) as classifier:
        assert done.stdout == f"[{classifier.predict(str(tmp_path / 'digit.png')).classes[0]}]\n", done.stderr


@needs_tensorflow_2
@pytest.mark.parametrize("file_format", ["tflite", pytest.param("onnx", marks=needs_onnx)])
def test_a_model_that_predicts_something_else_is_not_accepted(runs, sample, tmp_path, file_format):
    with Classifier.load(runs[0]) as one, Classifier.load(runs[1]) as other:
        content = (one.export(tmp_path / "model", file_format) / f"model.{file_format}").read_bytes()
        images = np.divide(sample.test.images, 255, dtype=np.float32)
        conversion.check(content, file_format, images, one.predict(images), one.class_names)
        with pytest.raises(InputError, match=r"than the network for \d+ of 500 digits \(of the classes 0, 1, 2"):
            conversion.check(content, file_format, images, other.predict(images), one.class_names)


def test_what_a_format_needs_is_a_one_line_error_and_nothing_is_written(runs, script, tmp_path):
    flags = "--run-dir", runs[0], "--export-dir", "model", "--format"
    if tf.__version__[0] == "1":
        line = one_line_error(script("export.py", *flags, "tflite"), 2)
        assert line == f"export.py: error: the format tflite needs TensorFlow 2, and this is {tf.__version__}"
    else:
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / "tf2onnx.py").write_text("raise ImportError")
        line = one_line_error(script("export.py", *flags, "onnx", PYTHONPATH=f"{hidden}:{ROOT}"), 1)
        assert line == "export.py: error: the format onnx needs Python 3.10 or later, and pip install '.[onnx]'"
    assert not (tmp_path / "model").exists()
