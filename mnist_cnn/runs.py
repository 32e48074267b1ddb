"""A run directory: config.json, history.csv, result.json and checkpoints/, each file replaced atomically."""

import contextlib
import csv
import io
import itertools
import json
import time
from pathlib import Path

from mnist_cnn.errors import InputError
from mnist_cnn.files import replace
from mnist_cnn.model import build_model
from mnist_cnn.tf1 import tf

RUNS = Path("runs")


def create(run_dir=None):
    """Makes a new run directory and returns its Path: `run_dir`, else runs/<date-time>, made unique.

    Raises InputError where `run_dir` has something in it, or cannot be written to.
    """
    try:
        if run_dir is None:
            run = _create_unique(time.strftime("%Y-%m-%d_%H-%M-%S"))
        else:
            run = Path(run_dir)
            run.mkdir(parents=True, exist_ok=True)
            if any(run.iterdir()):
                raise InputError(f"{run} is not empty, and a run is never overwritten: name a new folder")
        (run / "checkpoints").mkdir()
    except OSError as error:
        raise InputError(f"{error.filename}: the run cannot be written there ({error.strerror})") from error
    return run


def newest():
    """The Path of the completed run in runs/ that ended last. Raises InputError where there is none."""
    ended = []
    for path in RUNS.glob("*/result.json"):
        with contextlib.suppress(InputError):  # a damaged run hides none of the others
            if read_json(path.parent, path.name).get("completed"):
                ended.append((path.stat().st_mtime, path.parent))
    if not ended:
        raise InputError(f"there is no completed run in {RUNS.resolve()}: train one, or name a run with --run-dir")
    return max(ended)[1]


def write_json(run, name, content):
    replace(Path(run, name), (json.dumps(content, indent=2) + "\n").encode())


def write_history(run, rows):
    """`rows`: a dict for each epoch, all with the same keys, which become history.csv's first line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace(Path(run, "history.csv"), text.getvalue().encode())


def read_json(run, name):
    """The dict in a run's config.json or result.json. Raises InputError where there is no such thing."""
    path = Path(run, name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{run} is not a run: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object")
    return content


def save(run, session, saver, step):
    """Writes a checkpoint of the session's variables. Raises OSError where it cannot be written."""
    checkpoints = Path(run, "checkpoints")
    try:
        saver.save(session, str(checkpoints / "step"), step, write_meta_graph=False)
    except tf.errors.OpError as error:
        raise OSError(f"{checkpoints}: a checkpoint cannot be written (is the disk full, or read-only?)") from error


@contextlib.contextmanager
def restored(run):
    """`with restored(run) as (session, model):` the network with the weights of the run's newest checkpoint.

    Raises InputError where there is no checkpoint, or one that TensorFlow cannot read.
    """
    checkpoints = Path(run, "checkpoints")
    newest_checkpoint = tf.train.latest_checkpoint(str(checkpoints))
    if newest_checkpoint is None:
        raise InputError(f"{checkpoints} holds no checkpoint: the run stopped before its first, or is not a run")
    with tf.Graph().as_default(), tf.Session() as session:
        model = build_model(read_json(run, "config.json").get("model", "cnn"))
        try:
            tf.train.Saver().restore(session, newest_checkpoint)
        except (tf.errors.OpError, ValueError) as error:
            raise InputError(f"{newest_checkpoint} cannot be read: {str(error).splitlines()[0]}") from error
        yield session, model


def _create_unique(name):
    RUNS.mkdir(exist_ok=True)
    for attempt in itertools.count(1):
        run = RUNS / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            run.mkdir()
            return run
        except FileExistsError:
            continue
