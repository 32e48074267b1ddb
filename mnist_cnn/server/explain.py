"""The routes under /v1/explain: how the network computes its numbers, for the page."""

import base64
import logging
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from flask import Flask, request
from werkzeug.exceptions import RequestEntityTooLarge, ServiceUnavailable

from mnist_cnn.data.mnist import Split
from mnist_cnn.errors import InputError
from mnist_cnn.inference.explanation import Channel, Explainer, Network
from mnist_cnn.server.rest import parse_json_object

MAX_BODY_BYTES = 10**5  # an image has at most 4 kB
CHANNELS_SHOWN = 8  # of the 32 that add to a cell of the second convolution
TEST_IMAGES_PER_REQUEST = 500  # take 0.1 s
MISTAKES_PER_REQUEST = 50  # of each request's images, the surest

logger = logging.getLogger(__name__)

_LAYERS_SHOWN = "pool1", "pool2", "dense"


def add_routes(app: Flask, explainer: Explainer, load_test_split: Optional[Callable[[], Split]]) -> None:
    """Adds the routes to an application.

    Args:
      app: the application.
      explainer: of the network that is served.
      load_test_split: loads the test images on which accuracy is measured, when they are first needed; it raises
        InputError where they are missing. None: there are none.
    """
    loaded: List[Optional[Split]] = []
    loading_lock = threading.Lock()

    def get_test_split() -> Optional[Split]:
        if not loaded:
            # Of many pictures, this takes longer than the page waits. Its next request must not load them again.
            if not loading_lock.acquire(blocking=False):
                raise ServiceUnavailable("the test images are being loaded: try again in a few seconds", retry_after=2)
            try:
                if not loaded:
                    loaded.append(_load(load_test_split, explainer.num_classes) if load_test_split else None)
            finally:
                loading_lock.release()
        return loaded[0]

    @app.get("/v1/explain")
    def describe_replay():
        snapshots = explainer.describe_snapshots()
        return {
            "snapshots": [
                {"step": step, "cost": snapshot.cost, "accuracy": snapshot.accuracy}
                for step, snapshot in snapshots.items()
            ]
        }

    @app.post("/v1/explain/network")
    def compute():
        content = _parse_body("image")
        network = _get_network(content)
        values = explainer.compute(_get_image(content), network)
        return {
            "class": int(values["probabilities"].argmax()),
            "probabilities": values["probabilities"].tolist(),
            "maps": encode_layers(values),
            "kernels": explainer.get_weights(network)["W1"][:, :, 0].tolist(),
        }

    @app.post("/v1/explain/cell")
    def explain_cell():
        content = _parse_body("image", "layer", "row", "column", "channel")
        position = [_get_int(content, name) for name in ("row", "column", "channel")]
        cell = explainer.explain_cell(_get_image(content), _get_layer(content), *position, _get_network(content))
        shown, others = cell.channels[:CHANNELS_SHOWN], cell.channels[CHANNELS_SHOWN:]
        return {
            "layer": cell.layer,
            "row": cell.row,
            "column": cell.column,
            "channel": position[-1],
            "channels": [_describe_channel(channel) for channel in shown],
            "others": {"number": len(others), "sum": sum(channel.total for channel in others)},
            "sum": cell.value,
            "pooled": cell.pooled.tolist(),
            "kept": list(cell.kept),
            "output": cell.output,
        }

    @app.post("/v1/explain/unit")
    def explain_unit():
        content = _parse_body("image", "layer", "index")
        index = _get_int(content, "index")
        unit = explainer.explain_unit(_get_image(content), _get_layer(content), index, _get_network(content))
        return {
            "layer": content["layer"],
            "index": index,
            "sum": unit.value,
            "units": unit.units.tolist(),
            "maps": unit.maps.sum((0, 1)).tolist(),
            "pixels": unit.pixels.tolist(),
        }

    @app.post("/v1/explain/test")
    def evaluate_part():
        content = _parse_body("start")
        network, split = _get_network(content), get_test_split()
        if split is None:
            return {"missing": True}
        start = _get_int(content, "start")
        if not 0 <= start < len(split):
            raise InputError(f"start is {start}: there are {len(split):,} test images")
        part = slice(start, start + TEST_IMAGES_PER_REQUEST)
        images, labels = split.batch(part)[0], split.labels[part]
        probabilities = explainer.predict(images, network)
        classes = probabilities.argmax(1)
        wrong = np.flatnonzero(classes != labels)
        surest = wrong[np.argsort(-probabilities[wrong, classes[wrong]], kind="stable")][:MISTAKES_PER_REQUEST]
        return {
            "end": start + len(labels),
            "total": len(split),
            "correct": len(labels) - len(wrong),
            "mistakes": [
                {
                    "index": start + int(i),
                    "label": int(labels[i]),
                    "class": int(classes[i]),
                    "probability": float(probabilities[i].max()),
                    "image": split.images[start + i, ..., 0].tolist(),
                }
                for i in surest
            ],
        }


