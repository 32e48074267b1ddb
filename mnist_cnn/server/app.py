"""HTTP routes: the demo page, predictions for image files, TensorFlow Serving's REST API. Needs the extra `serve`."""

import contextlib
import io
import json
import re
import threading
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, Optional, Union
from urllib.parse import urlsplit

import numpy as np

import mnist_cnn.inference.preprocessing  # noqa: F401  # otherwise the first request would load it
from mnist_cnn.data.mnist import DIGITS, Split
from mnist_cnn.errors import ForkedProcess, InputError, NoDigitFound
from mnist_cnn.inference.classifier import Classifier, Number
from mnist_cnn.inference.explanation import Explainer
from mnist_cnn.inference.image_io import find_memory_problem, is_large
from mnist_cnn.inference.number_json import describe_number
from mnist_cnn.server.address import is_loopback
from mnist_cnn.server.collect import MAX_FILE_BYTES, CannotSave, Collector

try:
    from flask import Flask, render_template, request
    from werkzeug.exceptions import (
        Forbidden,
        HTTPException,
        RequestEntityTooLarge,
        ServiceUnavailable,
        UnsupportedMediaType,
    )
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

from mnist_cnn.server import explain, rest  # they need Flask, too

IMAGE_PATH = "/v1/digits"
LARGE_BODY_BYTES = 10**6  # one larger body at a time
MAX_BODY_BYTES = 8 * 10**6
MAX_IMAGE_BYTES = 2**26  # for IMAGE_PATH
BUSY = "another large request is being read: try again in a few seconds"  # status 503
RETRY_AFTER_SECS = 2
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


def create_app(
    model: Union[str, Path, Classifier],
    collector: Optional[Collector] = None,
    collects_from_anyone: bool = False,
    max_body_bytes: int = MAX_BODY_BYTES,
    frame_ancestors: str = "'none'",
    load_test_split: Optional[Callable[[], Split]] = None,
) -> Flask:
    """Create the WSGI application that serves a network's predictions.

    Args:
      model: a run directory or the folder of an exported model, which is loaded here; or a Classifier.
      collector: what saves the drawings that the page's visitors correct; None saves none.
      collects_from_anyone: whether drawings are also accepted from pages at names other than this machine's own.
      max_body_bytes: limit for the bodies of requests other than image files, whose limit is MAX_IMAGE_BYTES.
      frame_ancestors: the pages that may show the page in a frame, as in a Content-Security-Policy.
      load_test_split: loads the test images, when the page first needs them; it raises InputError where they are
        missing.

    Raises:
      InputError: as `Classifier.load`.
    """
    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    try:
        explainer: Optional[Explainer] = Explainer(classifier)
    except InputError:  # a network that cannot be explained
        explainer = None
    app = Flask(__name__)
    app.json.sort_keys = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_IMAGE_BYTES
    security_headers = {
        name: value.replace("frame-ancestors 'none'", f"frame-ancestors {frame_ancestors}")
        for name, value in SECURITY_HEADERS.items()
    }
    large_image_lock, large_body_lock = threading.Lock(), threading.Lock()

    @app.before_request
    def check_size():
        if request.path != IMAGE_PATH:
            _check_size(request.content_length or 0, max_body_bytes)

    @app.get("/")
    def get_page():
        names = list(classifier.class_names)
        kind = "digit" if classifier.class_names == DIGITS else "character" if max(map(len, names)) == 1 else "picture"
        return render_template(
            "index.html",
            base=_get_base(),
            names=names,
            kind=kind,
            resized=classifier.preparation == "resize",
            collects=bool(collector),
            explains=bool(explainer),
        )

    if explainer:
        explain.add_routes(app, explainer, load_test_split)

    @app.get("/healthz")
    def get_health():
        return {"status": "ok"}

    @app.post(IMAGE_PATH)
    def read_number():
        magic_bytes = MAGIC_BYTES.get(request.mimetype)
        if magic_bytes is None:
            raise UnsupportedMediaType(f"the body must be an image, with Content-Type {' or '.join(MAGIC_BYTES)}")
        # waitress has the body in a BytesIO, which needs no copy.
        file = request.environ["wsgi.input"]
        if not isinstance(file, io.BytesIO):
            file = io.BytesIO(request.get_data(cache=False))
        if file.read(len(magic_bytes)) != magic_bytes:
            raise InputError(f"the image is not {request.mimetype}")
        try:
            number = _read_number(classifier, file, large_image_lock)
        except NoDigitFound:
            return describe_number(None)
        return _make_response(classifier, number, explainer if request.args.get("maps") == "1" else None)

    if collector:

        @app.post("/corrections/<name>")
        def save_correction(name):
            _check_origin(collects_from_anyone)
            if request.mimetype != "image/png":
                raise UnsupportedMediaType("the body must be an image, with Content-Type image/png")
            body = request.get_data(cache=False)
            _check_size(len(body), MAX_FILE_BYTES)
            if not body.startswith(MAGIC_BYTES["image/png"]):
                raise InputError("the image is not image/png")
            return {"file": collector.save(body, name)}, 201

    @app.route("/v1/models/<path:_>", methods=["GET", "POST"])
    def call_rest_api(_):
        body = request.get_data(cache=False)
        _check_size(len(body), max_body_bytes)  # it may have had no Content-Length
        with _hold(large_body_lock) if len(body) > LARGE_BODY_BYTES else contextlib.ExitStack():
            return rest.dispatch_request(classifier, request.method, request.path, body)

    @app.errorhandler(HTTPException)
    def handle_http_error(error):
        response = error.get_response()
        response.data = json.dumps({"error": error.description})
        response.content_type = "application/json"
        return response

    @app.errorhandler(InputError)
    def handle_input_error(error):
        return {"error": str(error)}, 400

    @app.errorhandler(ForkedProcess)
    def handle_fork(error):
        return {"error": str(error)}, 500

    @app.errorhandler(CannotSave)
    def handle_full_folder(error):
        return {"error": str(error)}, 507

    @app.after_request
    def add_security_headers(response):
        response.headers.update(security_headers)
        return response

    return app


