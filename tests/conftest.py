import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from mnist_cnn import Dataset, Split, load_mnist, load_sample

NO_MIRROR = "http://127.0.0.1:9/"  # nothing listens on the discard port
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mnist_dir():
    """The folder of the real MNIST; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("MNIST_DATA_DIR")
    if not folder:
        pytest.skip("needs the real MNIST: set MNIST_DATA_DIR to the folder of its four files")
    return Path(folder)


@pytest.fixture(scope="session")
def tensorflow_1():
    """For what takes a minute or more and is much the same on both: a test that asks for it runs on 1.15 alone."""
    _only_on("1")


@pytest.fixture(scope="session")
def tensorflow_2():
    """Likewise, on 2.x alone."""
    _only_on("2")


def _only_on(major):
    from mnist_cnn.tf1 import tf

    if tf.__version__.split(".")[0] != major:
        pytest.skip(f"takes a minute or more: it runs with TensorFlow {major}.x, and this is {tf.__version__}")


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
def fast_run(mnist_dir, tmp_path_factory):
    """The folder of a whole run of the recipe `fast` on MNIST: one for all tests, in whichever process they are."""
    from mnist_cnn import train

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(str(shared / "fast.lock")):
        if not (shared / "fast" / "result.json").exists():  # which is written last
            train(load_mnist(mnist_dir), shared / "fast", "fast")
    return shared / "fast"


@pytest.fixture
def script(tmp_path):
    """Runs a script as a user does, in a folder of its own, where no MNIST can be found unless it is named."""

    def run(name, *arguments, **variables):
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)],
            cwd=str(tmp_path),
            env={**environment(), "XDG_CACHE_HOME": str(tmp_path / "cache"), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def python():
    """Runs Python code in a fresh process, and returns what it printed."""

    def run(code, executable=sys.executable):
        done = subprocess.run(
            [executable, "-c", code],
            cwd=str(ROOT),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def other():
    """The Python that has another TensorFlow."""
    if not os.environ.get("OTHER_PYTHON"):
        pytest.skip("needs another TensorFlow: set OTHER_PYTHON to the Python that has it")
    return os.environ["OTHER_PYTHON"]


def environment():
    """This process's without MNIST or a cluster, and with a mirror that refuses at once in place of the public ones."""
    return {**os.environ, "MNIST_DATA_DIR": "", "MNIST_MIRROR": NO_MIRROR, "TF_CONFIG": "", "PYTHONPATH": str(ROOT)}


@pytest.fixture(autouse=True)
def no_public_mirror(monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", NO_MIRROR)
