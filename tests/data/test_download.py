"""Downloads from local servers, which fail in the ways that real servers do."""

import functools
import gzip
import http.server
import os
import re
import shutil
import signal
import struct
import threading

import pytest
from helpers import one_line_error, script_command, start

from mnist_cnn import DataNotFound, InputError, load_mnist, read_data_sets
from mnist_cnn.data import download
from mnist_cnn.data.idx import IDX_FILES

NAMES = sorted(name + ".gz" for name in IDX_FILES)
LABELS = "t10k-labels-idx1-ubyte.gz"
HTML = b"<!DOCTYPE html><title>Please log in to this network</title>"


class Server(http.server.ThreadingHTTPServer):
    """Serves MNIST under /good/, and one kind of failure under each other path."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path.read_bytes() for path in folder.glob("*.gz")} if folder else {}
        self.requests = []
        self.closing = threading.Event()  # ends the requests that hang
        self.half_sent = threading.Event()

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
            content = make_bomb("images" in name)
        if behaviour == "html":
            content = HTML
        if behaviour == "gzipped_html":
            content = gzip.compress(HTML)
        if behaviour == "flipped":
            content = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
        if behaviour == "truncated":
            content = content[: len(content) // 2]
        self.send_response(200)
        if behaviour not in ("endless", "trickle"):
            self.send_header("Content-Length", str(len(content) * (2 if behaviour == "cut_off" else 1)))
        if behaviour == "transparent":  # like a proxy that takes .gz for a transfer encoding
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if behaviour == "middle":
            self.wfile.write(content[: len(content) // 2])
            self.server.half_sent.set()
            return self.server.closing.wait()
        sent = 0
        while behaviour == "together" and self.server.requests.count((behaviour, name)) < 2:
            # The first process to request a file gets it slowly, so that no timeout ends its wait for the second one.
            if self.server.closing.wait(0.1):
                return None
            self.wfile.write(content[sent : sent + 1])
            sent += 1
        while behaviour == "trickle" and not self.server.closing.wait(0.1):
            self.wfile.write(b"\x1f")
        while behaviour == "endless" and not self.server.closing.is_set():
            self.wfile.write(bytes(2**16))
        self.wfile.write(content[sent:])


@functools.lru_cache(maxsize=None)
def make_bomb(of_images):
    """The expected header and 300 MB of zeros, in 300 kB."""
    header = struct.pack(">4I", 0x803, 60000, 28, 28) if of_images else struct.pack(">2I", 0x801, 60000)
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
    """A server without MNIST's files."""
    yield from serve(None)


@pytest.fixture
def server(mnist_dir):
    yield from serve(mnist_dir)


@pytest.fixture(scope="module")
def bombs():
    """Makes the bombs before they are requested: on a busy machine, making one may take longer than CONNECT_TIMEOUT."""
    for of_images in (False, True):
        make_bomb(of_images)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def has_only_complete_files(folder, mnist_dir):
    """Whether each file under a final name is bit-identical to MNIST's."""
    return all(
        gzip.decompress(path.read_bytes()) == gzip.decompress((mnist_dir / path.name).read_bytes())
        for path in folder.glob("*ubyte.gz")
    )


def test_a_good_mirror_is_downloaded_once_and_verified(server, folder, mnist_dir):
    assert load_mnist(folder, mirror=server.url("good")).digest() == load_mnist(mnist_dir).digest()
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    load_mnist(folder, mirror=server.url("good"))
    assert len(server.requests) == 4


def test_the_mirror_in_the_environment_is_used(server, folder, monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", server.url("good").rstrip("/"))
    load_mnist(folder)


@pytest.mark.parametrize("first", ["absent", "truncated", "cut_off", "flipped", "html", "gzipped_html", "bomb", "loop"])
@pytest.mark.usefixtures("bombs")
def test_if_one_mirror_fails_each_file_is_requested_from_the_next(server, folder, mnist_dir, monkeypatch, first):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download, "MIRRORS", (server.url(first), server.url("good")))
    load_mnist(folder)
    assert has_only_complete_files(folder, mnist_dir)
    assert {name for behaviour, name in server.requests if behaviour == first} == set(NAMES)


def test_read_data_sets_downloads_from_its_source_url_what_must_be_mnist(server, folder):
    assert read_data_sets(str(folder), source_url=server.url("good")).train.num_examples == 55000
    with pytest.raises(DataNotFound, match="/flipped/"):
        read_data_sets(str(folder / "new"), source_url=server.url("flipped"))


@pytest.mark.slow
@pytest.mark.parametrize("first", ["hang", "middle"])
def test_a_mirror_that_hangs_gets_only_one_request(server, folder, mnist_dir, monkeypatch, first):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download, "MIRRORS", (server.url(first), server.url("good")))
    load_mnist(folder)
    assert has_only_complete_files(folder, mnist_dir)
    assert [behaviour for behaviour, _ in server.requests].count(first) == 1


