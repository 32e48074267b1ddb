"""Inference on a trained model, and SavedModel export."""

import contextlib
import functools
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.mnist import DIGITS, check_class_names
from mnist_cnn.data.sample import load_sample
from mnist_cnn.errors import InputError, NoDigitFound, RunNotFound
from mnist_cnn.evaluation import BATCH_SIZE
from mnist_cnn.files import fsync_path, tensorflow_readable, tensorflow_writable
from mnist_cnn.model import MODELS, create_variable, inference
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.run_dir.config import check_preparation, read_class_names, read_preparation
from mnist_cnn.tf1 import new_session, tf

SIGNATURE = "serving_default"
FORMATS = "saved-model", "tflite", "onnx"  # of exported models
_LABELS_FILE = "labels.json"  # in a SavedModel's folder assets.extra
_MIN_PROBABILITY = "min_probability"  # a key of labels.json and of a run's result.json


class SavedNetwork(NamedTuple):
    """What a run or an exported model says of its network, apart from the weights."""

    checkpoint: Path  # path prefix of the weights
    model: str  # a name in MODELS
    class_names: Tuple[str, ...]
    preparation: str = "digit"  # how pictures become images, a key of preprocessing.PREPARATIONS
    min_probability: float = 0.0  # in [0, 1], that each digit of a number must have; a run that was stopped has none
    version: int = 1  # the number of the exported model's folder
    run_dir: Optional[Path] = None  # None for an exported model


class Prediction(NamedTuple):
    """Result of `Classifier.predict` for N images."""

    classes: np.ndarray  # int64 [N], indices of Classifier.class_names; for digits in 0..9
    probabilities: np.ndarray  # float32 [N, number of classes] in [0, 1]


class Digit(NamedTuple):
    """One digit of a `Number`."""

    digit_class: int  # index of Classifier.class_names; for digits in 0..9
    probability: float  # of that class, in [0, 1]
    probabilities: np.ndarray  # float32 [number of classes] in [0, 1]
    box: Tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; right and bottom are exclusive
    image: np.ndarray  # float32 [28, 28] in [0, 1], the network's input


class Number(NamedTuple):
    """Result of `Classifier.read_number`."""

    text: str  # the names of the digits from left to right, such as "007"
    probability: float  # the product of the digits' probabilities, in [0, 1]
    digits: List[Digit]


