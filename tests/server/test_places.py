"""The server in other people's places: behind jupyter-server-proxy, in gunicorn's workers, in a notebook."""

import http.client
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from helpers import environment, start

from mnist_cnn import Classifier

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")]


def needs(package):
    missing = importlib.util.find_spec(package.replace("-", "_")) is None
    return pytest.mark.skipif(missing, reason=f"needs {package}: pip install {package}")


def post_images(url, images):
    """Returns the status and the parsed JSON of a prediction."""
    body = json.dumps({"inputs": images.tolist()}).encode()
    request = urllib.request.Request(f"{url}/v1/models/mnist:predict", body)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read().decode())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read().decode())


def start_gunicorn(run, *flags):
    """Starts gunicorn with two workers. Returns its process and its URL."""
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", *flags]
    process = start([*command, f"mnist_cnn.server:create_app({str(run)!r})"], start_new_session=True)
    for line in process.stderr:
        match = re.search(r"Listening at: (http://[\d.:]+)", line)
        if match:
            return process, match.group(1)
    raise AssertionError(process.communicate())


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@needs("gunicorn")
def test_gunicorns_workers_each_load_the_network(run, sample):
    images = sample.test.images[:20] / 255
    with Classifier.load(run) as classifier:
        expected = classifier.predict(images).classes.tolist()
    process, url = start_gunicorn(run)
    try:
        for _ in range(20):
            status, response = post_images(url, images)
            assert (status, response["outputs"]["classes"]) == (200, expected)
        connection = http.client.HTTPConnection(url.partition("//")[2], timeout=60)
        connection.putrequest("POST", "/v1/models/mnist:predict")
        connection.putheader("Content-Length", "8000001")
        connection.endheaders()  # the response does not wait for the body
        response = connection.getresponse()
        too_large = {"error": "the body has over 8,000,000 bytes"}
        assert (response.status, json.loads(response.read().decode())) == (413, too_large)
    finally:
        stop(process)


@needs("gunicorn")
def test_a_network_that_was_loaded_before_gunicorn_forked_is_an_error_instead_of_a_hang(run, sample):
    process, url = start_gunicorn(run, "--preload")
    try:
        status, response = post_images(url, sample.test.images[:2] / 255)
        assert status == 500 and response["error"].startswith("TensorFlow ran before this process was forked")
    finally:
        stop(process)


NOTEBOOK = """
import urllib.request
from mnist_cnn.server import show
with show({run!r}) as first, show({run!r}) as second:
    print(first.url != second.url)
    for shown in (first, second):
        response = urllib.request.urlopen(shown.url)
        print(response.headers["Content-Security-Policy"].partition("frame-ancestors ")[2])
        print("Draw a number" in response.read().decode())
try:
    urllib.request.urlopen(first.url)
except urllib.error.URLError as error:
    print("closed")
first.close()
from mnist_cnn import load_sample, train
train(load_sample(), "run", "fast", max_steps=20)
"""


def run_cell(code, folder, **variables):
    """Returns the outputs of a notebook's cell."""
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute(env=environment(**variables))
    return notebook.cells[0].outputs


@needs("nbclient")
@needs("ipykernel")
@pytest.mark.parametrize(
    "variables, pattern",
    [
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/jo/"}, r'src="/user/jo/proxy/\d+/"'),
        ({"VSCODE_PROXY_URI": "https://code.example/proxy/{{port}}/"}, r'src="https://code\.example/proxy/\d+/"'),
        ({"VSCODE_PROXY_URI": "./proxy/{{port}}"}, r'src="\./proxy/\d+/"'),  # older versions
    ],
    ids=["JupyterHub", "code-server", "older code-server"],
)
def test_a_notebook_behind_a_proxy_shows_the_page_through_it(run, tmp_path, variables, pattern):
    outputs = run_cell(f"from mnist_cnn.server import show; shown = show({str(run)!r})", tmp_path, **variables)
    (frame,) = [output.data["text/html"] for output in outputs if output.output_type == "display_data"]
    assert re.search(pattern, frame)


@needs("nbclient")
@needs("ipykernel")
def test_a_notebook_shows_the_page_and_the_progress(run, tmp_path):
    outputs = run_cell(NOTEBOOK.format(run=str(run)), tmp_path)
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    ancestors = "'self' http://localhost:* http://127.0.0.1:*"
    lines = ["True", ancestors, "True", ancestors, "True", "closed"]
    # TensorFlow, too, prints to a notebook's stdout.
    assert [line for line in printed.splitlines() if line in lines] == lines
    frames = [output.data["text/html"] for output in outputs if output.output_type == "display_data"]
    assert sum("<iframe" in html and "http://127.0.0.1:" in html for html in frames) == 2
    shown = json.dumps(outputs)
    assert "step" in shown and re.search(r"\d+%|FloatProgress|IntProgress|HBox", shown), "no progress bar"


@pytest.fixture
def proxied(run, tmp_path):
    """Starts serve.py and a Jupyter server with jupyter-server-proxy. Yields the page's URL there, without a slash."""
    server = start([sys.executable, "-m", "mnist_cnn", "serve", "--run-dir", str(run), "--port", "0"])
    port = int(re.search(r":(\d+)/", server.stdout.readline()).group(1))
    flags = ["--ServerApp.token=", "--ServerApp.password=", "--ServerApp.port=0", "--ServerApp.open_browser=False"]
    variables = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    command = [sys.executable, "-m", "jupyter_server", *flags, "--allow-root", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}", "--ServerApp.base_url=/user/jo/"]
    jupyter = subprocess.Popen(
        command, env=environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not list(Path(tmp_path, "runtime").glob("jpserver-*.json")):
            assert jupyter.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        (info,) = Path(tmp_path, "runtime").glob("jpserver-*.json")
        yield f"{json.loads(info.read_text())['url']}proxy/{port}"
    finally:
        for process in (jupyter, server):
            process.terminate()
            process.wait(timeout=30)


@needs("jupyter-server-proxy")
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_digit_is_drawn_through_the_proxy_of_a_hub(proxied, slash):
    from page import CHROMIUM, FLAGS, draw, playwright  # skips without playwright

    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page()
        problems = []
        page.on("response", lambda response: response.status >= 400 and problems.append(response.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(proxied + slash)
        draw(page, 7)
        playwright.expect(page.locator("#number")).to_have_text(re.compile(r"\d"))  # any: the training was short
        playwright.expect(page.locator("#bars .winner")).to_have_count(1)
        assert page.locator("main").evaluate("it => getComputedStyle(it).display") == "grid"
        assert problems == []
        browser.close()
