"""Drawings that the page's visitors correct: scripts/serve.py --collect in its own process, with real requests."""

import io
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawings import draw_strokes, encode_image, paint
from helpers import one_line_error
from PIL import Image
from server_process import Server

from mnist_cnn import Recipe, load_folder, prepare, train
from mnist_cnn.data.mnist import DIGITS

SEVEN = encode_image(paint(draw_strokes(7), (0, 0, 0), (255, 255, 255)))
FORBIDDEN = 403, {"error": "drawings are accepted from this server's own page only"}


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(sample, folder, Recipe(1, 100, 0.003, 0.8, initial_weights="he"), max_steps=2)
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "hand"


@pytest.fixture
def server(run, folder):
    with Server(run, "--collect", folder) as server:
        yield server


def correct(server, name="7", body=SEVEN, media_type="image/png", **headers):
    """Posts a drawing as the page does. Returns (status, parsed JSON)."""
    headers = {"Content-Type": media_type, "Origin": f"http://127.0.0.1:{server.port}", **headers}
    return server.request("POST", f"/corrections/{name}", body, headers)


def list_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("cache")
def test_a_correction_becomes_a_picture_that_training_reads_as_it_was_drawn(server, folder):
    responses = [correct(server), correct(server), correct(server, "1")]
    assert [status for status, _ in responses] == [201, 201, 201]
    files = [folder / response["file"] for _, response in responses]
    assert sorted(files) == list_files(folder) and [path.parent.name for path in files] == ["7", "7", "1"]
    dataset = load_folder(folder, class_names=DIGITS)
    assert dataset.train.labels.tolist() == [1, 7, 7]
    drawn = (prepare(io.BytesIO(SEVEN)) * 255).round().astype(np.uint8)
    assert (dataset.train.images[..., 0] == drawn).all()

    # Only the server's own page may send drawings, at a name that is this machine's own.
    own = f"127.0.0.1:{server.port}"
    for headers in (
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Origin": "http://[", "Host": "["},
        {"Origin": f"http://{own}.example.org"},
        {"Origin": f"http://localhost:{server.port}"},
        {"Origin": "http://example.org:8501", "Host": "example.org:8501"},  # DNS rebinding
    ):
        assert correct(server, **headers) == FORBIDDEN
    assert server.request("POST", "/corrections/7", SEVEN, {"Content-Type": "image/png"}) == FORBIDDEN
    assert list_files(folder) == sorted(files)


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_unusable_uploads_are_refused_and_leave_nothing(server, folder):
    blank = encode_image(Image.new("RGB", (560, 560), "white"))
    noise = np.random.RandomState(0).randint(0, 256, (230, 230), np.uint8)  # grey: 53 kB; the limit is for its own file
    large = encode_image(Image.fromarray(np.tile(noise, (5, 5))[:1100, :1100]).quantize(4))
    for name, body, media_type, status, message in (
        ("ten", SEVEN, "image/png", 400, "no class 'ten'"),
        ("..", SEVEN, "image/png", 400, "no class '..'"),
        ("%2e%2e%2fx", SEVEN, "image/png", 404, ""),
        ("7%00", SEVEN, "image/png", 400, "no class"),
        ("7", SEVEN, "text/plain", 415, "image/png"),
        ("7", SEVEN.ljust(64_001, b"\0"), "image/png", 413, "over 64,000 bytes"),
        ("7", b"", "image/png", 400, "not image/png"),
        ("7", encode_image(Image.open(io.BytesIO(SEVEN)), "JPEG"), "image/png", 400, "not image/png"),
        ("7", SEVEN[:-200], "image/png", 400, "damaged"),
        ("7", blank, "image/png", 400, "no digit found"),
        ("7", large, "image/png", 400 if len(large) <= 64_000 else 413, "64,000"),
    ):
        got, response = correct(server, name, body, media_type)
        assert got == status and message in response["error"] and "\n" not in response["error"], (name, response)
    assert list_files(folder) == []