class Classifier:
    """A trained network for inference, with a graph and a session of its own.

    `close()`, or the end of a `with` block, ends the session:

        with Classifier.load("runs/first") as classifier:
            classes, probabilities = classifier.predict(["seven.jpg", "two.png"])
    """

    def __init__(self, session: Any, network: SavedNetwork):
        """Use `Classifier.load` instead. Adds the network to the current graph, without training ops.

        Args:
          session: a tf.Session for the current graph.
          network: a run or an exported model. No graph of its files is used, since a graph is a program: it may read
            and write files when it is loaded.

        Raises:
          InputError: the checkpoint has other variables.
        """
        self.session, self.run_dir = session, network.run_dir
        self.class_names, self.preparation = network.class_names, network.preparation
        self.min_probability, self.version = network.min_probability, network.version
        self.images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
        shapes = MODELS[network.model].weight_shapes(len(network.class_names))
        self.weights = {name: create_variable(tf.zeros(shape), name) for name, shape in shapes.items()}
        self.logits, self.activations = inference(network.model, self.images, list(self.weights.values()))
        self.signature = tf.saved_model.signature_def_utils.predict_signature_def(
            {"images": self.images},
            {
                "classes": tf.argmax(self.logits, 1, name="classes"),
                "probabilities": tf.nn.softmax(self.logits, name="probabilities"),
            },
        )
        restore = functools.partial(checkpoints.restore, session, checkpoints.make_saver())
        if network.run_dir:
            checkpoints.restore_latest(restore, network.run_dir, str(network.checkpoint))
        else:
            restore(str(network.checkpoint))

    @classmethod
    def load(cls, folder: Union[str, Path]) -> "Classifier":
        """Loads a run, with the weights of its latest undamaged checkpoint, or an exported model.

        Logs a warning for each newer checkpoint that is damaged.

        Args:
          folder: a run directory, the folder of a SavedModel, or a folder of numbered SavedModels, of which the
            highest number is loaded.

        Raises:
          RunNotFound: the folder is neither a run nor an exported model.
          InputError: the run or the model is damaged, or the model is not one of `export`.
        """
        folder = Path(folder)
        saved_model = _find_saved_model(folder)
        if saved_model is None and not (folder / "config.json").exists():
            raise RunNotFound(
                f"{folder} is neither a run nor an exported model: it contains no config.json and no saved_model.pb"
            )
        network = _find_run(folder) if saved_model is None else _find_network(saved_model)
        with tf.Graph().as_default():
            session = new_session()
            try:
                return cls(session, network)
            except BaseException:
                session.close()
                raise

    def predict(self, images: Any) -> Prediction:
        """Predicts classes in fixed-size batches: apart from the result, memory does not grow with the images.

        Args:
          images: one of
            - an array in MNIST format, white on black and centred: uint8 in 0..255 or float in [0, 1], of shape
              [28, 28], [N, 28, 28], [N, 784] or [N, 28, 28, 1];
            - an image as `preprocessing.prepare` takes it: a file name, a seekable binary file or a PIL image;
            - a list or tuple of arrays and images.

        Returns:
          classes: int64 [N], indices of `class_names`; for digits in 0..9.
          probabilities: float32 [N, number of classes] in [0, 1].

        Raises:
          InputError: an array has another shape, dtype or value range, or an image cannot be read.
          NoDigitFound: an image shows no digit.
        """
        outputs = self.signature.outputs
        batches = self._run_batches([outputs["classes"].name, outputs["probabilities"].name], images)
        # np.concatenate needs at least one array.
        empty = np.zeros([0], np.int64), np.zeros([0, len(self.class_names)], np.float32)
        classes, probabilities = map(np.concatenate, zip(empty, *batches))
        return Prediction(classes, probabilities)

    def read_number(self, image: Any) -> Number:
        """Reads a number of one or more digits that stand side by side.

        What shows something else than digits is refused: each digit must have at least the probability that nearly all
        validation images of the run have. If the name of a class has more than one character, an image is one object.

        Args:
          image: a file name, a seekable binary file or a PIL image.

        Raises:
          InputError: the image cannot be read.
          NoDigitFound: no digit stands out from its background, or it may be none.
        """
        # Needs the extra `images`, which arrays do not.
        from mnist_cnn.inference.image_io import get_display_name
        from mnist_cnn.inference.preprocessing import prepare_number, prepare_whole

        if self.preparation == "resize":
            prepared, joined = [prepare_whole(image)], {}
        else:
            prepared, joined = prepare_number(image, divide=all(len(name) == 1 for name in self.class_names))
        candidates = prepared + list(joined.values())
        classes, probabilities = self.predict([candidate.image for candidate in candidates])
        read = [
            Digit(int(digit_class), float(row[digit_class]), row, candidate.box, candidate.image)
            for digit_class, row, candidate in zip(classes, probabilities, candidates)
        ]
        read_joined = dict(zip(joined, read[len(prepared) :]))
        digits: List[Digit] = []
        index = 0
        while index < len(prepared):
            digit, step = read[index], 1
            if index in read_joined:
                separate = digit.probability * read[index + 1].probability
                if read_joined[index].probability >= separate:
                    digit, step = read_joined[index], 2
            digits.append(digit)
            index += step
        text = "".join(self.class_names[digit.digit_class] for digit in digits)
        number = Number(text, float(np.prod([digit.probability for digit in digits])), digits)
        if min(digit.probability for digit in digits) < self.min_probability:
            raise NoDigitFound(f"{get_display_name(image)}: no digit found", number)
        return number

    def feature_maps(self, image: Any) -> Dict[str, np.ndarray]:
        """Computes the feature maps of each convolution, after pooling and ReLU.

        Args:
          image: one image, as for `predict`.

        Returns:
          Feature maps by activation name, float32 [height, width, channels], at least 0: for the model cnn
          {"pool1": [14, 14, 32], "pool2": [7, 7, 64]}, for a network without pooling {}.

        Raises:
          InputError: as `predict`; or there is no image, or more than one.
          NoDigitFound: as `predict`.
        """
        pools = {name: tensor for name, tensor in self.activations.items() if name.startswith("pool")}
        batches = list(self._run_batches([self.logits, pools], image))
        num_images = sum(len(logits) for logits, _ in batches)
        if num_images != 1:
            raise InputError(f"feature_maps() needs one image, and got {num_images}")
        ((_, maps),) = batches
        return {name: values[0] for name, values in maps.items()}

    def export(self, folder: Union[str, Path], file_format: str = "saved-model") -> Path:
        """Writes the network into a new numbered subfolder of `folder`, as TensorFlow Serving expects it.

        The signature `serving_default` has the input `images`, float32 [N, 28, 28, 1] in [0, 1], and the outputs
        `classes`, int64 [N], and `probabilities`, float32 [N, number of classes]. The names of the classes are in
        assets.extra/labels.json. TensorFlow 1.15 and 2 can load each other's models.

        Args:
          folder: the folder for exported models.
          file_format: "saved-model"; or, on TensorFlow 2, "tflite" or "onnx", files model.tflite or model.onnx with the
            same input and outputs, beside labels.json. Each is compared with the network on the sample's test images.

        Returns:
          The path of the new subfolder: folder/1, or the next unused number.

        Raises:
          InputError: the model cannot be written there, or converted, or predicts something else. Nothing is left
            behind.
          DataNotFound: the sample, with which a converted model is checked, is not installed.
          ImportError: the extra `onnx` is not installed.
        """
        if file_format not in FORMATS:
            raise InputError(f"unknown format {file_format!r}; choose from {', '.join(FORMATS)}")
        converted = None if file_format == "saved-model" else self._convert(file_format)
        folder = Path(folder)
        new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=str(folder)) as temporary:
                model = Path(temporary, "model")
                if converted is None:
                    self._save(model)
                else:
                    model.mkdir()
                    (model / f"model.{file_format}").write_bytes(converted)
                    (model / _LABELS_FILE).write_text(self._describe())
                for path in sorted(model.rglob("*"), reverse=True):
                    fsync_path(path)
                fsync_path(model)
                exported = folder / str(max(_list_versions(folder), default=0) + 1)
                os.rename(str(model), str(exported))
            fsync_path(folder)
            return exported
        except BaseException as error:
            for path in new_folders:
                with contextlib.suppress(OSError):
                    path.rmdir()
            if not isinstance(error, (OSError, tf.errors.OpError)):
                raise
            reason = getattr(error, "strerror", None) or _shorten(error)
            raise InputError(f"{folder}: the model cannot be written there ({reason})") from error

    def close(self) -> None:
        """Closes the session. The classifier cannot be used afterwards."""
        self.session.close()

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def _run_batches(self, fetches: Any, images: Any) -> Iterator[Any]:
        """Yields the result of `session.run(fetches)` for each batch of images."""
        images = images if isinstance(images, (list, tuple)) else [images]
        for batch in _iterate_batches(images, self.preparation):
            yield self.session.run(fetches, {self.signature.inputs["images"].name: batch})

    def _convert(self, file_format: str) -> bytes:
        from mnist_cnn.inference import conversion  # it is used on TensorFlow 2 alone

        content = conversion.convert(self.session, self._save, file_format)
        images = _scale(load_sample().test.images)
        conversion.check(content, file_format, images, self.predict(images), self.class_names)
        return content

    def _save(self, path: Path) -> None:
        with self.session.graph.as_default(), tensorflow_writable(path) as writable:
            builder = tf.saved_model.builder.SavedModelBuilder(writable)
            builder.add_meta_graph_and_variables(
                self.session,
                [tf.saved_model.tag_constants.SERVING],
                signature_def_map={SIGNATURE: self.signature},
                strip_default_attrs=True,  # TensorFlow 1.15 rejects attributes that were added in 2.x
            )
            builder.save()
        (path / "assets.extra").mkdir()
        (path / "assets.extra" / _LABELS_FILE).write_text(self._describe())

    def _describe(self) -> str:
        """Returns the content of labels.json."""
        return json.dumps(
            {"classes": self.class_names, "preparation": self.preparation, _MIN_PROBABILITY: self.min_probability}
        )