def _get_base() -> str:
    """Returns what stands before the page's addresses: "", or the folder at which a proxy shows the page.

    The browser resolves relative addresses by itself, but not if the page's own address lacks its final slash.
    """
    prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return f"{prefix}/" if re.fullmatch(r"(/[\w.~%@-]+)+", prefix, re.ASCII) else ""


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise RequestEntityTooLarge(f"the body has over {limit:,} bytes")


@contextlib.contextmanager
def _hold(lock: threading.Lock) -> Iterator[None]:
    """Raises ServiceUnavailable if another thread holds the lock. Waiting would block threads that others need."""
    if not lock.acquire(blocking=False):
        raise ServiceUnavailable(BUSY, retry_after=RETRY_AFTER_SECS)
    try:
        yield
    finally:
        lock.release()


def _check_origin(from_anyone: bool) -> None:
    """Raises Forbidden unless the request is from this server's own page.

    With DNS rebinding, the page of an attacker has the origin that it requests. But that is no name of this machine.
    """
    try:
        origin = urlsplit(request.headers.get("Origin", ""))
    except ValueError:
        origin = urlsplit("")
    if origin.netloc != request.host or not (from_anyone or is_loopback(origin.hostname or "")):
        raise Forbidden("drawings are accepted from this server's own page only")


def _read_number(classifier: Classifier, file: BinaryIO, large_image_lock: threading.Lock) -> Number:
    """Reads a number, but raises ServiceUnavailable for a large image while another thread reads one."""
    if not is_large(file):
        return classifier.read_number(file)
    problem = find_memory_problem(file)
    if problem:
        raise InputError(problem)
    with _hold(large_image_lock):
        return classifier.read_number(file)


def _make_response(classifier: Classifier, number: Number, explainer: Optional[Explainer]) -> Dict[str, Any]:
    """The JSON response for a number, with its layers' values if there is an explainer.

    Feature maps are the largest part of it. So they are in it once: at the top level for a single digit, and with each
    of several digits.
    """
    response = describe_number(number)
    if classifier.class_names != DIGITS:
        response["classes"] = list(classifier.class_names)
    for entry, digit in zip(response["digits"], number.digits):
        image = (digit.image * 255).round().astype(int)
        entry["image"] = image.tolist()
        if explainer:
            owner = response if len(number.digits) == 1 else entry
            # Of the image in the response, so that they are those of the routes under /v1/explain to the last bit.
            owner["maps"] = explain.encode_layers(explainer.compute(np.divide(image, 255, dtype=np.float32)))
    if len(number.digits) == 1:
        response["image"] = response["digits"][0]["image"]
    return response