def damage(body, chance):
    """Changes, removes or inserts bytes after a PNG file's signature, or cuts it off."""
    at = chance.randrange(8, len(body))
    end = chance.choice([at, at + 1, at + chance.randrange(1, 99), len(body)])
    body[at:end] = bytes(chance.randrange(256) for _ in range(chance.choice([0, 1, 9])))


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_fuzzed_uploads_leave_nothing_but_whole_pictures(server, folder):
    chance = random.Random(0)
    statuses = []
    for _ in range(400):
        body = bytearray(SEVEN)
        for _ in range(chance.choice([0, 1, 1, 3])):
            damage(body, chance)
        name = chance.choice(["7", "1", "7", "..", "%2e%2e", "7%2f..%2f1", "con", "7.png", "%ff", "a" * 300])
        statuses.append(correct(server, name, bytes(body))[0])
    files = list_files(folder)
    assert set(statuses) <= {201, 400, 404} and len(files) == statuses.count(201) > 20
    for path in files:
        assert path.parent.parent == folder and path.parent.name in ("1", "7")
        with Image.open(path) as image:
            image.verify()
        assert path.read_bytes().endswith(b"IEND\xaeB\x60\x82")
        assert prepare(path).shape == (28, 28)


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_drawings_at_the_same_time_become_as_many_files_up_to_the_limit(server, folder):
    with ThreadPoolExecutor(16) as executor:
        responses = list(executor.map(lambda _: correct(server), range(64)))
    files = {response["file"] for status, response in responses if status == 201}
    assert len(files) == 64 == len(list_files(folder))

    for number in range(10_000 - 64):
        (folder / "1" / str(number)).touch()
    assert correct(server) == (507, {"error": "10,000 drawings are saved already: no more are kept"})
    (folder / "1" / "0").unlink()
    assert [correct(server)[0] for _ in range(2)] == [201, 507]
    assert len(list_files(folder)) == 10_000

    shutil.rmtree(str(folder))
    assert correct(server)[0] == 201  # the folder is made again
    shutil.rmtree(str(folder))
    folder.touch()
    status, response = correct(server)
    assert status == 507 and response["error"].startswith("the drawing cannot be saved: ")


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_collecting_is_off_by_default_and_from_other_machines_only_by_request(run, folder):
    with Server(run) as server:
        assert correct(server)[0] == 404
        assert 'id="correction"' not in get_page(server)
    with Server(run, "--collect", folder, "--collect-from-anyone", "--host", "0.0.0.0") as server:
        assert 'id="correction"' in get_page(server)
        host = {"Host": "digits.example.org"}
        assert correct(server, Origin="https://digits.example.org", **host)[0] == 201
        assert correct(server, Origin="https://example.org", **host) == FORBIDDEN
    assert len(list_files(folder)) == 1


def get_page(server):
    connection = server.open_connection()
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_a_folder_that_cannot_collect_is_a_one_line_error(run, script, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "split" / "train").mkdir(parents=True)
    for flags, message in (
        (("--collect", "new", "--host", "0.0.0.0"), "other machines can reach 0.0.0.0"),
        (("--collect", "new", "--host", "example.org"), "add --collect-from-anyone"),
        (("--collect-from-anyone",), "needs --collect DIR"),
        (("--collect", "file"), "drawings cannot be saved there"),
        (("--collect", "split"), "has a folder named train"),
    ):
        line = one_line_error(script("serve.py", "--run-dir", run, "--port", 0, *flags), 2)
        assert line.startswith("serve.py: error: ") and message in line
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "split").iterdir()] == ["train"]


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "train"])
def test_a_class_whose_name_is_no_folders_is_refused_at_the_start(run, script, tmp_path, name):
    exported = export(run, script, tmp_path, classes=[*DIGITS[:9], name])
    line = one_line_error(script("serve.py", "--run-dir", exported, "--port", 0, "--collect", "new"), 2)
    assert f"the name of the class {name} cannot be that of a folder in new" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow_2")
def test_an_exported_model_with_an_unknown_preparation_is_a_one_line_error(run, script, tmp_path):
    exported = export(run, script, tmp_path, preparation="blur")
    line = one_line_error(script("serve.py", "--run-dir", exported, "--port", 0), 2)
    assert "labels.json is damaged: its preparation is neither digit nor resize" in line


def export(run, script, tmp_path, **labels):
    """Exports a run, and changes labels.json in the exported model."""
    exported = tmp_path / script("export.py", "--run-dir", run, "--export-dir", "exported").stdout.strip()
    path = exported / "assets.extra" / "labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **labels}))
    return exported
