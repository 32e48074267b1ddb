"""Random bytes as input: each gives success or a one-line InputError, in bounded memory and time."""

import gzip
import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mnist_cnn import InputError
from mnist_cnn.data.idx import IDX_FILES, read_idx, read_mnist_file
from mnist_cnn.data.package_index import read_csv
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.run_dir.config import resolve_config
from mnist_cnn.run_dir.replay import read_snapshot

# What they check has nothing to do with the version of TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tensorflow_2")]

fuzz = settings(
    max_examples=300,
    deadline=2000,  # milliseconds for one input
    suppress_health_check=list(HealthCheck),
)
NAMES = st.sampled_from(sorted(IDX_FILES))


@pytest.fixture(autouse=True)
def bounded_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


def succeeds_or_one_line_error(reader, *arguments):
    try:
        return reader(*arguments)
    except InputError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000


@st.composite
def altered(draw, content):
    """Overwrites some bytes, and may truncate or extend the content."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(content)))
    return bytes(content[: end if draw(st.booleans()) else len(content)]) + draw(st.binary(max_size=20))


HEADERS = st.binary(max_size=64) | st.builds(
    lambda sizes, rest: struct.pack(f">{len(sizes)}I", *sizes) + rest,
    st.lists(st.integers(0, 2**32 - 1) | st.sampled_from([0x803, 0x801, 60000, 10000, 28]), max_size=5),
    st.binary(max_size=64),
)


@fuzz
@given(NAMES, HEADERS)
def test_idx(name, content):
    assert succeeds_or_one_line_error(read_mnist_file, io.BytesIO(content), "the file", name) is None


@fuzz
@given(NAMES, st.binary(max_size=64).map(lambda rest: b"\x1f\x8b" + rest) | HEADERS.map(gzip.compress).flatmap(altered))
def test_gzip(name, content):
    assert succeeds_or_one_line_error(read_mnist_file, io.BytesIO(content), "the file", name) is None


IMAGES = struct.pack(">4I", 0x803, 3, 2, 2) + bytes(range(12))


@fuzz
@given(
    st.sampled_from([1, 3]),
    HEADERS | altered(IMAGES) | altered(gzip.compress(IMAGES)) | altered(IMAGES).map(gzip.compress),
)
def test_idx_of_other_data(rank, content):
    array = succeeds_or_one_line_error(read_idx, io.BytesIO(content), "the file", rank)
    assert array is None or array.ndim == rank


ROWS = "\n".join(["label,pixels"] + [",".join(str(i % 256) for i in range(785))] * 2).encode()


@fuzz
@given(altered(ROWS) | st.binary(max_size=200) | st.text("0123456789,.-e \n", max_size=200).map(str.encode))
def test_csv(content):
    table = succeeds_or_one_line_error(read_csv, io.BytesIO(content), 2)
    assert table is None or table.shape == (2, 785)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=9), values, max_size=4),
)
CONFIG = json.dumps(
    {
        "model": "cnn",
        "recipe": {"epochs": 15, "batch_size": 100, "learning_rate": 0.001, "keep_prob": 0.8},
        "seed": 1,
        "dataset": {"name": "mnist", "sha256": "0"},
    }
).encode()


@fuzz
@given(altered(CONFIG) | JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_config(tmp_path_factory, content):
    run = tmp_path_factory.getbasetemp()
    (run / "config.json").write_bytes(content)
    succeeds_or_one_line_error(resolve_config, run, True)


HISTORY = (
    ",".join(directory.HISTORY_COLUMNS) + "\n1,0.362,0.98,0.001,16.5,3333.3\n2,0.105,0.985,0.001,16.4,3353.6\n"
).encode()


@fuzz
@given(altered(HISTORY) | st.binary(max_size=200))
def test_history(tmp_path_factory, content):
    run = tmp_path_factory.getbasetemp()
    (run / "history.csv").write_bytes(content)
    succeeds_or_one_line_error(directory.read_history, run)


SNAPSHOTS = [io.BytesIO(), io.BytesIO()]
for save, file in zip([np.savez, np.savez_compressed], SNAPSHOTS):
    save(file, W1=np.arange(12, dtype=np.float16).reshape(3, 4), cost=0.5, accuracy=0.75)


@st.composite
def npy_files(draw):
    """An array's file in an archive, with any text as its header."""
    header = draw(altered(b"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }") | st.binary(max_size=80))
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24)


@st.composite
def archives(draw):
    """A snapshot with such an array."""
    file = io.BytesIO()
    with zipfile.ZipFile(SNAPSHOTS[0]) as snapshot, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("W1.npy", draw(npy_files()))
        for name in ("cost.npy", "accuracy.npy"):
            archive.writestr(name, snapshot.read(name))
    return file.getvalue()


@settings(fuzz, max_examples=300)
@given(altered(SNAPSHOTS[0].getvalue()) | altered(SNAPSHOTS[1].getvalue()) | archives())
@pytest.mark.filterwarnings("ignore:Reading")  # a header of Python 2
def test_snapshot(tmp_path_factory, content):
    run = tmp_path_factory.getbasetemp()
    (run / "replay").mkdir(exist_ok=True)
    (run / "replay" / "step-1.npz").write_bytes(content)
    snapshot = succeeds_or_one_line_error(read_snapshot, run, 1, {"W1": [3, 4]})
    assert snapshot is None or np.isfinite(snapshot.weights["W1"]).all()


FILE_NAMES = st.from_regex(r"\Astep-[0-9]{1,22}\.(json|index|data-00000-of-00001)\Z") | st.from_regex(
    r"\A[a-z0-9][a-z0-9.-]{0,20}\Z"
)


@settings(fuzz, max_examples=300)
@given(
    st.dictionaries(FILE_NAMES, st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()), max_size=4)
)
def test_checkpoint_discovery(tmp_path_factory, files):
    run = tmp_path_factory.mktemp("run")
    (run / "checkpoints").mkdir()
    for name, content in files.items():
        (run / "checkpoints" / name).write_bytes(content)
    found = succeeds_or_one_line_error(checkpoints.latest_checkpoint, run)
    assert found in (None, (None, None))  # all are damaged


@pytest.mark.parametrize(
    "content",
    [b"[" * 10**6, b"9" * 10**7, b'{"a":' * 10**5, b'{"seed": 1e999999}', b'"' * 10**6, b"\x00" * (2**24 + 1)],
    ids=["nested lists", "a long number", "nested objects", "infinity", "quotes", "over 16 MB"],
)
def test_content_that_is_hard_on_a_json_parser(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    succeeds_or_one_line_error(resolve_config, tmp_path, True)
