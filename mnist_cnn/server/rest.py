"""TensorFlow Serving's REST form (https://www.tensorflow.org/tfx/serving/api_rest), for the one model that is served.

What is accepted here is accepted there, and answered alike; but pixels outside [0, 1], NaN among them, are refused.
"""

import json
import re

import numpy as np
from google.protobuf.json_format import MessageToDict
from werkzeug.exceptions import NotFound

from mnist_cnn.errors import InputError
from mnist_cnn.inference.classifier import SIGNATURE

ADDRESS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")
MODEL = "mnist"
INPUT = "images"
KINDS = {
    bool: "true or false",
    dict: "an object",
    list: "lists of different lengths",
    str: "a string",
    type(None): "null",
}


def dispatch_request(classifier, method, path, body):
    """What is said to a request, as a dict for JSON.

    Raises:
      InputError: TensorFlow Serving's status is 400.
      NotFound: there is no such model, or not this version of it.
    """
    address = ADDRESS.fullmatch(path)
    name, version, action = address.groups() if address else (None, None, None)
    works = {("GET", None): _status, ("GET", "/metadata"): _metadata, ("POST", ":predict"): _predict}
    work = works.get((method, action))
    if not address or not work:
        raise InputError(f"Malformed request: {method} {path}")
    if name != MODEL or version not in (None, str(classifier.version)):
        wanted = f"Specific({name}, {version})" if version else f"Latest({name})"
        raise NotFound(f"Servable not found for request: {wanted}")
    return work(classifier, body)


def _status(classifier, _):
    state = {
        "version": str(classifier.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    return {"model_version_status": [state]}


def _metadata(classifier, _):
    signature = classifier.signature
    described = {
        "inputs": {key: _tensor_info(info) for key, info in signature.inputs.items()},
        "outputs": {key: _tensor_info(info) for key, info in signature.outputs.items()},
        "method_name": signature.method_name,
    }
    return {
        "model_spec": {"name": MODEL, "signature_name": "", "version": str(classifier.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: described}}},
    }


def _tensor_info(info):
    said = MessageToDict(info, preserving_proto_field_name=True)  # without what has its default value
    dimensions = [{"size": dimension["size"], "name": ""} for dimension in said["tensor_shape"]["dim"]]
    return {**said, "tensor_shape": {"dim": dimensions, "unknown_rank": False}}


def _predict(classifier, body):
    said = _parsed(body)
    signature = said.get("signature_name") or SIGNATURE
    if signature != SIGNATURE:
        raise InputError(f"Serving signature name: {json.dumps(signature)[:99]} not found in signature def")
    if ("instances" in said) == ("inputs" in said):
        raise InputError("there must be either 'instances' or 'inputs'")
    by_rows = "instances" in said
    images = _array(_rows(said["instances"]) if by_rows else _column(said["inputs"]))
    columns = {name: array.tolist() for name, array in classifier.predict(images)._asdict().items()}
    if by_rows:
        return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}
    return {"outputs": columns}


def _parsed(body):
    try:
        # Old Pythons take minutes for an int of a million digits.
        said = json.loads(body.decode(), parse_int=float)
    except (ValueError, RecursionError) as error:
        raise InputError(f"JSON Parse error: {error}") from error
    if not isinstance(said, dict):
        raise InputError("the body must be a JSON object")
    return said


def _rows(instances):
    if not isinstance(instances, list) or not instances:
        raise InputError("'instances' must be a list that is not empty")
    named = [isinstance(instance, dict) for instance in instances]
    if not any(named):
        return instances
    if not all(named) or any(set(instance) != {INPUT} for instance in instances):
        raise InputError(f"each of the 'instances' must be a list, or each an object that has '{INPUT}' alone")
    return [instance[INPUT] for instance in instances]


def _column(inputs):
    if not isinstance(inputs, dict):
        return inputs
    if INPUT not in inputs:
        raise InputError(f"Missing named input: {INPUT} in 'inputs' object")
    return inputs[INPUT]


def _array(images):
    try:
        array = np.array(images, object)
    except ValueError:  # how NumPy says it depends on where lists differ
        kinds = {list}
    else:
        kinds = set(map(type, array.flat)) - {float}
    if kinds:
        raise InputError(f"images must be numbers of shape [N, 28, 28, 1], and hold {KINDS[kinds.pop()]}")
    if array.shape[1:] != (28, 28, 1):
        raise InputError(f"images have shape {list(array.shape)}: it must be [N, 28, 28, 1]")
    return array.astype(float)
