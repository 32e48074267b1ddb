"""Fixtures of the tests of the page."""

import contextlib
import os
import re
from pathlib import Path

import pytest
from helpers import ROOT
from server_process import Server

from mnist_cnn import Recipe, train


@pytest.fixture(scope="session")
def run(sample, tmp_path_factory):
    """The directory of a short run on the sample, with snapshots."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(sample, folder, Recipe(1, 100, 0.003, 0.8, initial_weights="he"), max_steps=20, replay=5)
    return folder


@pytest.fixture(scope="module")
def server(run):
    with Server(run) as server:
        yield server


@pytest.fixture(scope="module")
def url(fast_run, mnist_dir):
    from page import serve  # here and below, a lazy import: without playwright, it skips

    with serve(fast_run, data_dir=mnist_dir) as url:
        yield url


@pytest.fixture(scope="module", params=["this TensorFlow", "the other TensorFlow"])
def url_of_either_tensorflow(request, fast_run, mnist_dir):
    from page import serve

    if request.param == "this TensorFlow":
        yield request.getfixturevalue("url")
    else:
        with serve(fast_run, request.getfixturevalue("other_python"), data_dir=mnist_dir) as url:
            yield url


@pytest.fixture(scope="module")
def browser():
    from page import CHROMIUM, FLAGS, playwright

    if not Path(CHROMIUM).exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens the page.

    At the end of the test, the page must have logged no error, and had no failed request and no request to another
    server, except those that match the regular expression `expected_problems`.
    """
    with contextlib.ExitStack() as stack:

        def visit(url, expected_problems="(?!)", **options):
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            problems = []
            page.on("console", lambda message: message.type == "error" and problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("requestfailed", lambda request: problems.append(f"{request.url}: {request.failure}"))
            page.on(
                "response",
                lambda response: response.status >= 400 and problems.append(f"{response.url}: {response.status}"),
            )
            page.on(
                "request",
                lambda request: (
                    request.url.startswith((url, "data:", "blob:")) or problems.append(f"another server: {request.url}")
                ),
            )
            stack.callback(lambda: check([it for it in problems if not re.search(expected_problems, it)]))
            page.goto(url)
            return page

        def check(problems):
            assert not problems

        yield visit


@pytest.fixture(scope="module")
def axe():
    """The path of axe-core's script."""
    folders = [Path(os.environ.get("AXE_CORE", "")), ROOT / "node_modules" / "axe-core"]
    for file in (folder / "axe.min.js" for folder in folders):
        if file.exists():
            return str(file)
    pytest.skip("needs axe-core: npm install axe-core, and set AXE_CORE to its folder")
