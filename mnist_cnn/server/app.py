"""What is answered: the page, pictures of digits, and TensorFlow Serving's REST form. Needs the extra `serve`."""

import base64
import io
import json

import numpy as np

from mnist_cnn.errors import InputError, NoDigitFound
from mnist_cnn.inference.preprocessing import prepare
from mnist_cnn.server import rest

try:
    from flask import Flask, request
    from werkzeug.exceptions import HTTPException, UnsupportedMediaType
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}  # how their files begin
# The page's scripts and styles are files of this server, and it loads nothing from anywhere else.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(classifier):
    """The WSGI application that answers with what a Classifier says.

    It takes bodies of any size into memory: whoever serves it limits them.
    """
    app = Flask(__name__)
    app.json.sort_keys = False

    @app.get("/")
    def page():
        return app.send_static_file("index.html")

    @app.get("/healthz")
    def health():
        return {"status": "ok"}

    @app.post("/v1/digits")
    def digits():
        start = PICTURES.get(request.mimetype)
        if start is None:
            raise UnsupportedMediaType(f"the body must be a picture, with Content-Type {' or '.join(PICTURES)}")
        picture = request.get_data(cache=False)
        if not picture.startswith(start):
            raise InputError(f"the picture is not {request.mimetype}")
        try:
            digit = prepare(io.BytesIO(picture))
        except NoDigitFound:
            return {"class": None}
        return _reading(classifier, digit, with_maps=request.args.get("maps") == "1")

    @app.route("/v1/models/<path:_>", methods=["GET", "POST"])
    def model(_):
        return rest.dispatch_request(classifier, request.method, request.path, request.get_data(cache=False))

    @app.errorhandler(HTTPException)
    def refuse(error):
        response = error.get_response()
        response.data = json.dumps({"error": error.description})
        response.content_type = "application/json"
        return response

    @app.errorhandler(InputError)
    def refuse_input(error):
        return {"error": str(error)}, 400

    @app.after_request
    def protect(response):
        response.headers.update(HEADERS)
        return response

    return app


def _reading(classifier, digit, with_maps):
    """What is said of a prepared digit, float32 [28, 28]."""
    (digit_class,), (probabilities,) = classifier.predict(digit)
    said = {
        "class": int(digit_class),
        "probability": float(probabilities[digit_class]),
        "probabilities": probabilities.tolist(),
        "image": (digit * 255).round().astype(int).tolist(),
    }
    maps = classifier.feature_maps(digit) if with_maps else {}
    if maps:
        said["maps"] = {block: _as_bytes(values) for block, values in maps.items()}
    return said


def _as_bytes(maps):
    """The maps of a block, float32 [height, width, filters], 0 or more, of which the largest value becomes 255."""
    scaled = maps * (255 / max(maps.max(), np.finfo(np.float32).tiny))
    return {
        "shape": list(maps.shape),
        "values": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode(),
    }
