"""TensorFlow Lite and ONNX models of a network, for phones and for other runtimes. Needs TensorFlow 2."""

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.tf1 import tf

INPUT, OUTPUTS = "images", ["classes", "probabilities"]  # as in the SavedModel's signature
MAX_DIFFERENCE = 1e-3  # of a probability, between the converted model and the graph


def convert(session: Any, save: Callable[[Path], None], file_format: str) -> bytes:
    """Converts a network.

    Args:
      session: the tf.Session with the network, whose tensors are named INPUT and OUTPUTS.
      save: writes it as a SavedModel to a path.
      file_format: "tflite" or "onnx".

    Returns:
      The content of the model's file. Its input and outputs have the names, dtypes and shapes of the SavedModel's.

    Raises:
      InputError: this is TensorFlow 1.15.
      ImportError: the extra `onnx` is not installed.
    """
    if tf.__version__.startswith("1."):
        raise InputError(f"the format {file_format} needs TensorFlow 2, and this is {tf.__version__}")
    return _to_onnx(session) if file_format == "onnx" else _to_tflite(save)


def _to_tflite(save: Callable[[Path], None]) -> bytes:
    import tensorflow

    with tempfile.TemporaryDirectory() as temporary:
        save(Path(temporary, "model"))
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(Path(temporary, "model")))
        return converter.convert()


def _to_onnx(session: Any) -> bytes:
    try:
        import onnxruntime  # noqa: F401  # to check the model
        import tf2onnx
    except ImportError as error:
        raise ImportError("the format onnx needs Python 3.10 or later, and pip install '.[onnx]'") from error
    graph = tf.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), OUTPUTS)
    tensors = [f"{name}:0" for name in (INPUT, *OUTPUTS)]
    model, _ = tf2onnx.convert.from_graph_def(
        graph,
        input_names=tensors[:1],
        output_names=tensors[1:],
        tensors_to_rename=dict(zip(tensors, (INPUT, *OUTPUTS))),
    )
    return model.SerializeToString()


def check(content: bytes, file_format: str, images: np.ndarray, expected: Any, class_names: Any) -> None:
    """Runs a converted model and compares its predictions with those of the graph.

    Args:
      content: the model's file.
      file_format: "tflite" or "onnx".
      images: float32 [N, 28, 28, 1] in [0, 1].
      expected: the graph's Prediction.
      class_names: the names of the classes.

    Raises:
      InputError: a predicted class differs, or a probability by more than MAX_DIFFERENCE.
    """
    classes, probabilities = _RUNNERS[file_format](content, images)
    is_wrong = (classes != expected.classes) | (abs(probabilities - expected.probabilities) > MAX_DIFFERENCE).any(
        axis=1
    )
    wrong: List[str] = [class_names[index] for index in sorted(set(expected.classes[is_wrong]))]
    if wrong:
        raise InputError(
            f"the converted model predicts other probabilities than the network for {is_wrong.sum()} of {len(images)} "
            f"digits (of the classes {', '.join(wrong)}): it is not written"
        )


def _run_tflite(content: bytes, images: np.ndarray) -> Any:
    import tensorflow

    runner = tensorflow.lite.Interpreter(model_content=content).get_signature_runner("serving_default")
    outputs = runner(images=images)
    return outputs["classes"], outputs["probabilities"]


def _run_onnx(content: bytes, images: np.ndarray) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {INPUT: images})


_RUNNERS: Dict[str, Callable[[bytes, np.ndarray], Any]] = {"onnx": _run_onnx, "tflite": _run_tflite}
