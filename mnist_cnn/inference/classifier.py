"""A trained network that reads images, and leaves as a SavedModel."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import BATCH_SIZE
from mnist_cnn.files import sync
from mnist_cnn.model import SHAPES, inference
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.tf1 import new_session, tf

SIGNATURE = "serving_default"


class Prediction(NamedTuple):
    classes: np.ndarray  # int64 [N] in 0..9
    probabilities: np.ndarray  # float32 [N, 10] in [0, 1]


class Classifier:
    """`with Classifier.load(...) as classifier:` has a graph and a session of its own; `close()` ends both."""

    def __init__(self, session, signature, version):
        """Use `load`.

        Args:
          session: a Session, whose graph has the network.
          signature: of that graph, a SignatureDef as `export` describes it.
          version: the number of the exported model's folder; 1 for a run.
        """
        self._session = session
        self.signature = signature
        self.version = version

    @classmethod
    def load(cls, folder, report=print):
        """A run's network, with the weights of its newest good checkpoint, or an exported one.

        Args:
          folder: a run directory; or the folder of a SavedModel, or one of its numbered versions, of which
            the highest is taken.
          report: is called with a line about each newer checkpoint that is damaged.

        Raises:
          InputError: it is neither, or damaged.
        """
        folder = Path(folder)
        exported = _newest_version(folder)
        if exported is None and not (folder / "config.json").exists():
            raise InputError(
                f"{folder} is neither a run nor an exported model: it has no config.json, no saved_model.pb"
            )
        with tf.Graph().as_default():
            session = new_session()
            try:
                signature = _restore(session, folder, report) if exported is None else _import(session, exported)
            except BaseException:
                session.close()
                raise
        version = int(exported.name) if exported and exported.name.isdigit() else 1
        return cls(session, signature, version)

    def predict(self, images):
        """What the images show, in batches: memory does not grow with their number, but for the result.

        Args:
          images: an array, uint8 in 0..255 or float in [0, 1], of shape [28, 28], [N, 28, 28], [N, 784] or
            [N, 28, 28, 1], taken as MNIST's: white on black, centred. Or a picture as `prepare` takes it: a file's
            name, a binary file or a PIL image. Or a list of such.

        Returns:
          A Prediction: classes, int64 [N], and probabilities, float32 [N, 10].

        Raises:
          InputError: an image is none of these; among them NoDigitFound.
        """
        outputs = self.signature.outputs
        nothing = np.zeros([0], np.int64), np.zeros([0, 10], np.float32)
        fetched = self._fetch([outputs["classes"].name, outputs["probabilities"].name], images)
        return Prediction(*map(np.concatenate, zip(nothing, *fetched)))

    def feature_maps(self, image):
        """What the filters of each block answer to an image, after pooling and ReLU.

        Args:
          image: one, as `predict` takes it.

        Returns:
          {"conv1": float32 [14, 14, 32], "conv2": float32 [7, 7, 64]}; of a network without such blocks {}.
        """
        operations = {operation.name for operation in self._session.graph.get_operations()}
        blocks = {block: f"{block}/Relu:0" for block in ("conv1", "conv2") if f"{block}/Relu" in operations}
        (fetched,) = self._fetch(blocks, image)
        return {block: maps[0] for block, maps in fetched.items()}

    def _fetch(self, fetches, images):
        """For each batch of images what `session.run` gives."""
        images = images if isinstance(images, (list, tuple)) else [images]
        for batch in _batches(images):
            yield self._session.run(fetches, {self.signature.inputs["images"].name: batch})

    def export(self, folder):
        """Writes a SavedModel into a new numbered folder of `folder`, as TensorFlow Serving wants it, or nothing.

        Its signature `serving_default` takes `images`, float32 [N, 28, 28, 1] in [0, 1], and gives `classes`,
        int64 [N], and `probabilities`, float32 [N, 10]. Each TensorFlow reads what the other has written.

        Returns:
          The Path of what was written: folder/1, or the next number.

        Raises:
          InputError: it cannot be written there.
        """
        folder = Path(folder)
        is_new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=str(folder)) as temporary:
                model = Path(temporary, "model")
                self._save(model)
                for path in sorted(model.rglob("*"), reverse=True):
                    sync(path)
                sync(model)
                exported = folder / str(max(_versions(folder), default=0) + 1)
                os.rename(str(model), str(exported))
            sync(folder)
            return exported
        except (OSError, tf.errors.OpError) as error:
            if is_new:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
            raise InputError(f"{folder}: the model cannot be written there ({reason})") from error

    def close(self):
        self._session.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _save(self, path):
        with self._session.graph.as_default():
            builder = tf.saved_model.builder.SavedModelBuilder(str(path))
            builder.add_meta_graph_and_variables(
                self._session,
                [tf.saved_model.tag_constants.SERVING],
                signature_def_map={SIGNATURE: self.signature},
                strip_default_attrs=True,  # else 1.15 refuses what 2.x has added since
            )
            builder.save()


def _restore(session, run, report):
    """Builds a run's network in the current graph, for inference alone, and returns its signature."""
    model = directory.read_json(run, "config.json").get("model")
    if model not in SHAPES:
        raise InputError(f"{run / 'config.json'} is damaged: its model is none of {', '.join(SHAPES)}")
    prefix, _ = checkpoints.latest_checkpoint(run, report)
    if prefix is None:
        raise InputError(f"{run / 'checkpoints'} holds no checkpoint: the run stopped before its first")
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    # Reference variables: 1.15 cannot read a SavedModel that has 2.x's resource variables.
    weights = [tf.Variable(tf.zeros(shape), name=name, use_resource=False) for name, shape in SHAPES[model].items()]
    logits = inference(images, weights)
    classes = tf.argmax(logits, 1, name="classes")
    probabilities = tf.nn.softmax(logits, name="probabilities")
    checkpoints.restore(session, checkpoints.saver(), prefix)
    return tf.saved_model.signature_def_utils.predict_signature_def(
        {"images": images}, {"classes": classes, "probabilities": probabilities}
    )


