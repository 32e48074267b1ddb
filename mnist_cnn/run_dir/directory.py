"""A run directory: config.json, history.csv and result.json, each replaced atomically, and checkpoints/."""

import contextlib
import csv
import io
import itertools
import json
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from filelock import FileLock, Timeout

from mnist_cnn.errors import InputError, RunNotFound
from mnist_cnn.files import atomic_write, tensorflow_path

RUNS_DIR = Path("runs")
LOCK_FILE = ".lock"
MAX_FILE_SIZE = 2**24  # bytes
HISTORY_COLUMNS = ("epoch", "avg_cost", "validation_accuracy", "learning_rate", "seconds", "images_per_second")


@contextlib.contextmanager
def open_run_dir(run_dir: Union[str, Path, None] = None, resume: bool = False) -> Iterator[Path]:
    """Creates a run directory if necessary, and locks it: `with open_run_dir(...) as run_dir:`.

    Args:
      run_dir: a new or empty directory; default: runs/<date-time>, made unique.
      resume: allow a directory that has files in it.

    Raises:
      InputError: another process uses it, it cannot be written to, its path is not UTF-8, or it is not empty and
        `resume` is False.
    """
    try:
        if run_dir is None:
            path = _create_unique(time.strftime("%Y-%m-%d_%H-%M-%S"))
        else:
            path = Path(run_dir)
            tensorflow_path(path)  # an error before training rather than at the first checkpoint
            path.mkdir(parents=True, exist_ok=True)
        lock = lock_dir(path)
    except OSError as error:
        raise InputError(f"{error.filename or run_dir}: the run cannot be written there ({error.strerror})") from error
    with lock:
        if not resume and any(entry.name != LOCK_FILE for entry in path.iterdir()):
            raise InputError(
                f"{path} is not empty, and a run is never overwritten: choose a new directory or resume it"
            )
        for pattern in ("*.json", "*.csv", "replay/*.npz"):  # atomic_write's; other temporary files are not a run's
            for stale_tmp in path.glob(f"{pattern}.[0-9]*.tmp"):
                stale_tmp.unlink()
        yield path


def lock_dir(path: Path) -> Any:
    """Locks a directory. Returns a context manager whose end unlocks it; so does the death of the process.

    Raises:
      InputError: another process uses it, or its file system has no locks.
      OSError: its lock file cannot be written.
    """
    try:
        return FileLock(str(path / LOCK_FILE)).acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{path} is in use by another process: wait for it, or choose another directory") from error
    except NotImplementedError as error:
        raise InputError(f"{path}: its file system has no locks: choose a directory on another one") from error


def find_run_to_resume(run_dir: Union[str, Path, None] = None) -> Tuple[Path, Optional[Dict[str, Any]]]:
    """Returns the run to resume, by default the latest unfinished one in runs/, and its config.json.

    The config is None if the run died before writing it.

    Raises:
      RunNotFound: there is no unfinished run in runs/.
      InputError: config.json is damaged.
    """
    path = Path(run_dir) if run_dir else latest_run(completed=False)
    return path, read_json(path, "config.json") if (path / "config.json").exists() else None


def latest_run(completed: bool) -> Path:
    """Returns the latest run in runs/ that is completed, or the latest that is not.

    Raises:
      RunNotFound: there is none.
    """
    found = []
    for path in RUNS_DIR.glob("*/config.json"):
        with contextlib.suppress(InputError, OSError):  # a damaged run must not hide the others
            result = path.parent / "result.json"
            if (result.exists() and read_json(path.parent, result.name).get("completed") is True) == completed:
                found.append((path.stat().st_mtime, path.parent))
    if not found:
        raise RunNotFound(f"there is no {'completed' if completed else 'unfinished'} run in {RUNS_DIR.resolve()}")
    return max(found)[1]


def write_json(run_dir: Path, name: str, content: Dict[str, Any]) -> None:
    """Writes a JSON file of the run atomically. Raises OSError if it cannot be written."""
    atomic_write(Path(run_dir, name), (json.dumps(content, indent=2) + "\n").encode())


def read_json(run_dir: Union[str, Path], name: str) -> Dict[str, Any]:
    """Reads a JSON file of the run.

    Raises:
      RunNotFound: it is missing or cannot be opened.
      InputError: it is not a JSON object, or larger than MAX_FILE_SIZE.
    """
    path = Path(run_dir, name)
    try:
        content = json.loads(_read_text(path), parse_int=_parse_int)
    except OSError as error:
        raise RunNotFound(f"{run_dir} is not a run: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it is not a JSON object")
    return content


def write_history(run_dir: Path, rows: List[Dict[str, Any]]) -> None:
    """Writes history.csv atomically: one row per epoch, a dict of the HISTORY_COLUMNS."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(Path(run_dir, "history.csv"), text.getvalue().encode())


def read_history(run_dir: Union[str, Path]) -> List[Dict[str, Any]]:
    """Reads history.csv: for each finished epoch a dict of the HISTORY_COLUMNS; `epoch` is an int, the rest floats.

    Raises:
      InputError: it is missing or damaged.
    """
    path = Path(run_dir, "history.csv")
    try:
        rows = list(csv.reader(_read_text(path).splitlines()))
        if not rows or tuple(rows[0]) != HISTORY_COLUMNS or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("its columns are not " + ",".join(HISTORY_COLUMNS))
        return [{**dict(zip(rows[0], map(float, row))), "epoch": _parse_int(row[0])} for row in rows[1:]]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _create_unique(name: str) -> Path:
    RUNS_DIR.mkdir(exist_ok=True)
    for attempt in itertools.count(1):
        path = RUNS_DIR / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            continue
    raise AssertionError("unreachable")


def _read_text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_SIZE:
        raise ValueError("it is over 16 MB")
    return path.read_bytes().decode()


def _parse_int(digits: str) -> int:
    # int() is quadratic in old Pythons (CVE-2020-10735).
    if len(digits) > 20:
        raise ValueError("it holds a number of more than 20 digits")
    return int(digits)
