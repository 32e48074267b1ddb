"""A run directory: config.json, history.csv and result.json, each replaced atomically, and checkpoints/."""

import contextlib
import csv
import io
import itertools
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

import mnist_cnn
from mnist_cnn import cpu
from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write
from mnist_cnn.recipes import recipe_from_config

RUNS_DIR = Path("runs")
LOCK = ".lock"


@contextlib.contextmanager
def open_run_dir(run_dir=None, resume=False):
    """`with open_run_dir(...) as run:` the Path of a run directory that no other process can open meanwhile.

    A new or empty one, by default runs/<date-time>, made unique; with `resume`, any.
    Raises InputError where it is in use, cannot be written to, or has something in it without `resume`.
    """
    try:
        if run_dir is None:
            run = _create_unique(time.strftime("%Y-%m-%d_%H-%M-%S"))
        else:
            run = Path(run_dir)
            run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(run / LOCK))  # a dead process leaves none, here or on Windows
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{run} is in use by another process: wait for it, or name another folder") from error
    except OSError as error:
        raise InputError(f"{error.filename}: the run cannot be written there ({error.strerror})") from error
    try:
        if not resume and any(path.name != LOCK for path in run.iterdir()):
            raise InputError(f"{run} is not empty, and a run is never overwritten: name a new folder, or --resume it")
        for left_by_a_killed_process in run.glob("*.tmp"):
            left_by_a_killed_process.unlink()
        yield run
    finally:
        lock.release()


def find_run_to_resume(run_dir=None):
    """The Path of the run to go on with, by default the newest unfinished one in runs/, and its config.json.

    That is None where the run was killed before it had one. Raises InputError where there is no such run.
    """
    run = Path(run_dir) if run_dir else latest_run(completed=False)
    return run, read_json(run, "config.json") if (run / "config.json").exists() else None


def latest_run(completed):
    """The Path of the newest run in runs/ that is completed, or is not. Raises InputError where there is none."""
    found = []
    for path in RUNS_DIR.glob("*/config.json"):
        with contextlib.suppress(InputError, OSError):  # a damaged run hides none of the others
            result = path.parent / "result.json"
            if (result.exists() and read_json(path.parent, result.name).get("completed") is True) == completed:
                found.append((path.stat().st_mtime, path.parent))
    if not found:
        kind = "completed" if completed else "unfinished"
        raise InputError(f"there is no {kind} run in {RUNS_DIR.resolve()}: train one, or name a run with --run-dir")
    return max(found)[1]


def describe_run(model, recipe, seed, dataset, tensorflow_version, mixed_precision):
    """What a run is, as a dict for config.json: all that decides its numbers, and where they were computed."""
    return {
        "model": model,
        "recipe": asdict(recipe),
        "seed": seed,
        "dataset": {"name": dataset.name, "sha256": dataset.digest()},
        "machine": {
            "TensorFlow": tensorflow_version,
            "CPU": cpu.name(),
            "number of CPUs": os.cpu_count(),
            "mixed precision": mixed_precision,
        },
        "versions": {
            "mnist_cnn": mnist_cnn.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def check_resume_compatible(run, before, now):
    """Compares what a run was with what it would go on as. Returns the warnings, a line each.

    Raises InputError, which names what differs, where it would be another run. More epochs are not, unless
    the learning rate's schedule depends on them.
    """
    was, would_be = _identity(before), _identity(now)
    if was["schedule"] == would_be["schedule"] == "constant":
        del would_be["epochs"]
    differing = [f"{name} {was[name]}, not {value}" for name, value in would_be.items() if was[name] != value]
    if differing:
        raise InputError(f"{run} has {' and '.join(differing)}: resume it as it was, or begin a new run")
    return [
        f"{name} was {before['machine'][name]} and is {value}: the run goes on, but not bit for bit"
        for name, value in now["machine"].items()
        if before["machine"][name] != value
    ]


def _identity(config):
    model, recipe, seed = recipe_from_config(config)
    return {"model": model, **asdict(recipe), "seed": seed, "dataset": config["dataset"]["sha256"]}


def write_json(run, name, content):
    atomic_write(Path(run, name), (json.dumps(content, indent=2) + "\n").encode())


def read_json(run, name):
    """The dict in one of a run's JSON files. Raises InputError where there is no such thing."""
    path = Path(run, name)
    try:
        if path.stat().st_size > 2**24:
            raise ValueError("it is over 16 MB")
        content = json.loads(path.read_bytes().decode(), parse_int=_parse_int)
    except OSError as error:
        raise InputError(f"{run} is not a run: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object")
    return content


HISTORY_COLUMNS = ("epoch", "avg_cost", "validation_accuracy", "learning_rate", "seconds", "images_per_second")


def write_history(run, rows):
    """`rows`: for each epoch a dict of the HISTORY_COLUMNS."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(Path(run, "history.csv"), text.getvalue().encode())


def read_history(run):
    """For each finished epoch a dict of the HISTORY_COLUMNS: `epoch` an int, the rest floats.

    Raises InputError where the run has none, or it is damaged.
    """
    path = Path(run, "history.csv")
    try:
        if path.stat().st_size > 2**24:
            raise ValueError("it is over 16 MB")
        rows = list(csv.reader(path.read_bytes().decode().splitlines()))
        if not rows or tuple(rows[0]) != HISTORY_COLUMNS or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError("its columns are not " + ",".join(HISTORY_COLUMNS))
        return [{**dict(zip(rows[0], map(float, row))), "epoch": _parse_int(row[0])} for row in rows[1:]]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _create_unique(name):
    RUNS_DIR.mkdir(exist_ok=True)
    for attempt in itertools.count(1):
        run = RUNS_DIR / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            run.mkdir()
            return run
        except FileExistsError:
            continue


def _parse_int(digits):
    # Old Pythons take minutes for an integer of a million digits.
    if len(digits) > 20:
        raise ValueError("it holds a number of more than 20 digits")
    return int(digits)
