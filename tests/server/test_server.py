"""The HTTP server end to end: scripts/serve.py in its own process, with requests over real connections."""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawings import draw_strokes, encode_image, paint
from helpers import one_line_error
from PIL import Image
from server_process import JSON, PREDICT, Server, read_response, send_request

from mnist_cnn import Classifier, prepare, restore_run, train

PNG = {"Content-Type": "image/png"}
JPEG = {"Content-Type": "image/jpeg"}
BUSY = 503, {"error": "another large request is being read: try again in a few seconds"}


def encode_post(path, body):
    """The bytes of a POST request."""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs /proc, which only Linux has")
needs_posix_signals = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT and SIGTERM to a process")
SEVEN = encode_image(paint(draw_strokes(7), (0, 0, 0), (255, 255, 255)))
NUMBER = encode_image(paint(draw_strokes("007", size=60, image_size=(200, 120)), (0, 0, 0), (255, 255, 255)))
MAP_SHAPES = {"pool1": [14, 14, 32], "pool2": [7, 7, 64], "dense": [256]}


@pytest.fixture(scope="module")
def images(sample):
    return (sample.test.images[:3] / 255).tolist()


@pytest.fixture(scope="module")
def expected(run, images):
    with Classifier.load(run) as classifier:
        return classifier.predict(np.array(images))


def test_status_and_metadata_have_tensorflow_servings_form(server):
    version = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/mnist", "/v1/models/mnist/versions/1"):
        assert server.request("GET", path) == (200, {"model_version_status": [version]})
    status, response = server.request("GET", "/v1/models/mnist/metadata")
    assert status == 200 and response["model_spec"] == {"name": "mnist", "signature_name": "", "version": "1"}
    signature = response["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    tensors = {**signature["inputs"], **signature["outputs"]}
    assert {name: info["dtype"] for name, info in tensors.items()} == {
        "images": "DT_FLOAT",
        "classes": "DT_INT64",
        "probabilities": "DT_FLOAT",
    }
    assert [dimension["size"] for dimension in tensors["images"]["tensor_shape"]["dim"]] == ["-1", "28", "28", "1"]
    assert server.request("GET", "/healthz")[0] == 200


def test_predict_by_rows_has_tensorflow_servings_form(server, images, expected):
    for instances in (images, [{"images": image} for image in images]):
        status, response = server.predict({"signature_name": "serving_default", "instances": instances})
        assert status == 200
        assert [row["classes"] for row in response["predictions"]] == expected.classes.tolist()
        probabilities = [row["probabilities"] for row in response["predictions"]]
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-6)


def test_predict_by_columns_has_tensorflow_servings_form(server, images, expected):
    for inputs in (images, {"images": images}):
        status, response = server.predict({"inputs": inputs})
        assert status == 200 and response["outputs"]["classes"] == expected.classes.tolist()
        np.testing.assert_allclose(response["outputs"]["probabilities"], expected.probabilities, atol=1e-6)
    assert server.request("POST", "/v1/models/mnist/versions/1:predict", json.dumps({"inputs": images}))[0] == 200


def image_with(pixel):
    """A black image [28, 28, 1] as nested lists, with `pixel` in the first place."""
    return [[[pixel]] + [[0]] * 27] + [[[0]] * 28] * 27


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "JSON Parse error"),
        ("{", "JSON Parse error"),
        (b"\xff\xfe{}", "JSON Parse error"),
        ("[" * 100000, "JSON Parse error"),
        ("[]", "must be a JSON object"),
        ({}, "must have either 'instances' or 'inputs'"),
        ({"instances": [], "inputs": []}, "must have either 'instances' or 'inputs'"),
        ({"instances": []}, "must be a non-empty list"),
        ({"instances": 1}, "must be a non-empty list"),
        ({"instances": [image_with(0), {"images": image_with(0)}]}, "must be either all lists, or all objects"),
        ({"instances": [{"pixels": image_with(0)}]}, "must be either all lists, or all objects"),
        ({"inputs": {"pixels": [image_with(0)]}}, "Missing named input: images"),
        ({"inputs": []}, "have shape [0]: it must be [N, 28, 28, 1]"),
        ({"inputs": image_with(0)}, "have shape [28, 28, 1]"),
        ({"instances": [image_with(0)[:27]]}, "have shape [1, 27, 28, 1]"),
        ({"instances": [image_with(0), image_with(0)[:27]]}, "contain lists of different lengths"),
        ({"instances": [image_with("0")]}, "contain a string"),
        ({"instances": [image_with(True)]}, "contain true or false"),
        ({"instances": [image_with(None)]}, "contain null"),
        ({"instances": [image_with({"b64": "AAAA"})]}, "contain an object"),
        ({"instances": [image_with(float("nan"))]}, "must be in [0, 1]"),
        ({"instances": [image_with(float("inf"))]}, "must be in [0, 1]"),
        ({"instances": [image_with(255)]}, "must be in [0, 1]"),
        (json.dumps({"instances": [image_with(0)]}).replace("[[0]", "[[" + "9" * 500000 + "]", 1), "must be in [0, 1]"),
        ({"signature_name": "other", "instances": [image_with(0)]}, 'signature name: "other" not found'),
    ],
    ids=str,
)
def test_an_invalid_request_gets_status_400_and_the_reason(server, content, reason):
    status, response = server.predict(content)
    assert status == 400 and list(response) == ["error"] and reason in response["error"], response


