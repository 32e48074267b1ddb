"""MNIST's files from a mirror, verified before they get their names. Needs the extra `download`."""

import io
import os
import threading

from tqdm import tqdm

from mnist_cnn.data.idx import IDX_FILES, read_idx
from mnist_cnn.errors import DataNotFound, InputError
from mnist_cnn.files import atomic_write

# The bucket that TensorFlow's own tutorials used, and the one that torchvision uses.
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
ANSWER_SECONDS = 4  # until a mirror must have begun to answer: two that do not are known within 10
PAUSE_SECONDS = 10  # between two pieces of a file
TOTAL_SECONDS = 300  # for one file, of which the largest has 10 MB


class _Failed(Exception):
    """The message says why one file did not come from one mirror."""


class _NoAnswer(_Failed):
    """And the mirror need not be asked for the others."""


def download(folder, names, mirror=None):
    """Puts MNIST's files `names` into `folder`, packed as they come.

    Asks `mirror`, a URL, else `$MNIST_MIRROR`, else each of MIRRORS in turn. What comes is held in
    memory until its decompressed content has the right SHA-256, then appears under its name at once.
    Raises DataNotFound, which names each source and why it failed.
    """
    named = mirror or os.environ.get("MNIST_MIRROR")
    mirrors = [named] if named else list(MIRRORS)
    failures = []
    for name in names:
        for mirror in list(mirrors):
            url = f"{mirror.rstrip('/')}/{name}.gz"
            try:
                content = _get(url, name)
                read_idx(io.BytesIO(content), "what it sent", name)
                break
            except (_Failed, InputError) as error:
                failures.append(f"{url}: {error}")
                if isinstance(error, _NoAnswer):
                    mirrors.remove(mirror)
        else:
            raise DataNotFound(f"could not be downloaded ({'; '.join(failures)})")
        packed = ".gz" if content.startswith(b"\x1f\x8b") else ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / (name + packed), content)
        except OSError as error:
            raise DataNotFound(f"cannot be written there ({error.strerror})") from error


def _get(url, name):
    """What a URL sends, as bytes; at most as many as MNIST's file can have, packed or not."""
    try:
        import requests
    except ImportError as error:
        raise _NoAnswer("to download, pip install '.[download]'") from error
    content, errors = io.BytesIO(), []
    answered, ended = threading.Event(), threading.Event()
    most = IDX_FILES[name].most_packed

    def get():
        try:
            with requests.get(url, stream=True, timeout=(ANSWER_SECONDS, PAUSE_SECONDS)) as response:
                answered.set()
                response.raise_for_status()
                length = response.headers.get("Content-Length", "")
                with tqdm(
                    desc=name,
                    total=int(length) if length.isdigit() else None,
                    unit="B",
                    unit_scale=True,
                    leave=False,
                    disable=None,
                ) as bar:
                    for chunk in response.iter_content(2**14):
                        content.write(chunk)
                        bar.update(len(chunk))
                        if content.tell() > most:
                            raise _Failed(f"it sends more than the {most:,} bytes that {name}.gz can have")
        except Exception as error:
            errors.append(error)
        finally:
            answered.set()
            ended.set()

    # In a thread of its own: requests bounds neither a name look-up nor a file that trickles.
    threading.Thread(target=get, daemon=True).start()
    if not answered.wait(ANSWER_SECONDS):
        raise _NoAnswer(f"no answer within {ANSWER_SECONDS} seconds")
    if not ended.wait(TOTAL_SECONDS):
        raise _NoAnswer(f"not done after {TOTAL_SECONDS} seconds")
    if not errors:
        return content.getvalue()
    (error,) = errors
    if isinstance(error, _Failed):
        raise error
    if isinstance(error, requests.HTTPError):
        raise _Failed(f"HTTP {error.response.status_code} {error.response.reason}")
    failed = _NoAnswer if isinstance(error, (requests.ConnectionError, requests.Timeout)) else _Failed
    raise failed(_root_cause(error))


def _root_cause(error):
    """requests wraps urllib3's wrapping of what the system said, which is the part to read."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return str(error) or type(error).__name__
