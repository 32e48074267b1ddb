"""The server as its clients see it: scripts/serve.py in a process of its own, asked over real connections."""

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
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, environment
from drawings import ink, painted
from PIL import Image

from mnist_cnn import Classifier, Recipe, prepare, train

PREDICT = "/v1/models/mnist:predict"
JSON = {"Content-Type": "application/json"}
PNG = {"Content-Type": "image/png"}


class Server:
    """`with Server(...) as server:` it answers at server.port."""

    def __init__(self, run):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "serve.py"), "--run-dir", str(run), "--port", "0"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )

    def __enter__(self):
        said = self.process.stdout.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", said), self.process.communicate()
        self.port = int(said.rstrip("/\n").rpartition(":")[2])
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, method, path, body=None, headers={}):
        """(status, what the JSON says)"""
        return ask(self.connect(), method, path, body, headers)

    def predict(self, said):
        return self.ask("POST", PREDICT, said if isinstance(said, (bytes, str)) else json.dumps(said), JSON)

    def megabytes(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def ask(connection, method, path, body=None, headers={}):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "application/json"
    return answer.status, json.loads(answer.read().decode())


def raw(server, content):
    """(status, what the JSON says) to bytes as they are, after which the server closes."""
    with server.socket() as connection:
        connection.sendall(content)
        return answer_of(connection)


def answer_of(connection):
    with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
        answer.begin()
        return answer.status, json.loads(answer.read().decode())


def post(path, body, headers=""):
    """A request, as bytes."""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def picture(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


SEVEN = picture(painted(ink(7), (0, 0, 0), (255, 255, 255)))


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(sample, folder, Recipe(1, 100, 0.003, 0.8, initial_weights="he"), max_steps=20)
    return folder


@pytest.fixture(scope="module")
def server(run):
    with Server(run) as server:
        yield server


@pytest.fixture(scope="module")
def images(sample):
    return (sample.test.images[:3] / 255).tolist()


@pytest.fixture(scope="module")
def expected(run, images):
    with Classifier.load(run) as classifier:
        return classifier.predict(np.array(images))


def test_it_says_what_it_serves_as_tensorflow_serving_does(server):
    version = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/mnist", "/v1/models/mnist/versions/1"):
        assert server.ask("GET", path) == (200, {"model_version_status": [version]})
    status, said = server.ask("GET", "/v1/models/mnist/metadata")
    assert status == 200 and said["model_spec"] == {"name": "mnist", "signature_name": "", "version": "1"}
    signature = said["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    tensors = {**signature["inputs"], **signature["outputs"]}
    assert {name: info["dtype"] for name, info in tensors.items()} == {
        "images": "DT_FLOAT",
        "classes": "DT_INT64",
        "probabilities": "DT_FLOAT",
    }
    assert [size["size"] for size in tensors["images"]["tensor_shape"]["dim"]] == ["-1", "28", "28", "1"]
    assert server.ask("GET", "/healthz")[0] == 200


def test_a_client_of_tensorflow_serving_gets_its_answers_by_rows(server, images, expected):
    for instances in (images, [{"images": image} for image in images]):
        status, said = server.predict({"signature_name": "serving_default", "instances": instances})
        assert status == 200
        assert [row["classes"] for row in said["predictions"]] == expected.classes.tolist()
        probabilities = [row["probabilities"] for row in said["predictions"]]
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-6)


def test_and_by_columns(server, images, expected):
    for inputs in (images, {"images": images}):
        status, said = server.predict({"inputs": inputs})
        assert status == 200 and said["outputs"]["classes"] == expected.classes.tolist()
        np.testing.assert_allclose(said["outputs"]["probabilities"], expected.probabilities, atol=1e-6)
    assert server.ask("POST", "/v1/models/mnist/versions/1:predict", json.dumps({"inputs": images}))[0] == 200


def image_with(pixel):
    return [[[pixel]] + [[0]] * 27] + [[[0]] * 28] * 27


@pytest.mark.parametrize(
    "said, why",
    [
        ("", "JSON Parse error"),
        ("{", "JSON Parse error"),
        (b"\xff\xfe{}", "JSON Parse error"),
        ("[" * 100000, "JSON Parse error"),
        ("[]", "must be a JSON object"),
        ({}, "either 'instances' or 'inputs'"),
        ({"instances": [], "inputs": []}, "either 'instances' or 'inputs'"),
        ({"instances": []}, "must be a list that is not empty"),
        ({"instances": 1}, "must be a list that is not empty"),
        ({"instances": [image_with(0), {"images": image_with(0)}]}, "each of the 'instances'"),
        ({"instances": [{"pictures": image_with(0)}]}, "each of the 'instances'"),
        ({"inputs": {"pictures": [image_with(0)]}}, "Missing named input: images"),
        ({"inputs": []}, "have shape [0]: it must be [N, 28, 28, 1]"),
        ({"inputs": image_with(0)}, "have shape [28, 28, 1]"),
        ({"instances": [image_with(0)[:27]]}, "have shape [1, 27, 28, 1]"),
        ({"instances": [image_with(0), image_with(0)[:27]]}, "lists of different lengths"),
        ({"instances": [image_with("0")]}, "hold a string"),
        ({"instances": [image_with(True)]}, "hold true or false"),
        ({"instances": [image_with(None)]}, "hold null"),
        ({"instances": [image_with({"b64": "AAAA"})]}, "hold an object"),
        ({"instances": [image_with(float("nan"))]}, "must be in [0, 1]"),
        ({"instances": [image_with(float("inf"))]}, "must be in [0, 1]"),
        ({"instances": [image_with(255)]}, "must be in [0, 1]"),
        (json.dumps({"instances": [image_with(0)]}).replace("[[0]", "[[" + "9" * 500000 + "]", 1), "must be in [0, 1]"),
        ({"signature_name": "other", "instances": [image_with(0)]}, 'signature name: "other" not found'),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_request_is_said_with_status_400(server, said, why):
    status, answer = server.predict(said)
    assert status == 400 and list(answer) == ["error"] and why in answer["error"], answer


def test_what_is_not_there_is_said(server):
    not_found = {"error": "Servable not found for request: Latest(half)"}
    assert server.ask("POST", "/v1/models/half:predict", "{}") == (404, not_found)
    assert server.ask("GET", "/v1/models/half") == (404, not_found)
    assert server.ask("POST", "/v1/models/mnist/versions/2:predict", "{}")[0] == 404
    assert server.ask("GET", "/v1/models/mnist/versions/" + "9" * 5000)[0] == 404
    assert server.ask("GET", PREDICT) == (400, {"error": f"Malformed request: GET {PREDICT}"})
    assert server.ask("GET", "/nothing")[0] == 404
    assert server.ask("GET", "/static/../app.py")[0] == 404
    assert server.ask("DELETE", "/v1/digits")[0] == 405


def test_a_picture_is_read_as_the_classifier_reads_it(server, run):
    status, said = server.ask("POST", "/v1/digits", SEVEN, PNG)
    digit = prepare(io.BytesIO(SEVEN))
    with Classifier.load(run) as classifier:
        (digit_class,), (probabilities,) = classifier.predict(digit)
    assert status == 200 and said["class"] == digit_class and said["probability"] == max(said["probabilities"])
    np.testing.assert_allclose(said["probabilities"], probabilities, atol=1e-6)
    assert said["image"] == (digit * 255).round().astype(int).tolist()
    jpeg = picture(Image.open(io.BytesIO(SEVEN)), "JPEG")
    assert server.ask("POST", "/v1/digits", jpeg, {"Content-Type": "image/jpeg"})[0] == 200
    blank = picture(Image.new("L", (50, 50), 200))
    assert server.ask("POST", "/v1/digits", blank, PNG) == (200, {"class": None})


def test_maps_show_where_each_filter_finds_what_it_looks_for(server, run):
    status, said = server.ask("POST", "/v1/digits?maps=1", SEVEN, PNG)
    with Classifier.load(run) as classifier:
        expected = classifier.feature_maps(prepare(io.BytesIO(SEVEN)))
    shapes = {block: maps["shape"] for block, maps in said["maps"].items()}
    assert shapes == {"conv1": [14, 14, 32], "conv2": [7, 7, 64]}
    for block, maps in said["maps"].items():
        values = np.frombuffer(base64.b64decode(maps["values"]), np.uint8).reshape(maps["shape"])
        np.testing.assert_allclose(values / 255, expected[block] / expected[block].max(), atol=0.51 / 255)


def test_what_is_no_picture_is_refused(server):
    def answer(body, kind):
        status, said = server.ask("POST", "/v1/digits", body, {"Content-Type": kind})
        (line,) = said["error"].splitlines()
        return status, line

    assert answer(SEVEN, "text/plain") == (415, "the body must be a picture, with Content-Type image/png or image/jpeg")
    assert answer(SEVEN, "image/jpeg") == (400, "the picture is not image/jpeg")
    assert answer(b"", "image/png") == (400, "the picture is not image/png")
    assert answer(SEVEN[:200], "image/png")[0] == 400
    gif = picture(Image.new("L", (50, 50)), "GIF")
    assert answer(gif, "image/gif")[0] == 415 and answer(gif, "image/png")[0] == 400
    form = b'--a\r\nContent-Disposition: form-data; name="b"; filename="c"\r\n\r\n' + SEVEN + b"\r\n--a--\r\n"
    assert answer(form, "multipart/form-data; boundary=a")[0] == 415


def test_bodies_of_over_1_mb_are_refused_however_they_come(server):
    too_large = 413, {"error": "the body has over 1,000,000 bytes"}
    assert server.ask("POST", PREDICT, b" " * 3_000_000) == too_large  # sent in full before the answer is read
    assert raw(server, b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n") == too_large
    chunks = b"186a0\r\n" + b" " * 100_000 + b"\r\n"
    assert raw(server, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 11 * chunks) == too_large
    assert server.predict(json.dumps({"inputs": []}).ljust(1_000_000))[0] == 400  # exactly 1 MB is read


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
def test_bad_http_is_refused_and_the_server_lives(server, request_, status):
    if status:
        found, said = raw(server, request_)
        assert found in np.atleast_1d(status) and list(said) == ["error"]
    else:
        with server.socket() as connection:
            connection.sendall(request_)
    assert server.ask("GET", "/healthz")[0] == 200


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(server):
    connection = server.connect()
    connection.request("GET", "/")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/html")
    policy = answer.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
        connection.request("GET", name)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read(), name


def test_a_port_in_use_is_one_line(server, run, script):
    done = script("serve.py", "--run-dir", run, "--port", server.port)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot listen at 127.0.0.1, port {server.port} (Address already in use)" in line


def test_a_port_that_cannot_be_is_one_line(run, script):
    done = script("serve.py", "--run-dir", run, "--port", 99999)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert "port is 99999" in line and "0..65535" in line


def test_the_core_does_not_need_flask(python):
    said = python(
        "import sys; sys.modules['flask'] = sys.modules['waitress'] = None\n"
        "from mnist_cnn import *\n"
        "try: import mnist_cnn.server.app\n"
        "except ImportError as error: print(error)"
    )
    assert said == "to serve, pip install '.[serve]'\n"


@pytest.mark.slow
def test_an_exported_model_and_one_without_maps_are_served(run, small, tmp_path, images):
    with Classifier.load(run) as classifier:
        for _ in range(2):
            classifier.export(tmp_path / "model")
    with Server(tmp_path / "model") as server:
        assert server.ask("GET", "/v1/models/mnist")[1]["model_version_status"][0]["version"] == "2"
        assert server.ask("POST", "/v1/models/mnist/versions/2:predict", json.dumps({"inputs": images}))[0] == 200
        assert set(server.ask("POST", "/v1/digits?maps=1", SEVEN, PNG)[1]["maps"]) == {"conv1", "conv2"}
    train(small, tmp_path / "mlp", model="mlp", max_steps=1)
    with Server(tmp_path / "mlp") as server:
        status, said = server.ask("POST", "/v1/digits?maps=1", SEVEN, PNG)
        assert status == 200 and "maps" not in said


@pytest.mark.slow
def test_a_trickled_request_ends_with_its_deadline_and_holds_nobody_up(server):
    start = time.monotonic()
    with server.socket() as body, server.socket() as head:
        body.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        head.sendall(b"GET / HTTP/1.1\r\na: ")
        for connection in (body, head):
            connection.settimeout(0.2)
        answered = set()
        while len(answered) < 2:  # a byte each fifth of a second, which a time-out for silence would allow for ever
            assert time.monotonic() < start + 20
            for connection in {body, head} - answered:
                with contextlib.suppress(socket.timeout):
                    connection.sendall(b"x")
                    if connection.recv(1, socket.MSG_PEEK):
                        answered.add(connection)
            assert server.ask("GET", "/healthz")[0] == 200
        assert time.monotonic() > start + 9
        for connection in (body, head):
            connection.settimeout(30)
            status, said = answer_of(connection)
            assert status == 408 and "not complete after 10 seconds" in said["error"]


@pytest.mark.slow
def test_sigterm_in_the_middle_of_requests_loses_none(run, images):
    many = json.dumps({"inputs": (images * 30)[:80]}).encode()
    with Server(run) as server, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.socket()) for _ in range(40)]
        unfinished, idle = connections[0], connections[1]
        idle.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert answer_of(idle)[0] == 200
        unfinished.sendall(post(PREDICT, many)[:-10])
        for connection in connections[2:]:
            connection.sendall(post(PREDICT, many))
        server.process.send_signal(signal.SIGTERM)
        for connection in connections[2:]:
            status, said = answer_of(connection)
            assert status == 200 and len(said["outputs"]["classes"]) == 80
        assert idle.recv(1) == b""
        with pytest.raises(OSError):
            server.socket()
        unfinished.sendall(many[-10:])
        assert answer_of(unfinished)[0] == 200
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_idle_server_at_once(run, signum):
    with Server(run) as server, server.socket() as silent:
        assert server.ask("GET", "/healthz")[0] == 200
        server.process.send_signal(signum)
        assert silent.recv(1) == b""
        out, err = server.process.communicate(timeout=10)
        assert (server.process.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_5000_requests_of_128_connections_are_answered_and_leave_nothing(server, images, expected):
    question = post(PREDICT, json.dumps({"inputs": images[:1]}).encode())
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.socket()) for _ in range(128)]
        for number in range(40):
            for connection in connections:
                connection.sendall(question)
            for connection in connections:
                status, said = answer_of(connection)
                assert status == 200 and said["outputs"]["classes"] == expected.classes[:1].tolist()
            if number == 10:
                before = server.megabytes()
    assert server.megabytes() < before + 20


@pytest.mark.slow
def test_10000_fuzzed_bodies_are_answered_and_leave_nothing(server, images):
    originals = [
        (PREDICT, JSON, json.dumps({"instances": images[:1]}).encode()),
        (PREDICT, JSON, json.dumps({"inputs": {"images": images[:1]}}).encode()),
        (PREDICT, JSON, b'{"signature_name": "serving_default", "instances": [{"images": [[[0.5]]]}]}'),
        (PREDICT, JSON, b'{"inputs": [[1, 2], {"b64": "AA=="}, null, true, 1e9, -0.5, "\\ud800"]}'),
        ("/v1/digits?maps=1", PNG, SEVEN),
    ]
    random = np.random.RandomState(1)
    tokens = [b"[", b"]", b"{", b"}", b",", b'"', b"NaN", b"-Infinity", b"1e999", b"null", b"\x00", b"\xff", b"\\u"]
    connection, statuses = server.connect(), []
    for number in range(10000):
        path, headers, body = originals[number % len(originals)]
        body = bytearray(body)
        for _ in range(random.randint(1, 4)):
            place = random.randint(len(body))
            token = tokens[random.randint(len(tokens))] if random.rand() < 0.7 else bytes([random.randint(256)])
            body[place : place + random.randint(3)] = token
        if random.rand() < 0.2:
            del body[random.randint(len(body)) :]
        status, said = ask(connection, "POST", path, bytes(body), headers)
        assert status == 200 or (status == 400 and list(said) == ["error"] and "\n" not in said["error"]), said
        statuses.append(status)
        if number == 2000:
            before = server.megabytes()
    assert 50 < statuses.count(200) < 9000
    assert server.megabytes() < before + 20
    assert server.process.poll() is None


@pytest.mark.slow
def test_who_hangs_up_or_talks_nonsense_leaves_nothing(server):
    random = np.random.RandomState(2)
    whole = post(PREDICT, b'{"inputs": [1]}')
    files = f"/proc/{server.process.pid}/fd"
    before = len(os.listdir(files))
    for _ in range(500):
        with server.socket() as connection:
            if random.rand() < 0.5:  # closed with a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            altered = bytearray(whole[: random.randint(len(whole) + 1)])
            for _ in range(random.randint(3)):
                altered[random.randint(len(altered) + 1) :][:1] = bytes([random.randint(256)])
            connection.sendall(altered)
    deadline = time.monotonic() + 20
    while len(os.listdir(files)) > before + 2:
        assert time.monotonic() < deadline
        assert server.ask("GET", "/healthz")[0] == 200
