"""HTTP routes: the demo page, predictions for image files, TensorFlow Serving's REST API. Needs the extra `serve`."""

import base64
import io
import json
from typing import Any, Dict

import numpy as np

from mnist_cnn.errors import InputError, NoDigitFound
from mnist_cnn.inference.classifier import Classifier
from mnist_cnn.inference.preprocessing import prepare
from mnist_cnn.server import rest

try:
    from flask import Flask, request
    from werkzeug.exceptions import HTTPException, UnsupportedMediaType
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

MAGIC_BYTES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}  # by media type
# The page may load scripts, styles and data from this server only.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(classifier: Classifier) -> Flask:
    """Create the WSGI application that serves a classifier's predictions.

    Request bodies are read into memory whole: the HTTP server has to limit their size.
    """
    app = Flask(__name__)
    app.json.sort_keys = False

    @app.get("/")
    def get_page():
        return app.send_static_file("index.html")

    @app.get("/healthz")
    def get_health():
        return {"status": "ok"}

    @app.post("/v1/digits")
    def predict_digit():
        magic_bytes = MAGIC_BYTES.get(request.mimetype)
        if magic_bytes is None:
            raise UnsupportedMediaType(f"the body must be an image, with Content-Type {' or '.join(MAGIC_BYTES)}")
        file_content = request.get_data(cache=False)
        if not file_content.startswith(magic_bytes):
            raise InputError(f"the image is not {request.mimetype}")
        try:
            digit = prepare(io.BytesIO(file_content))
        except NoDigitFound:
            return {"class": None}
        return _make_response(classifier, digit, with_maps=request.args.get("maps") == "1")

    @app.route("/v1/models/<path:_>", methods=["GET", "POST"])
    def call_rest_api(_):
        return rest.dispatch_request(classifier, request.method, request.path, request.get_data(cache=False))

    @app.errorhandler(HTTPException)
    def handle_http_error(error):
        response = error.get_response()
        response.data = json.dumps({"error": error.description})
        response.content_type = "application/json"
        return response

    @app.errorhandler(InputError)
    def handle_input_error(error):
        return {"error": str(error)}, 400

    @app.after_request
    def add_security_headers(response):
        response.headers.update(SECURITY_HEADERS)
        return response

    return app


def _make_response(classifier: Classifier, digit: np.ndarray, with_maps: bool) -> Dict[str, Any]:
    """The JSON response for a prepared digit, float32 [28, 28] in [0, 1]."""
    (digit_class,), (probabilities,) = classifier.predict(digit)
    response = {
        "class": int(digit_class),
        "probability": float(probabilities[digit_class]),
        "probabilities": probabilities.tolist(),
        "image": (digit * 255).round().astype(int).tolist(),
    }
    maps = classifier.feature_maps(digit) if with_maps else {}
    if maps:
        response["maps"] = {layer: _encode_maps(values) for layer, values in maps.items()}
    return response


def _encode_maps(maps: np.ndarray) -> Dict[str, Any]:
    """Encode a layer's maps, float32 [height, width, filters], at least 0, as bytes in base64.

    The values are scaled so that the layer's largest is 255.
    """
    scaled = maps * (255 / max(maps.max(), np.finfo(np.float32).tiny))
    return {
        "shape": list(maps.shape),
        "values": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode(),
    }