def test_an_unknown_model_version_or_path_is_reported(server):
    not_found = {"error": "Servable not found for request: Latest(half)"}
    assert server.request("POST", "/v1/models/half:predict", "{}") == (404, not_found)
    assert server.request("GET", "/v1/models/half") == (404, not_found)
    assert server.request("POST", "/v1/models/mnist/versions/2:predict", "{}")[0] == 404
    assert server.request("GET", "/v1/models/mnist/versions/" + "9" * 5000)[0] == 404
    assert server.request("GET", PREDICT) == (400, {"error": f"Malformed request: GET {PREDICT}"})
    assert server.request("GET", "/nothing")[0] == 404
    assert server.request("GET", "/static/../app.py")[0] == 404
    assert server.request("DELETE", "/v1/digits")[0] == 405


def test_an_image_file_gets_the_classifiers_prediction(server, run):
    status, response = server.request("POST", "/v1/digits", SEVEN, PNG)
    digit = prepare(io.BytesIO(SEVEN))
    with Classifier.load(run) as classifier:
        (digit_class,), (probabilities,) = classifier.predict(digit)
    assert status == 200 and response["class"] == digit_class
    assert response["probability"] == max(response["probabilities"])
    np.testing.assert_allclose(response["probabilities"], probabilities, atol=1e-6)
    assert response["image"] == (digit * 255).round().astype(int).tolist()
    assert response["text"] == str(digit_class)
    (entry,) = response["digits"]
    left, top, right, bottom = entry.pop("box")
    assert 0 < left < right < 200 and 0 < top < bottom < 200
    assert entry == {key: response[key] for key in ("class", "probability", "probabilities", "image")}
    jpeg = encode_image(Image.open(io.BytesIO(SEVEN)), "JPEG")
    assert server.request("POST", "/v1/digits", jpeg, {"Content-Type": "image/jpeg"})[0] == 200
    blank = encode_image(Image.new("L", (50, 50), 200))
    assert server.request("POST", "/v1/digits", blank, PNG) == (200, {"class": None, "text": "", "digits": []})


def test_a_number_gets_its_text_and_each_digits_prediction(server, run):
    with Classifier.load(run) as classifier:
        number = classifier.read_number(io.BytesIO(NUMBER))
    assert len(number.digits) == 3
    status, response = server.request("POST", "/v1/digits", NUMBER, PNG)
    assert status == 200 and set(response) == {"class", "probability", "text", "digits"}
    assert response["class"] is None and response["text"] == number.text
    assert response["probability"] == pytest.approx(number.probability)
    for entry, digit in zip(response["digits"], number.digits):
        assert set(entry) == {"class", "probability", "probabilities", "box", "image"}
        assert entry["class"] == digit.digit_class and entry["box"] == list(digit.box)
        np.testing.assert_allclose(entry["probabilities"], digit.probabilities, atol=1e-6)
        assert entry["image"] == (digit.image * 255).round().astype(int).tolist()
    _, with_maps = server.request("POST", "/v1/digits?maps=1", NUMBER, PNG)
    assert "maps" not in with_maps
    for entry in with_maps["digits"]:
        assert {layer: maps["shape"] for layer, maps in entry["maps"].items()} == MAP_SHAPES