def _find_run(run_dir: Path) -> SavedNetwork:
    config = directory.read_json(run_dir, "config.json")
    model = config.get("model")
    if not isinstance(model, str) or model not in MODELS:
        raise InputError(f"{run_dir / 'config.json'} is damaged: its model is none of {', '.join(MODELS)}")
    result = directory.read_json(run_dir, "result.json") if (run_dir / "result.json").exists() else {}
    return SavedNetwork(
        Path(checkpoints.require_checkpoint(run_dir)),
        model,
        read_class_names(config),
        read_preparation(config),
        _read_min_probability(result, run_dir / "result.json"),
        run_dir=run_dir,
    )


def _find_network(saved_model: Path) -> SavedNetwork:
    """Finds out which network of MODELS an exported model is, by the shapes of its variables."""
    extra = saved_model / "assets.extra"
    labels = directory.read_json(extra, _LABELS_FILE) if (extra / _LABELS_FILE).exists() else {"classes": DIGITS}
    names = check_class_names(labels.get("classes"), str(extra / _LABELS_FILE))
    try:
        with tensorflow_readable(saved_model, "variables/*") as path:
            reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
            shapes = reader.get_variable_to_shape_map()
    except Exception as error:  # TensorFlow raises many exception types for damaged files
        raise InputError(
            f"{saved_model} is a damaged SavedModel, or not a model of this project: its variables cannot be read"
        ) from error
    model = next((name for name, network in MODELS.items() if network.weight_shapes(len(names)) == shapes), None)
    if model is None:
        raise InputError(
            f"{saved_model} is not a model of this project: its variables are those of none of its networks "
            f"({', '.join(MODELS)}) with {len(names)} classes"
        )
    return SavedNetwork(
        saved_model / "variables" / "variables",
        model,
        names,
        check_preparation(labels.get("preparation", "digit"), str(extra / _LABELS_FILE)),
        _read_min_probability(labels, extra / _LABELS_FILE),
        int(saved_model.name) if saved_model.name.isdigit() else 1,
    )


