"""Fixtures that several test files share. Plain functions are in helpers.py."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from helpers import ROOT, UNREACHABLE_MIRROR, environment, script_command

from mnist_cnn import Dataset, Split, load_mnist, load_sample


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder of the real MNIST; tests that use it are skipped where it is missing."""
    folder = os.environ.get("MNIST_DATA_DIR")
    if not folder:
        pytest.skip("needs the real MNIST: set MNIST_DATA_DIR to the folder of its four files")
    return Path(folder)


@pytest.fixture(scope="session")
def mnist(mnist_dir):
    return load_mnist(mnist_dir)


@pytest.fixture(scope="session")
def handwriting():
    """Pictures of digits by strangers, (path, label); tests that use them are skipped where they are missing."""
    folder = os.environ.get("HANDWRITING_DIR")
    if not folder:
        pytest.skip("needs pictures of handwriting: set HANDWRITING_DIR to a folder with labels.csv (file, label)")
    with open(os.path.join(folder, "labels.csv"), newline="") as file:
        return [(os.path.join(folder, row["file"]), int(row["label"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def tensorflow_1():
    """For tests that take minutes and give much the same on both TensorFlows: they run on 1.15 only."""
    _skip_unless_tensorflow("1")


@pytest.fixture(scope="session")
def tensorflow_2():
    """For tests that take minutes and give much the same on both TensorFlows: they run on 2.x only."""
    _skip_unless_tensorflow("2")


def _skip_unless_tensorflow(major):
    from mnist_cnn.tf1 import tf

    if tf.__version__.split(".")[0] != major:
        pytest.skip(f"takes minutes: runs with TensorFlow {major}.x only, and this is {tf.__version__}")


@pytest.fixture(scope="session")
def sample():
    return load_sample()


@pytest.fixture(scope="session")
def small(sample):
    """A dataset of 300, 100 and 100 digits, on which a run takes a second or two."""

    def first(split, n):
        return Split(split.images[:n], split.labels[:n])

    return Dataset("small", first(sample.train, 300), first(sample.validation, 100), first(sample.test, 100))


@pytest.fixture(scope="session")
def other_data(sample):
    """Data in MNIST's format that are not MNIST: inverted digits. 600 and 100 images and labels, as four arrays."""
    train, test = sample.train, sample.test
    return 255 - train.images[:600, ..., 0], train.labels[:600], 255 - test.images[:100, ..., 0], test.labels[:100]


@pytest.fixture(scope="session")
def fast_run(mnist_dir, tmp_path_factory):
    """The directory of a complete run of the recipe `fast` on MNIST, with snapshots, shared by all test processes."""
    from mnist_cnn import train

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(str(shared / "fast.lock")):
        if not (shared / "fast" / "result.json").exists():  # written last
            train(load_mnist(mnist_dir), shared / "fast", "fast", replay=20)
    return shared / "fast"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder where prepared pictures are kept, one of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mnist_cnn"


@pytest.fixture
def script(tmp_path):
    """Runs a script as a user does, in an empty folder, without MNIST unless it is named."""

    def run(name, *arguments, **variables):
        done = subprocess.run(
            script_command(name, *arguments),
            cwd=str(tmp_path),
            env=environment(XDG_CACHE_HOME=str(tmp_path / "cache"), **variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        # TensorFlow 2.20 logs these two lines at the first session.run, at any TF_CPP_MIN_LOG_LEVEL.
        tensorflows_lines = r"(?m)^(WARNING: All log messages before absl|I0000 .*mlir_graph_opt).*\n"
        done.stderr = re.sub(tensorflows_lines, "", done.stderr)
        return done

    return run


@pytest.fixture
def python():
    """Runs Python code in a fresh process, and returns its stdout."""

    def run(code, executable=sys.executable):
        done = subprocess.run(
            [executable, "-c", code], cwd=str(ROOT), env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def other_python():
    """The Python that has the other TensorFlow."""
    if not os.environ.get("OTHER_PYTHON"):
        pytest.skip("needs the other TensorFlow: set OTHER_PYTHON to the Python that has it")
    return os.environ["OTHER_PYTHON"]


@pytest.fixture(autouse=True)
def no_public_mirror(monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", UNREACHABLE_MIRROR)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def pytest_collection_modifyitems(items):
    # The longest file first: otherwise one process runs it alone at the end, while the other has nothing to do.
    items.sort(key=lambda item: item.path.name != "test_published_run.py")
