"""The download, against servers on this machine that fail in the ways that servers fail."""

import gzip
import http.server
import shutil
import signal
import struct
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, environment

from mnist_cnn import DataNotFound, InputError, load_mnist
from mnist_cnn import download as download_module

NAMES = [
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
]
HTML = b"<!DOCTYPE html><title>Please log in to this network</title>"


class Server(http.server.ThreadingHTTPServer):
    """Serves MNIST below /good/, and below other folders what goes wrong."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path.read_bytes() for path in folder.glob("*.gz")} if folder else {}
        self.requests = []
        self.closing = threading.Event()  # whoever hangs, hangs until then
        self.in_the_middle = threading.Event()
        self.both_asked = threading.Barrier(2)

    def url(self, behaviour):
        return f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append((behaviour, name))
        content = self.server.files.get(name, b"")
        if behaviour == "absent":
            return self.send_error(404)
        if behaviour == "hang":
            return self.server.closing.wait()
        if behaviour == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if behaviour == "bomb":
            content = bomb(name)
        if behaviour == "html":
            content = HTML
        if behaviour == "packed_html":
            content = gzip.compress(HTML)
        if behaviour == "flipped":
            content = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
        if behaviour == "truncated":
            content = content[: len(content) // 2]
        if behaviour == "together" and name == NAMES[2]:
            self.server.both_asked.wait(60)
        self.send_response(200)
        if behaviour not in ("endless", "trickle"):
            self.send_header("Content-Length", str(len(content) * (2 if behaviour == "cut_off" else 1)))
        if behaviour == "transparent":  # as a proxy does that takes .gz for a way of sending
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if behaviour == "middle":
            self.wfile.write(content[: len(content) // 2])
            self.server.in_the_middle.set()
            return self.server.closing.wait()
        while behaviour == "trickle" and not self.server.closing.wait(0.1):
            self.wfile.write(b"\x1f")
        while behaviour == "endless" and not self.server.closing.is_set():
            self.wfile.write(bytes(2**16))
        self.wfile.write(content)


def bomb(name):
    """A right header, then 300 MB of zeros, in 300 kB."""
    header = struct.pack(">4I", 0x803, 60000, 28, 28) if "images" in name else struct.pack(">2I", 0x801, 60000)
    return gzip.compress(header + bytes(300 * 2**20), 1)


def serve(folder):
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def bad_server():
    """Has no MNIST to serve."""
    yield from serve(None)


@pytest.fixture
def server(mnist_dir):
    yield from serve(mnist_dir)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def only_whole_files(folder, mnist_dir):
    """Whether each file under a final name is one of MNIST's, to the last bit."""
    return all(
        gzip.decompress(path.read_bytes()) == gzip.decompress((mnist_dir / path.name).read_bytes())
        for path in folder.glob("*ubyte.gz")
    )


def test_a_good_mirror_is_downloaded_once_and_verified(server, folder, mnist_dir):
    assert load_mnist(folder, mirror=server.url("good")).digest() == load_mnist(mnist_dir).digest()
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    load_mnist(folder, mirror=server.url("good"))
    assert len(server.requests) == 4


def test_the_mirror_of_the_environment_is_asked(server, folder, monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", server.url("good").rstrip("/"))
    load_mnist(folder)


@pytest.mark.parametrize("first", ["absent", "truncated", "cut_off", "flipped", "html", "packed_html", "bomb", "loop"])
def test_when_one_mirror_fails_the_next_is_asked_for_each_file(server, folder, mnist_dir, monkeypatch, first):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download_module, "MIRRORS", (server.url(first), server.url("good")))
    load_mnist(folder)
    assert only_whole_files(folder, mnist_dir)
    assert {name for behaviour, name in server.requests if behaviour == first} == set(NAMES)


@pytest.mark.parametrize("first", ["hang", "middle"])
def test_a_mirror_that_hangs_is_asked_once(server, folder, mnist_dir, monkeypatch, first):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download_module, "MIRRORS", (server.url(first), server.url("good")))
    load_mnist(folder)
    assert only_whole_files(folder, mnist_dir)
    assert [behaviour for behaviour, _ in server.requests].count(first) == 1