@pytest.mark.parametrize(
    "behaviour, reason",
    [
        ("absent", "HTTP 404"),
        ("html", "DOCTYPE"),
        ("gzipped_html", "DOCTYPE"),
        ("bomb", "over 47,040,016 of 47,040,016 bytes"),
        ("endless", "more than the"),
        ("loop", "redirects"),
        ("hang", "no response within 4 seconds"),
    ],
)
@pytest.mark.usefixtures("bombs")
def test_if_no_mirror_works_the_error_gives_each_url_and_reason(bad_server, folder, behaviour, reason):
    with pytest.raises(DataNotFound) as error:
        load_mnist(folder, mirror=bad_server.url(behaviour))
    message = str(error.value)
    assert bad_server.url(behaviour) in message and reason in message
    assert message.startswith(f"MNIST is not in {folder} and could not be downloaded")
    assert len(message.splitlines()) == 1 and "delete or replace it" not in message  # there is no file to delete
    assert not folder.exists()


def test_a_download_that_trickles_ends_at_the_total_timeout(bad_server, folder, monkeypatch):
    monkeypatch.setattr(download, "DOWNLOAD_TIMEOUT", 2)
    with pytest.raises(DataNotFound, match="not complete after 2 seconds"):
        load_mnist(folder, mirror=bad_server.url("trickle"))


def test_the_error_names_each_mirror_that_was_tried(bad_server, folder, monkeypatch):
    monkeypatch.delenv("MNIST_MIRROR")
    monkeypatch.setattr(download, "MIRRORS", (bad_server.url("absent"), "http://127.0.0.1:9/"))
    with pytest.raises(DataNotFound, match=r"/absent/.*HTTP 404.*127\.0\.0\.1:9/.*(Connection|actively) refused"):
        load_mnist(folder)


def test_only_the_missing_file_is_downloaded(server, folder, mnist_dir):
    shutil.copytree(str(mnist_dir), str(folder))
    (folder / LABELS).unlink()
    load_mnist(folder, mirror=server.url("good"))
    assert server.requests == [("good", LABELS)]


def test_a_damaged_file_is_an_error_and_stays_unchanged(server, folder, mnist_dir):
    shutil.copytree(str(mnist_dir), str(folder))
    path = folder / LABELS
    path.chmod(0o644)
    path.write_bytes(HTML)
    with pytest.raises(InputError, match="delete or replace it"):
        load_mnist(folder, mirror=server.url("good"))
    assert path.read_bytes() == HTML and not server.requests


def test_files_that_arrive_decompressed_are_stored_decompressed(server, folder):
    load_mnist(folder, mirror=server.url("transparent"))
    assert sorted(path.name for path in folder.iterdir()) == [name[: -len(".gz")] for name in NAMES]
    load_mnist(folder)


def test_a_folder_that_cannot_be_written_is_named_in_the_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "file" / "data"))):
        load_mnist(tmp_path / "file" / "data", mirror=server.url("good"))


def start_download(folder, mirror):
    return start(script_command("download.py", "--data-dir", folder, "--mirror", mirror))


def test_two_simultaneous_downloads_both_succeed(server, folder):
    both = [start_download(folder, server.url("together")) for _ in range(2)]
    for process in both:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (0, f"{folder}\n", "")
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert len(server.requests) == 8  # each process downloaded all files


def test_sigkill_during_a_download_leaves_no_partial_file_and_the_next_one_succeeds(server, folder, mnist_dir):
    process = start_download(folder, server.url("middle"))
    assert server.half_sent.wait(60)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == (1 if os.name == "nt" else -signal.SIGKILL)
    assert not folder.exists() or has_only_complete_files(folder, mnist_dir)
    out, error = start_download(folder, server.url("good")).communicate(timeout=60)
    assert (out, error) == (f"{folder}\n", "")
    assert sorted(path.name for path in folder.iterdir()) == NAMES


def test_the_command_adds_the_flags_that_help(bad_server, script):
    for name, flags in (("train.py", ["--data-dir", "--dataset sample"]), ("download.py", ["--data-dir", "--mirror"])):
        arguments = ["--dataset", "mnist"] if name == "train.py" else []
        line = one_line_error(script(name, *arguments, MNIST_MIRROR=bad_server.url("absent")), 2)
        assert bad_server.url("absent") in line and all(flag in line for flag in flags)


@pytest.mark.slow
def test_without_a_network_a_run_uses_the_sample_and_reports_why(bad_server, script, tmp_path):
    done = script("train.py", "--max-steps", 1, MNIST_MIRROR=bad_server.url("hang"))
    assert done.returncode == 0, done.stderr
    assert "SAMPLE" in done.stderr and "no response within 4 seconds" in done.stderr