def _import(session, folder):
    """Reads a SavedModel into the current graph and returns its signature."""
    try:
        loaded = tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING], str(folder))
    except Exception as error:  # whatever a damaged file brings about
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder} is a damaged SavedModel, or not one that this TensorFlow reads ({reason})"
        ) from error
    signature = loaded.signature_def[SIGNATURE]
    if set(signature.inputs) != {"images"} or set(signature.outputs) != {"classes", "probabilities"}:
        raise InputError(f"{folder} is another SavedModel: {SIGNATURE} should be images -> classes, probabilities")
    return signature


def _newest_version(folder):
    """The folder of a SavedModel: this one, or the highest of its numbered ones; None where there is none."""
    candidates = [folder, *(folder / str(number) for number in sorted(_versions(folder), reverse=True))]
    return next((path for path in candidates if (path / "saved_model.pb").exists()), None)


def _versions(folder):
    return [int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()]


def _batches(images):
    """What the network is fed, float32 [n, 28, 28, 1] at a time, n up to BATCH_SIZE."""
    waiting = []
    for image in images:
        array = _checked(image) if isinstance(image, np.ndarray) else _prepared(image)
        for start in range(0, len(array), BATCH_SIZE):
            waiting.append(_scaled(array[start : start + BATCH_SIZE]))
            if sum(map(len, waiting)) >= BATCH_SIZE:
                yield np.concatenate(waiting)
                waiting = []
    if waiting:
        yield np.concatenate(waiting)


def _prepared(picture):
    from mnist_cnn.inference.preprocessing import prepare  # with Pillow, which arrays do not need

    return prepare(picture).reshape(1, 28, 28, 1)


def _checked(array):
    """An array as [N, 28, 28, 1]. Raises InputError where its shape or dtype is none of those that are taken."""
    shape = array.shape
    if not (shape == (28, 28) or shape[1:] in [(28, 28), (784,), (28, 28, 1)]):
        raise InputError(
            f"images have shape {list(shape)}: it must be [28, 28], [N, 28, 28], [N, 784] or [N, 28, 28, 1]"
        )
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise InputError(f"images are {array.dtype}: they must be uint8 in 0..255, or float in [0, 1]")
    return array.reshape(-1, 28, 28, 1)


def _scaled(array):
    if array.dtype == np.uint8:
        return np.divide(array, 255, dtype=np.float32)
    if not (array.min() >= 0 and array.max() <= 1):  # nor is NaN
        raise InputError(f"images have values from {array.min()} to {array.max()}: floats must be in [0, 1]")
    return array.astype(np.float32)