@pytest.mark.parametrize(
    "behaviour, why",
    [
        ("absent", "HTTP 404"),
        ("html", "DOCTYPE"),
        ("packed_html", "DOCTYPE"),
        ("bomb", "over 47,040,016 of 47,040,016 bytes"),
        ("endless", "more than the"),
        ("loop", "redirects"),
        ("hang", "no answer within 4 seconds"),
    ],
)
def test_when_nothing_works_the_error_says_why_and_both_ways_out(bad_server, folder, behaviour, why):
    with pytest.raises(DataNotFound) as error:
        load_mnist(folder, mirror=bad_server.url(behaviour))
    message = str(error.value)
    assert bad_server.url(behaviour) in message and why in message
    assert "--data-dir" in message and "--dataset sample" in message
    assert len(message.splitlines()) == 1
    assert not folder.exists()


def test_a_file_that_trickles_is_given_up_after_a_total_time(bad_server, folder, monkeypatch):
    monkeypatch.setattr(download_module, "TOTAL_SECONDS", 2)
    with pytest.raises(DataNotFound, match="not done after 2 seconds"):
        load_mnist(folder, mirror=bad_server.url("trickle"))


def test_each_source_that_was_tried_is_named(bad_server, folder, monkeypatch):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download_module, "MIRRORS", (bad_server.url("absent"), "http://127.0.0.1:9/"))
    with pytest.raises(DataNotFound, match=r"/absent/.*HTTP 404.*127\.0\.0\.1:9/.*Connection refused"):
        load_mnist(folder)


def test_a_single_missing_file_is_fetched_alone(server, folder, mnist_dir):
    shutil.copytree(str(mnist_dir), str(folder))
    (folder / NAMES[1]).unlink()
    load_mnist(folder, mirror=server.url("good"))
    assert server.requests == [("good", NAMES[1])]


def test_a_damaged_file_is_an_error_and_is_left_alone(server, folder, mnist_dir):
    shutil.copytree(str(mnist_dir), str(folder))
    path = folder / NAMES[1]
    path.chmod(0o644)
    path.write_bytes(HTML)
    with pytest.raises(InputError, match="delete or replace it"):
        load_mnist(folder, mirror=server.url("good"))
    assert path.read_bytes() == HTML and not server.requests


def test_files_that_arrive_unpacked_are_stored_unpacked(server, folder):
    load_mnist(folder, mirror=server.url("transparent"))
    assert sorted(path.name for path in folder.iterdir()) == [name[: -len(".gz")] for name in NAMES]
    load_mnist(folder)


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/data"):
        load_mnist(tmp_path / "file" / "data", mirror=server.url("good"))


def start_download(folder, mirror):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/download.py"), "--data-dir", str(folder), "--mirror", mirror],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def test_two_processes_at_once_both_succeed(server, folder):
    both = [start_download(folder, server.url("together")) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (0, f"{folder}\n", "")
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert len(server.requests) == 8  # each came to the end of its own


def test_sigkill_in_the_middle_leaves_no_partial_file_and_the_next_download_succeeds(server, folder, mnist_dir):
    process = start_download(folder, server.url("middle"))
    assert server.in_the_middle.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists() or only_whole_files(folder, mnist_dir)
    out, error = start_download(folder, server.url("good")).communicate(timeout=60)
    assert (out, error) == (f"{folder}\n", "")
    assert sorted(path.name for path in folder.iterdir()) == NAMES


def test_without_a_network_a_run_starts_on_the_sample_and_says_why(bad_server, script, tmp_path):
    done = script("train.py", "--max-steps", 1, MNIST_MIRROR=bad_server.url("hang"))
    assert done.returncode == 0, done.stderr
    assert "SAMPLE" in done.stderr and "no answer within 4 seconds" in done.stderr
