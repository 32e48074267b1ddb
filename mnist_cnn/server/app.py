"""What the server answers: the page, pictures of digits, and TensorFlow Serving's REST form."""

import base64
import io

import numpy as np

from mnist_cnn.errors import InputError, NoDigitFound
from mnist_cnn.preparation import prepare

try:
    from flask import Flask, jsonify, request
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

MAX_BODY = 10**6  # bytes
PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}  # how each begins

# Everything that the page needs comes from here; what it draws is a blob.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_app(classifier):
    """A WSGI application that answers by a Classifier."""
    app = Flask(__name__)

    @app.after_request
    def add_headers(response):
        response.headers.update(HEADERS)
        return response

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
            return {"error": f"the body must be one of {', '.join(PICTURES)}"}, 415
        body = request.get_data(cache=False)
        try:
            if not body.startswith(start):
                raise InputError(f"the picture is not {request.mimetype}")
            digit = prepare(io.BytesIO(body))
        except NoDigitFound:
            return {"class": None}
        except InputError as error:
            return {"error": str(error)}, 400
        classes, probabilities = classifier.predict(digit)
        answer = {
            "class": int(classes[0]),
            "probability": float(probabilities[0].max()),
            "probabilities": probabilities[0].tolist(),
            "image": (digit * 255).round().astype(int).tolist(),
        }
        if request.args.get("maps") == "1":
            maps = classifier.feature_maps(digit)
            if maps:
                answer["maps"] = {name: _encoded(array) for name, array in maps.items()}
        return jsonify(answer)

    return app


def _encoded(maps):
    """Maps, float32 [height, width, filters] from 0 up, as bytes: the largest value becomes 255."""
    scaled = maps * (255 / max(maps.max(), np.finfo(np.float32).tiny))
    return {
        "shape": list(maps.shape),
        "values": base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode(),
    }