def test_maps_are_the_layers_of_the_image_in_the_response_as_bytes(server, run):
    status, response = server.request("POST", "/v1/digits?maps=1", SEVEN, PNG)
    image = np.array(response["image"], np.float32) / 255
    with restore_run(run) as (session, model):
        expected = {
            layer: batch[0]
            for layer, batch in session.run(model.activations, {model.images: image[None, ..., None]}).items()
        }
    assert {layer: maps["shape"] for layer, maps in response["maps"].items()} == MAP_SHAPES
    assert "maps" not in response["digits"][0]
    for layer, maps in response["maps"].items():
        values = np.frombuffer(base64.b64decode(maps["values"]), np.uint8).reshape(maps["shape"])
        np.testing.assert_allclose(values / 255, expected[layer] / expected[layer].max(), atol=0.51 / 255)


def test_a_body_that_is_not_a_png_or_jpeg_image_is_rejected(server):
    def post(body, content_type):
        status, response = server.request("POST", "/v1/digits", body, {"Content-Type": content_type})
        (line,) = response["error"].splitlines()
        return status, line

    assert post(SEVEN, "text/plain") == (415, "the body must be an image, with Content-Type image/png or image/jpeg")
    assert post(SEVEN, "image/jpeg") == (400, "the image is not image/jpeg")
    assert post(b"", "image/png") == (400, "the image is not image/png")
    assert post(SEVEN[:200], "image/png")[0] == 400
    gif = encode_image(Image.new("L", (50, 50)), "GIF")
    assert post(gif, "image/gif")[0] == 415 and post(gif, "image/png")[0] == 400
    form = b'--a\r\nContent-Disposition: form-data; name="b"; filename="c"\r\n\r\n' + SEVEN + b"\r\n--a--\r\n"
    assert post(form, "multipart/form-data; boundary=a")[0] == 415