def _read_min_probability(content: Dict[str, Any], path: Path) -> float:
    min_probability = content.get(_MIN_PROBABILITY, 0.0)
    if not isinstance(min_probability, float) or not 0 <= min_probability <= 1:
        raise InputError(f"{path} is damaged: its {_MIN_PROBABILITY} is not in 0..1")
    return min_probability


def _find_saved_model(folder: Path) -> Optional[Path]:
    """Returns the folder of a SavedModel: `folder` itself or its highest-numbered subfolder; None if there is none."""
    candidates = [folder, *(folder / str(number) for number in sorted(_list_versions(folder), reverse=True))]
    return next((path for path in candidates if (path / "saved_model.pb").exists()), None)


def _list_versions(folder: Path) -> List[int]:
    return [int(path.name) for path in folder.glob("[0-9]*") if re.fullmatch("[0-9]+", path.name)]


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _iterate_batches(images: Iterable[Any], preparation: str) -> Iterator[np.ndarray]:
    """Yields the images as network input, float32 [n, 28, 28, 1] in [0, 1], with n up to BATCH_SIZE."""
    pending: List[np.ndarray] = []
    for image in images:
        array = _validate(image) if isinstance(image, np.ndarray) else _prepare(image, preparation)
        for start in range(0, len(array), BATCH_SIZE):
            pending.append(_scale(array[start : start + BATCH_SIZE]))
            if sum(map(len, pending)) >= BATCH_SIZE:
                yield np.concatenate(pending)
                pending = []
    if pending:
        yield np.concatenate(pending)


def _prepare(image: Any, preparation: str) -> np.ndarray:
    from mnist_cnn.inference.preprocessing import PREPARATIONS  # needs the extra `images`, which arrays do not

    return PREPARATIONS[preparation](image).reshape(1, 28, 28, 1)


def _validate(array: np.ndarray) -> np.ndarray:
    """Reshapes an array to [N, 28, 28, 1]. Raises InputError if its shape or dtype is not supported."""
    shape = array.shape
    if not (shape == (28, 28) or shape[1:] in [(28, 28), (784,), (28, 28, 1)]):
        raise InputError(
            f"images have shape {list(shape)}: it must be [28, 28], [N, 28, 28], [N, 784] or [N, 28, 28, 1]"
        )
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"images have dtype {array.dtype}: they must be uint8 in 0..255, or float in [0, 1]")
    return array.reshape(-1, 28, 28, 1)


def _scale(array: np.ndarray) -> np.ndarray:
    """Converts uint8 in 0..255, or float in [0, 1], to float32 in [0, 1]. Raises InputError for other floats."""
    if array.dtype == np.uint8:
        return np.divide(array, 255, dtype=np.float32)
    if not (array.min() >= 0 and array.max() <= 1):  # False for NaN too
        raise InputError(f"images have values from {array.min()} to {array.max()}: floats must be in [0, 1]")
    return array.astype(np.float32)
