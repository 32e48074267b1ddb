"""How the network cnn computes its numbers for one image: each cell, unit and logit, as sums of products.

The network has no biases, and convolution, max-pooling and ReLU all scale with their input. So each of its sums equals
the sum, over any layer before it, of that layer's values times their gradients (Euler's theorem on homogeneous
functions), and a value times its gradient is what that value adds. This is exact, not an approximation.
"""

import contextlib
import functools
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.inference.classifier import Classifier
from mnist_cnn.run_dir.replay import Snapshot, list_snapshots, read_snapshot
from mnist_cnn.tf1 import tf

LAYERS = "conv1", "pool1", "conv2", "pool2", "dense"
_WEIGHTS = {"W1": (3, 3, 1, 32), "W2": (3, 3, 32, 64), "W3": (3136, 256)}
_BLOCKS = {"conv1": ("images", "W1"), "conv2": ("pool1", "W2")}  # each convolution's input and weights
_CONVOLUTIONS = {"conv1": "conv1", "pool1": "conv1", "conv2": "conv2", "pool2": "conv2"}  # of each layer's block


class Network(NamedTuple):
    """Which weights to compute with."""

    step: Optional[int] = None  # those of the snapshot of that step; None: the trained ones
    conv1_off: Tuple[int, ...] = ()  # filters of the first convolution that are switched off: their weights are 0
    conv2_off: Tuple[int, ...] = ()  # of the second


TRAINED = Network()


class Channel(NamedTuple):
    """What one input channel adds to a cell of a convolution."""

    channel: int
    window: np.ndarray  # float32 [3, 3], NaN outside the input, where SAME pads with zeros
    kernel: np.ndarray  # float32 [3, 3]
    products: np.ndarray  # float64 [3, 3]

    @property
    def total(self) -> float:
        return float(self.products.sum())


class Cell(NamedTuple):
    """How a cell of a convolution's output comes about."""

    layer: str  # conv1 or conv2
    row: int
    column: int
    value: float  # the cell's, float32 as the graph computes it
    channels: List[Channel]  # those that add most, positive or negative, first
    pooled: np.ndarray  # float32 [2, 2], the four cells of its pooling window
    kept: Tuple[int, int]  # row and column, 0 or 1, of the largest of the four
    output: float  # after pooling and ReLU


class Unit(NamedTuple):
    """What adds to a unit of the dense layer, before its ReLU, or to a logit."""

    value: float  # the sum, float32 as the graph computes it
    units: np.ndarray  # float64 [256], what each dense unit adds to a logit; [0] for a unit
    maps: np.ndarray  # float64 [7, 7, 64], what each cell of pool2 adds
    pixels: np.ndarray  # float64 [28, 28], what each pixel adds