def test_too_large_bodies_are_rejected_in_every_encoding(server):
    too_large = 413, {"error": "the body has over 8,000,000 bytes"}
    # http.client sends all of this before it reads the response.
    assert server.request("POST", PREDICT, b" " * 9_000_000) == too_large
    assert server.send_raw(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n") == too_large
    assert server.predict(json.dumps({"inputs": []}).ljust(8_000_000))[0] == 400  # exactly 8 MB is accepted
    too_large = 413, {"error": "the body has over 1,000,000 bytes"}  # without a Content-Length
    chunks = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    assert server.send_raw(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 11 * chunks) == too_large
    assert server.send_raw(b"POST /v1/digits HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 11 * chunks) == too_large
    too_large = 413, {"error": "the body has over 67,108,864 bytes"}
    assert server.send_raw(b"POST /v1/digits HTTP/1.1\r\nContent-Length: 67108865\r\n\r\n") == too_large


def test_250_images_are_predicted_and_one_large_body_is_received_at_a_time(server, images, expected):
    body = json.dumps({"instances": (images * 84)[:250]}).encode()
    assert len(body) > 1_500_000
    with server.open_socket() as first:
        first.sendall(encode_post(PREDICT, body)[:-10])
        with server.open_socket() as second:
            second.sendall(encode_post(PREDICT, body))
            with contextlib.closing(http.client.HTTPResponse(second)) as response:
                response.begin()
                assert response.status == 503 and int(response.getheader("Retry-After")) > 0
                assert json.loads(response.read().decode()) == BUSY[1]
        assert server.predict({"inputs": images[:1]})[0] == 200  # small requests do not wait
        first.sendall(body[-10:])
        status, response = read_response(first)
    assert status == 200 and len(response["predictions"]) == 250
    assert [row["classes"] for row in response["predictions"][:3]] == expected.classes.tolist()


@pytest.mark.slow
def test_max_body_sets_the_limit_of_a_body(run, script):
    with Server(run, "--max-body", 2) as server:
        assert server.predict(json.dumps({"inputs": []}).ljust(2_000_000))[0] == 400
        too_large = 413, {"error": "the body has over 2,000,000 bytes"}
        assert server.send_raw(encode_post(PREDICT, b" " * 2_000_001)) == too_large
    line = one_line_error(script("serve.py", "--run-dir", run, "--max-body", 0), 2)
    assert line == "serve.py: error: max-body is 0: it must be a whole number, in 1..64"


def draw_large(mode, size):
    """Draws a black 7 on white, in a large image."""
    return Image.fromarray(255 - draw_strokes(7, size=min(size) * 6 // 10, image_size=size)).convert(mode)


def test_one_large_image_is_received_at_a_time_and_others_do_not_wait_for_it(server):
    photo = encode_image(draw_large("RGB", (8000, 6000)), "JPEG").ljust(2_000_000, b"\0")
    upload = b"POST /v1/digits HTTP/1.1\r\nContent-Type: image/jpeg\r\nContent-Length: 2000000\r\n\r\n" + photo
    with server.open_socket() as first:
        first.sendall(upload[:-1])
        assert server.request("POST", "/v1/digits", photo, JPEG) == BUSY
        # The client is not asked to send a body that will be refused.
        assert server.send_raw(upload[: -len(photo)].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")) == BUSY
        assert server.request("POST", "/v1/digits", SEVEN, PNG)[0] == 200
        first.sendall(upload[-1:])
        status, response = read_response(first)
        assert status == 200
        assert response["image"] == (prepare(io.BytesIO(photo)) * 255).round().astype(int).tolist()
    with server.open_socket() as aborted:
        aborted.sendall(upload[:-1])
    deadline = time.monotonic() + 20
    while server.request("POST", "/v1/digits", photo, JPEG)[0] == 503:  # until the server has seen the disconnection
        assert time.monotonic() < deadline


def test_an_image_that_needs_too_much_memory_beside_tensorflow_is_refused(server):
    file = io.BytesIO()
    frames = [draw_large("L", (3742, 3742)), Image.new("L", (3742, 3742))]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], compress_level=1)
    status, response = server.request("POST", "/v1/digits", file.getvalue(), PNG)
    assert status == 400 and "more than the 14,000,000 of animated PNG images" in response["error"]


@pytest.mark.slow
@needs_proc
def test_several_large_images_at_once_need_less_than_1_gb(run):
    strokes = draw_large("L", (6000, 6000))
    scan, photo = io.BytesIO(), io.BytesIO()
    Image.merge("RGBA", [strokes, strokes, strokes, strokes]).save(scan, "PNG", compress_level=1)
    draw_large("RGB", (8000, 6250)).save(photo, "JPEG", progressive=True)
    largest_body = photo.getvalue().ljust(2**26, b"\0")
    uploads = [(scan.getvalue(), PNG), (photo.getvalue(), JPEG), (largest_body, JPEG)]
    with Server(run) as server, ThreadPoolExecutor(8) as executor:

        def post(upload):
            return server.request("POST", "/v1/digits", *upload)

        assert post((SEVEN, PNG))[0] == 200
        memory_before = server.get_memory_mb()
        for upload in uploads * 4:
            large = [executor.submit(post, upload) for _ in range(4)]
            assert all(status == 200 for status, _ in executor.map(post, [(SEVEN, PNG)] * 4))
            responses = [future.result() for future in large]
            assert any(status == 200 for status, _ in responses)
            assert all(status == 200 or (status, response) == BUSY for status, response in responses)
        assert server.get_memory_mb("VmHWM") * 2**20 < 10**9
        assert post((scan.getvalue(), PNG))[0] == 200
        assert server.get_memory_mb() < memory_before + 100  # the images' memory is returned to the system


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"\r\n", None),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\na b: c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", (400, 413)),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 20000 + b"\r\n\r\n", 431),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_malformed_http_is_rejected_and_the_server_continues(server, request_, status):
    if status:
        actual_status, response = server.send_raw(request_)
        assert actual_status in np.atleast_1d(status) and list(response) == ["error"]
    else:
        with server.open_socket() as connection:
            connection.sendall(request_)
    assert server.request("GET", "/healthz")[0] == 200


def test_the_page_loads_only_this_servers_files_and_has_no_inline_scripts(server):
    connection = server.open_connection()
    connection.request("GET", "/")
    response = connection.getresponse()
    text = response.read().decode()
    assert response.status == 200 and response.getheader("Content-Type").startswith("text/html")
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', text):
        connection.request("GET", f"/{name}")
        response = connection.getresponse()
        assert response.status == 200 and response.read(), name
        assert re.search(r"javascript|css", response.getheader("Content-Type")), name


def test_a_port_in_use_is_a_one_line_error_with_a_hint(server, run, script):
    line = one_line_error(script("serve.py", "--run-dir", run, "--port", server.port), 2)
    assert f"cannot listen at 127.0.0.1, port {server.port} " in line
    assert os.name == "nt" or "(Address already in use)" in line
    assert "--host or --port" in line


def test_an_invalid_port_is_a_one_line_error(run, script):
    line = one_line_error(script("serve.py", "--run-dir", run, "--port", 99999), 2)
    assert "port is 99999" in line and "0..65535" in line


@pytest.mark.slow
def test_the_core_does_not_need_flask(python):
    output = python(
        "import sys; sys.modules['flask'] = sys.modules['waitress'] = None\n"
        "from mnist_cnn import *\n"
        "try: import mnist_cnn.server.app\n"
        "except ImportError as error: print(error)"
    )
    assert output == "to serve, pip install '.[serve]'\n"


@pytest.mark.slow
def test_an_exported_model_and_a_model_without_maps_are_served(run, small, tmp_path, images):
    with Classifier.load(run) as classifier:
        for _ in range(2):
            classifier.export(tmp_path / "model")
    with Server(tmp_path / "model") as server:
        assert server.request("GET", "/v1/models/mnist")[1]["model_version_status"][0]["version"] == "2"
        assert server.request("POST", "/v1/models/mnist/versions/2:predict", json.dumps({"inputs": images}))[0] == 200
        assert set(server.request("POST", "/v1/digits?maps=1", SEVEN, PNG)[1]["maps"]) == set(MAP_SHAPES)
    train(small, tmp_path / "mlp", model="mlp", max_steps=1)
    with Server(tmp_path / "mlp") as server:
        status, response = server.request("POST", "/v1/digits?maps=1", SEVEN, PNG)
        assert status == 200 and "maps" not in response


@pytest.mark.slow
def test_a_slow_request_times_out_without_delaying_others(server):
    started_at = time.monotonic()
    with server.open_socket() as body, server.open_socket() as head:
        body.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        head.sendall(b"GET / HTTP/1.1\r\na: ")
        for connection in (body, head):
            connection.settimeout(0.2)
        answered = set()
        while len(answered) < 2:  # a byte every 0.2 s, so that a timeout for inactivity would never expire
            assert time.monotonic() < started_at + 20
            for connection in {body, head} - answered:
                with contextlib.suppress(socket.timeout):
                    connection.sendall(b"x")
                    if connection.recv(1, socket.MSG_PEEK):
                        answered.add(connection)
            assert server.request("GET", "/healthz")[0] == 200
        assert time.monotonic() > started_at + 9
        for connection in (body, head):
            connection.settimeout(30)
            status, response = read_response(connection)
            assert status == 408 and "not complete after 10 seconds" in response["error"]


CLOCK_SET_BACK = """
import socket, threading, time
from mnist_cnn.server.http import Server
server = Server(lambda environ, start_response: [], "127.0.0.1", 0)
threading.Thread(target=server.run, daemon=True).start()
with socket.create_connection(("127.0.0.1", server.effective_port), timeout=20) as connection:
    connection.sendall(b"GET /absent")
    now = time.time
    time.time = lambda: now() - 3600
    print(connection.recv(12))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_an_incomplete_request_times_out_although_the_clock_is_set_back(python):
    assert python(CLOCK_SET_BACK) == "b'HTTP/1.0 408'\n"


@pytest.mark.slow
@needs_posix_signals
@pytest.mark.usefixtures("tensorflow_1")
def test_sigterm_during_requests_loses_none_however_long_they_take(run, images):
    body = json.dumps({"inputs": (images * 30)[:80]}).encode()
    with Server(run) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.open_socket()) for _ in range(102)]
        unfinished, idle = connections[0], connections[1]
        idle.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert read_response(idle)[0] == 200
        unfinished.sendall(encode_post(PREDICT, body)[:-10])
        for connection in connections[2:]:  # more than most machines answer in REQUEST_TIMEOUT_SECS
            connection.sendall(encode_post(PREDICT, body))
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        with pytest.raises(OSError):
            server.open_socket()
        unfinished.sendall(body[-10:])
        for connection in [*connections[2:], unfinished]:
            status, response = read_response(connection)
            assert status == 200 and len(response["outputs"]["classes"]) == 80
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, err) == (0, "")


@pytest.mark.slow
@needs_posix_signals
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_idle_server_at_once(run, signum):
    with Server(run) as server, server.open_socket() as silent:
        assert server.request("GET", "/healthz")[0] == 200
        server.process.send_signal(signum)
        assert silent.recv(1) == b""
        out, err = server.process.communicate(timeout=10)
        assert (server.process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
@needs_proc
@pytest.mark.usefixtures("tensorflow_2")
def test_5000_requests_on_128_connections_are_answered_without_leaking_memory(server, images, expected):
    request = encode_post(PREDICT, json.dumps({"inputs": images[:1]}).encode())
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.open_socket()) for _ in range(128)]
        for number in range(40):
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                status, response = read_response(connection)
                assert status == 200 and response["outputs"]["classes"] == expected.classes[:1].tolist()
            if number == 10:
                memory_before = server.get_memory_mb()
    assert server.get_memory_mb() < memory_before + 20


@pytest.mark.slow
@needs_proc
@pytest.mark.usefixtures("tensorflow_2")
def test_10000_fuzzed_bodies_are_answered_without_leaking_memory(server, images):
    originals = [
        (PREDICT, JSON, json.dumps({"instances": images[:1]}).encode()),
        (PREDICT, JSON, json.dumps({"inputs": {"images": images[:1]}}).encode()),
        (PREDICT, JSON, b'{"signature_name": "serving_default", "instances": [{"images": [[[0.5]]]}]}'),
        (PREDICT, JSON, b'{"inputs": [[1, 2], {"b64": "AA=="}, null, true, 1e9, -0.5, "\\ud800"]}'),
        ("/v1/digits?maps=1", PNG, SEVEN),
    ]
    random = np.random.RandomState(1)
    tokens = [b"[", b"]", b"{", b"}", b",", b'"', b"NaN", b"-Infinity", b"1e999", b"null", b"\x00", b"\xff", b"\\u"]
    with ThreadPoolExecutor(4) as pool:  # malloc keeps memory for each of the server's threads: let them reach it first
        for status, _ in pool.map(lambda _: server.request("POST", "/v1/digits?maps=1", SEVEN, PNG), range(300)):
            assert status == 200
    connection, statuses = server.open_connection(), []
    for number in range(10000):
        path, headers, body = originals[number % len(originals)]
        body = bytearray(body)
        for _ in range(random.randint(1, 4)):
            position = random.randint(len(body))
            token = tokens[random.randint(len(tokens))] if random.rand() < 0.7 else bytes([random.randint(256)])
            body[position : position + random.randint(3)] = token
        if random.rand() < 0.2:
            del body[random.randint(len(body)) :]
        status, response = send_request(connection, "POST", path, bytes(body), headers)
        if status != 200:
            assert status == 400 and list(response) == ["error"] and "\n" not in response["error"], response
        statuses.append(status)
        if number == 4000:
            memory_before = server.get_memory_mb()
    assert 50 < statuses.count(200) < 9000
    assert server.get_memory_mb() < memory_before + 15
    assert server.process.poll() is None


@pytest.mark.slow
@needs_proc
def test_aborted_and_malformed_requests_leak_no_file_descriptors(server):
    random = np.random.RandomState(2)
    whole = encode_post(PREDICT, b'{"inputs": [1]}')
    open_files = f"/proc/{server.process.pid}/fd"
    num_before = len(os.listdir(open_files))
    for _ in range(500):
        with server.open_socket() as connection:
            if random.rand() < 0.5:  # close with a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            altered = bytearray(whole[: random.randint(len(whole) + 1)])
            for _ in range(random.randint(3)):
                position = random.randint(len(altered) + 1)
                altered[position : position + 1] = bytes([random.randint(256)])
            connection.sendall(altered)
    deadline = time.monotonic() + 20
    while len(os.listdir(open_files)) > num_before + 2:
        assert time.monotonic() < deadline
        assert server.request("GET", "/healthz")[0] == 200