def _load(load_test_split: Callable[[], Split], num_classes: int) -> Optional[Split]:
    """Returns the test images, or None if they are missing. Only the log says where they were looked for."""
    try:
        split = load_test_split()
    except InputError as error:
        logger.warning("the page can show no test accuracy: %s", error)
        return None
    return split if split.num_classes == num_classes else None


def encode_layers(values: Dict[str, np.ndarray]) -> Dict[str, Any]:
    """Returns the layers that the page shows, of `Explainer.compute`, for a JSON response."""
    return {layer: _encode(values[layer]) for layer in _LAYERS_SHOWN}


def _encode(maps: np.ndarray) -> Dict[str, Any]:
    """Encodes a layer's values, float32 [height, width, filters] or [units], at least 0, as bytes in base64.

    The values are scaled so that the layer's largest is 255.
    """
    scaled = maps * (255 / max(maps.max(), np.finfo(np.float32).tiny))
    return {
        "shape": list(maps.shape),
        "values": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode(),
    }


def _describe_channel(channel: Channel) -> Dict[str, Any]:
    window = [[None if np.isnan(value) else float(value) for value in row] for row in channel.window]
    return {
        "channel": channel.channel,
        "window": window,
        "kernel": channel.kernel.tolist(),
        "products": channel.products.tolist(),
        "sum": channel.total,
    }


def _parse_body(*required: str) -> Dict[str, Any]:
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"the body has over {MAX_BODY_BYTES:,} bytes")
    content = parse_json_object(body)
    allowed = {*required, "step", "off"}
    for name in required:
        if name not in content:
            raise InputError(f"the body has no '{name}'")
    unknown = sorted(set(content) - allowed)
    if unknown:
        raise InputError(f"the body has the unknown key {unknown[0]!r:.99}")
    return content


def _get_image(content: Dict[str, Any]) -> np.ndarray:
    rows = content["image"]
    is_image = (
        isinstance(rows, list)
        and len(rows) == 28
        and all(isinstance(row, list) and len(row) == 28 for row in rows)
        and all(_is_int(value) and 0 <= value <= 255 for row in rows for value in row)
    )
    if not is_image:
        raise InputError("'image' must be 28 rows of 28 whole numbers in 0..255")
    return np.divide(rows, 255, dtype=np.float32)


def _get_layer(content: Dict[str, Any]) -> str:
    if not isinstance(content["layer"], str):
        raise InputError("'layer' must be a string")
    return content["layer"][:99]


def _get_int(content: Dict[str, Any], name: str) -> int:
    value = content[name]
    if not _is_int(value) or not 0 <= value < 2**53:
        raise InputError(f"'{name}' must be a whole number, 0 or more")
    return int(value)


def _get_network(content: Dict[str, Any]) -> Network:
    step = None if content.get("step") is None else _get_int(content, "step")
    off = content.get("off", {})
    if not isinstance(off, dict) or set(off) - {"conv1", "conv2"}:
        raise InputError("'off' must be an object with the keys 'conv1' and 'conv2'")
    return Network(step, _get_filters(off.get("conv1", [])), _get_filters(off.get("conv2", [])))


def _get_filters(numbers: Any) -> Tuple[int, ...]:
    if not isinstance(numbers, list) or len(numbers) > 64 or not all(_is_int(number) for number in numbers):
        raise InputError("the filters that are off must be a list of whole numbers")
    return tuple(sorted({int(number) for number in numbers}))


def _is_int(value: Any) -> bool:
    """Returns whether a JSON value is a whole number. `parse_json_object` makes floats of all numbers."""
    return isinstance(value, float) and value.is_integer()