class Explainer:
    """Computes with a Classifier's network. Threads may share one."""

    def __init__(self, classifier: Classifier):
        """Adds ops to the classifier's graph, so create it before other threads use the classifier.

        Raises:
          InputError: the network is not the model cnn.
        """
        self._classifier = classifier
        self._shapes = {name: tuple(weight.shape.as_list()) for name, weight in classifier.weights.items()}
        if set(LAYERS) - set(classifier.activations) or {**self._shapes, **_WEIGHTS} != self._shapes:
            raise InputError("there is nothing to explain: the network is not the model cnn")
        self.num_classes = len(classifier.class_names)
        self.num_filters = {"conv1": self._shapes["W1"][-1], "conv2": self._shapes["W2"][-1]}
        self._images = classifier.images
        with classifier.session.graph.as_default():
            self._direction = tf.placeholder(tf.float32, [None], "direction")
            flat = tf.reshape(classifier.activations["pool2"], [-1])
            (self._gradients,) = tf.gradients(tf.reduce_sum(flat * self._direction), [self._images])
        self._trained: Dict[str, np.ndarray] = classifier.session.run(classifier.weights)
        # A visitor asks for one cell after the other of the same image and the same network.
        self._get_weights = functools.lru_cache(maxsize=2)(self._load_weights)
        self._get_values = functools.lru_cache(maxsize=4)(self._compute)
        # TensorFlow prepares the first run of each kind, which takes ten times as long as the next: not at a click.
        for network in (TRAINED, Network(conv1_off=(0,))):
            self.explain_unit(np.zeros([28, 28], np.float32), "logits", 0, network)

    def describe_snapshots(self) -> Dict[int, Snapshot]:
        """Returns the snapshots that can be replayed, by step and without weights. Damaged ones are left out."""
        run_dir, found = self._classifier.run_dir, {}
        for step in list_snapshots(run_dir) if run_dir else []:
            with contextlib.suppress(InputError):
                found[step] = read_snapshot(run_dir, step, {})
        return found

    def get_weights(self, network: Network) -> Dict[str, np.ndarray]:
        """Returns the weights of a network by name, float32, which the caller must not change.

        Raises:
          InputError: there is no such snapshot or filter.
        """
        return self._get_weights(network)

    def _load_weights(self, network: Network) -> Dict[str, np.ndarray]:
        weights = dict(self._trained if network.step is None else self._read_snapshot(network.step))
        for layer, name, off in (("conv1", "W1", network.conv1_off), ("conv2", "W2", network.conv2_off)):
            if off and not 0 <= min(off) <= max(off) < self.num_filters[layer]:
                raise InputError(f"{layer} has the filters 0..{self.num_filters[layer] - 1}")
            if off:
                weights[name] = weights[name].copy()
                weights[name][..., list(off)] = 0
        return weights

    def predict(self, images: np.ndarray, network: Network = TRAINED) -> np.ndarray:
        """Returns the probabilities, float32 [N, classes], of images, float32 [N, 28, 28, 1] in [0, 1]."""
        probabilities = self._classifier.signature.outputs["probabilities"].name
        return self._run(probabilities, images, network)

    def compute(self, image: np.ndarray, network: Network = TRAINED) -> Dict[str, np.ndarray]:
        """Computes the network for one image.

        Args:
          image: float32 [28, 28] in [0, 1].
          network: the weights.

        Returns:
          float32 arrays: "images" [28, 28, 1], "conv1" [28, 28, 32], "pool1" [14, 14, 32], "conv2" [14, 14, 64],
          "pool2" [7, 7, 64], "dense" [256], "logits" and "probabilities" [classes]. The caller must not change them.
        """
        return self._get_values(image.astype(np.float32).tobytes(), network)

    def _compute(self, pixels: bytes, network: Network) -> Dict[str, np.ndarray]:
        activations = self._classifier.activations
        fetches = {name: activations[name] for name in LAYERS}
        fetches["logits"] = self._classifier.logits
        fetches["probabilities"] = self._classifier.signature.outputs["probabilities"].name
        images = np.frombuffer(pixels, np.float32).reshape(1, 28, 28, 1)
        computed = self._run(fetches, images, network)
        return {"images": images[0], **{name: batch[0] for name, batch in computed.items()}}

    def explain_cell(
        self, image: np.ndarray, layer: str, row: int, column: int, channel: int, network: Network = TRAINED
    ) -> Cell:
        """Explains a cell of a convolution, or, for a pooling layer, the one of its four cells that is kept.

        Args:
          image: float32 [28, 28] in [0, 1].
          layer: conv1, pool1, conv2 or pool2.
          row, column, channel: the cell's position.
          network: the weights.

        Raises:
          InputError: there is no such cell.
        """
        values = self.compute(image, network)
        height, width, channels = values[layer].shape if layer in _CONVOLUTIONS else (0, 0, 0)
        if not (0 <= row < height and 0 <= column < width and 0 <= channel < channels):
            raise InputError(f"there is no cell {row}, {column} of channel {channel} in the layer {layer}")
        convolution = _CONVOLUTIONS[layer]
        source, name = _BLOCKS[convolution]
        output, weights = values[convolution], self.get_weights(network)[name]
        if layer == convolution:
            top, left = row // 2 * 2, column // 2 * 2
        else:
            top, left = 2 * row, 2 * column
        pooled = output[top : top + 2, left : left + 2, channel]
        kept = divmod(int(pooled.argmax()), 2)
        if layer != convolution:
            row, column = top + kept[0], left + kept[1]
        padded = np.pad(values[source], [(1, 1), (1, 1), (0, 0)], "constant", constant_values=np.nan)
        windows = padded[row : row + 3, column : column + 3]
        products = np.nan_to_num(windows).astype(float) * weights[..., channel]
        order = np.argsort(-np.abs(products.sum((0, 1))), kind="stable")
        return Cell(
            layer=convolution,
            row=row,
            column=column,
            value=float(output[row, column, channel]),
            channels=[Channel(int(i), windows[..., i], weights[..., i, channel], products[..., i]) for i in order],
            pooled=pooled,
            kept=(kept[0], kept[1]),
            output=float(max(pooled.max(), 0)),
        )

    def explain_unit(self, image: np.ndarray, layer: str, index: int, network: Network = TRAINED) -> Unit:
        """Explains a dense unit, before its ReLU, or a logit.

        Args:
          image: float32 [28, 28] in [0, 1].
          layer: dense or logits.
          index: of the unit or the class.
          network: the weights.

        Raises:
          InputError: there is no such unit.
        """
        values = self.compute(image, network)
        if layer not in ("dense", "logits") or not 0 <= index < len(values[layer]):
            raise InputError(f"there is no unit {index} in the layer {layer}")
        weights = self.get_weights(network)
        *_, last = weights.values()
        dense = weights["W3"]
        if layer == "dense":
            direction, units = dense[:, index].astype(float), np.zeros(0)
            value = float(values["pool2"].ravel().astype(float) @ direction)
        else:
            direction = dense.astype(float) @ np.where(values["dense"] > 0, last[:, index], 0)
            units = values["dense"].astype(float) * last[:, index]
            value = float(values["logits"][index])
        maps = values["pool2"].astype(float) * direction.reshape(values["pool2"].shape)
        images = values["images"][None]
        gradients = self._run(self._gradients, images, network, {self._direction: direction})
        return Unit(value, units, maps, (images.astype(float) * gradients)[0, ..., 0])

    def _run(self, fetches: Any, images: np.ndarray, network: Network, feeds: Any = ()) -> Any:
        weights = self._classifier.weights
        feed_dict = {self._images: images, **dict(feeds)}
        if network != TRAINED:
            # Feeding them, instead of assigning, leaves the network of other threads as it is.
            feed_dict.update({weights[name].value(): array for name, array in self.get_weights(network).items()})
        return self._classifier.session.run(fetches, feed_dict)

    def _read_snapshot(self, step: int) -> Dict[str, np.ndarray]:
        run_dir = self._classifier.run_dir
        if run_dir is None or step not in list_snapshots(run_dir):
            raise InputError(f"there is no snapshot of step {step}")
        return read_snapshot(run_dir, step, {name: list(shape) for name, shape in self._shapes.items()}).weights
