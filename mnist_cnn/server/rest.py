"""TensorFlow Serving's REST API (https://www.tensorflow.org/tfx/serving/api_rest) for the one model that is served.

A request that is accepted here is accepted by TensorFlow Serving too, with the same response. Pixels outside [0, 1],
NaN included, are rejected here; TensorFlow Serving would compute with them.
"""

import json
import re
from typing import Any, Dict

import numpy as np
from google.protobuf.json_format import MessageToDict
from werkzeug.exceptions import NotFound

from mnist_cnn.errors import InputError
from mnist_cnn.inference.classifier import SIGNATURE, Classifier

MODEL_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")
MODEL_NAME = "mnist"
INPUT_NAME = "images"
# Descriptions of the JSON values that are not numbers, for error messages.
JSON_TYPES = {
    bool: "true or false",
    dict: "an object",
    list: "lists of different lengths",
    str: "a string",
    type(None): "null",
}


def dispatch_request(classifier: Classifier, method: str, path: str, body: bytes) -> Dict[str, Any]:
    """Handle one request to the REST API.

    Args:
      classifier: the Classifier that is served.
      method: the HTTP method, "GET" or "POST".
      path: the URL's path, such as "/v1/models/mnist:predict".
      body: the request's body.

    Returns:
      The response, as a dict that can be written as JSON.

    Raises:
      InputError: the request is invalid; TensorFlow Serving's status is 400.
      NotFound: the model or the requested version of it does not exist.
    """
    match = MODEL_PATH.fullmatch(path)
    name, version, action = match.groups() if match else (None, None, None)
    handlers = {("GET", None): _get_status, ("GET", "/metadata"): _get_metadata, ("POST", ":predict"): _predict}
    handler = handlers.get((method, action))
    if not match or not handler:
        raise InputError(f"Malformed request: {method} {path}")
    if name != MODEL_NAME or version not in (None, str(classifier.version)):
        requested = f"Specific({name}, {version})" if version else f"Latest({name})"
        raise NotFound(f"Servable not found for request: {requested}")
    return handler(classifier, body)


def _get_status(classifier, _):
    version_status = {
        "version": str(classifier.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return {"model_version_status": [version_status]}


def _get_metadata(classifier, _):
    signature = classifier.signature
    signature_def = {
        "inputs": {key: _describe_tensor(info) for key, info in signature.inputs.items()},
        "outputs": {key: _describe_tensor(info) for key, info in signature.outputs.items()},
        "method_name": signature.method_name,
    }
    return {
        "model_spec": {"name": MODEL_NAME, "signature_name": "", "version": str(classifier.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature_def}}},
    }


def _describe_tensor(info):
    description = MessageToDict(info, preserving_proto_field_name=True)
    # MessageToDict leaves out fields with default values; TensorFlow Serving's responses contain them.
    dimensions = [{"size": dimension["size"], "name": ""} for dimension in description["tensor_shape"]["dim"]]
    return {**description, "tensor_shape": {"dim": dimensions, "unknown_rank": False}}


def _predict(classifier, body):
    request = parse_json_object(body)
    signature = request.get("signature_name") or SIGNATURE
    if signature != SIGNATURE:
        raise InputError(f"Serving signature name: {json.dumps(signature)[:99]} not found in signature def")
    if ("instances" in request) == ("inputs" in request):
        raise InputError("the request must have either 'instances' or 'inputs'")
    by_rows = "instances" in request
    images = _to_array(_get_rows(request["instances"]) if by_rows else _get_column(request["inputs"]))
    columns = {name: array.tolist() for name, array in classifier.predict(images)._asdict().items()}
    if by_rows:
        return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}
    return {"outputs": columns}


def parse_json_object(body: bytes) -> Dict[str, Any]:
    """Parses a request's body, with all numbers as floats. Raises InputError unless it is a JSON object."""
    try:
        # int() is quadratic in old Pythons: a million digits take minutes.
        parsed = json.loads(body.decode(), parse_int=float)
    except (ValueError, RecursionError) as error:
        raise InputError(f"JSON Parse error: {error}") from error
    if not isinstance(parsed, dict):
        raise InputError("the body must be a JSON object")
    return parsed


def _get_rows(instances):
    if not isinstance(instances, list) or not instances:
        raise InputError("'instances' must be a non-empty list")
    are_objects = [isinstance(instance, dict) for instance in instances]
    if not any(are_objects):
        return instances
    if not all(are_objects) or any(set(instance) != {INPUT_NAME} for instance in instances):
        raise InputError(f"'instances' must be either all lists, or all objects with the single key '{INPUT_NAME}'")
    return [instance[INPUT_NAME] for instance in instances]


def _get_column(inputs):
    if not isinstance(inputs, dict):
        return inputs
    if INPUT_NAME not in inputs:
        raise InputError(f"Missing named input: {INPUT_NAME} in 'inputs' object")
    return inputs[INPUT_NAME]


def _to_array(images):
    """Convert nested lists of floats to an array [N, 28, 28, 1]. Raises InputError if they contain anything else."""
    try:
        array = np.array(images, object)
    except ValueError:
        # NumPy raises this for some lists of different lengths. For others it returns an array that contains lists.
        invalid_types = {list}
    else:
        invalid_types = set(map(type, array.flat)) - {float}
    if invalid_types:
        description = JSON_TYPES[invalid_types.pop()]
        raise InputError(f"images must be numbers in shape [N, 28, 28, 1], but contain {description}")
    if array.shape[1:] != (28, 28, 1):
        raise InputError(f"images have shape {list(array.shape)}: it must be [N, 28, 28, 1]")
    return array.astype(float)
