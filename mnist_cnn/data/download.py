"""Downloads MNIST's files, which are verified before being renamed into place. Needs the extra `download`."""

import io
import os
import threading
import time
from pathlib import Path
from typing import List, Optional

from tqdm import tqdm

from mnist_cnn.data.idx import IDX_FILES, read_idx
from mnist_cnn.errors import DataNotFound, InputError
from mnist_cnn.files import atomic_write

# The bucket that TensorFlow's own tutorials used, and the one that torchvision uses.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
CONNECT_TIMEOUT = 4  # seconds until a response must start; with two mirrors, an error comes within 10
READ_TIMEOUT = 10  # seconds between two chunks
DOWNLOAD_TIMEOUT = 300  # seconds for one file; the largest has 10 MB


class _DownloadError(Exception):
    """One file cannot be downloaded from one mirror."""


class _MirrorUnreachable(_DownloadError):
    """The mirror is unreachable: skip it for the remaining files."""


def download_files(folder: Path, names: List[str], mirror: Optional[str] = None) -> None:
    """Downloads files of MNIST into a folder, compressed as the mirror serves them.

    A response is kept in memory until its decompressed content has the expected SHA-256; then the file is written
    atomically.

    Args:
      folder: created if necessary.
      names: keys of IDX_FILES.
      mirror: a URL; default: $MNIST_MIRROR, otherwise each of MIRRORS in turn.

    Raises:
      DataNotFound: a file cannot be downloaded or written; the message gives the reason for each URL.
    """
    only_mirror = mirror or os.environ.get("MNIST_MIRROR")
    mirrors = [only_mirror] if only_mirror else list(MIRRORS)
    failures = []
    for name in names:
        for mirror in list(mirrors):
            url = f"{mirror.rstrip('/')}/{name}.gz"
            try:
                content = _fetch(url, name)
                read_idx(io.BytesIO(content), "the response", name)
                break
            except (_DownloadError, InputError) as error:
                failures.append(f"{url}: {error}")
                if isinstance(error, _MirrorUnreachable):
                    mirrors.remove(mirror)
        else:
            raise DataNotFound(f"could not be downloaded ({'; '.join(failures)})")
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
    max_size = IDX_FILES[name].max_gzip_size

    def fetch() -> None:
        try:
            with requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
                response_started.set()
                response.raise_for_status()
                length = response.headers.get("Content-Length", "")
                with tqdm(
                    desc=name,
                    total=int(length) if length.isdigit() else None,
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    disable=None,  # show it on terminals only
                ) as bar:
                    for chunk in response.iter_content(2**14):
                        content.write(chunk)
                        bar.update(len(chunk))
                        if content.tell() > max_size:
                            raise _DownloadError(f"it sends more than the {max_size:,} bytes that {name}.gz can have")
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
    if isinstance(failure, _DownloadError):
        raise failure
    if isinstance(failure, requests.HTTPError) and failure.response is not None:
        raise _DownloadError(f"HTTP {failure.response.status_code} {failure.response.reason}")
    unreachable = isinstance(failure, (requests.ConnectionError, requests.Timeout))
    raise (_MirrorUnreachable if unreachable else _DownloadError)(_find_root_cause(failure))


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
