"""Checkpoints that hold: TensorFlow's files, and beside them a record that is written last.

checkpoints/step-550.json holds the SHA-256 of the files of step-550, the state of the run that is not in
TensorFlow's variables, and the SHA-256 of both. No record, or one that does not fit: no checkpoint.
"""

import contextlib
import hashlib
import json
import re
from pathlib import Path

from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write, sync
from mnist_cnn.model import build_model
from mnist_cnn.run_dir import directory
from mnist_cnn.tf1 import new_session, tf

KEPT = 3  # the newest ones, beside the best

# What belongs to a checkpoint. TensorFlow's `*.tempstate*`, which a kill leaves behind, does not.
_FILE = re.compile(r"step-(\d{1,18})\.(json|index|data-\d{5}-of-\d{5})$")


def saver():
    """A Saver for the variables of the current graph, to give to `save` and `restore`."""
    # It shall delete nothing itself. With relative paths a run can be moved.
    return tf.train.Saver(max_to_keep=None, save_relative_paths=True)


def save(run, session, tf_saver, state, best_step=None):
    """Writes a checkpoint, then removes those that are neither among the newest nor that of `best_step`.

    Args:
      state: a dict that JSON can hold, with the "step".

    Raises:
      OSError: it cannot be written; earlier ones are as they were.
    """
    folder = Path(run, "checkpoints")
    name = f"step-{state['step']}"
    try:
        folder.mkdir(exist_ok=True)
        tf_saver.save(session, str(folder / "step"), state["step"], write_meta_graph=False)
        digests = {}
        for path in folder.glob(name + ".*"):
            if _FILE.match(path.name) and path.suffix != ".json":
                sync(path)
                digests[path.name] = _sha256(path)
        record = {"files": digests, "state": state}
        atomic_write(folder / (name + ".json"), json.dumps({**record, "sha256": _record_sha256(record)}).encode())
    except (tf.errors.OpError, OSError) as error:
        with contextlib.suppress(OSError):
            _remove_all_but(folder, _steps(folder))
        # TensorFlow's message is many lines, of which one holds the system's word.
        reason = re.search(r"; ([A-Z][^\n;]+)", str(error))
        reason = reason.group(1) if reason else getattr(error, "strerror", None) or type(error).__name__
        raise OSError(f"{folder}: the checkpoint of step {state['step']} cannot be written ({reason})") from error
    # A newer one can only be damaged: the run went on from before it.
    newest_steps = sorted(step for step in _steps(folder) if step <= state["step"])[-KEPT:]
    with contextlib.suppress(OSError):  # the next one tries again
        _remove_all_but(folder, {*newest_steps, best_step})


def newest(run, report):
    """The newest good checkpoint: (its prefix for TensorFlow, its state), or (None, None) where there is none at all.

    Calls `report` with a line about each newer one that is damaged. Raises InputError where all are.
    """
    folder = Path(run, "checkpoints")
    steps = sorted(_steps(folder), reverse=True)
    for step in steps:
        try:
            return str(folder / f"step-{step}"), _verified(folder, step)
        except InputError as error:
            report(f"{error}; it is passed over")
    if steps:
        raise InputError(f"{folder} holds damaged checkpoints only: begin a new run")
    return None, None


def restore(session, tf_saver, prefix):
    """Reads the variables of a good checkpoint. Raises InputError where they are not those of the graph."""
    try:
        tf_saver.restore(session, prefix)
    except (tf.errors.OpError, ValueError) as error:
        raise InputError(f"{prefix} is not a checkpoint of this network ({type(error).__name__})") from error


@contextlib.contextmanager
def restore_run(run, report=print):
    """`with restore_run(run) as (session, model):` a run's network, with the weights of its newest good checkpoint.

    Calls `report` with a line about each newer one that is damaged. Raises InputError where none is good.
    """
    model = directory.read_json(run, "config.json").get("model")
    prefix, _ = newest(run, report)
    if prefix is None:
        raise InputError(f"{Path(run, 'checkpoints')} holds no checkpoint: the run stopped before its first")
    with tf.Graph().as_default(), new_session() as session:
        network = build_model(model)
        restore(session, saver(), prefix)
        yield session, network


def _steps(folder):
    """The steps that have a record."""
    matches = [_FILE.match(path.name) for path in folder.glob("step-*.json")]
    return {int(match.group(1)) for match in matches if match}


def _verified(folder, step):
    """The state of a checkpoint. Raises InputError unless record and files are what was written."""
    name = f"step-{step}.json"
    record = directory.read_json(folder, name)
    claimed = record.pop("sha256", None)
    try:
        if claimed != _record_sha256(record):
            raise ValueError("its SHA-256 is not that of its content")
        for file, sha256 in record["files"].items():
            if _sha256(folder / file) != sha256:
                raise ValueError(f"the SHA-256 of {file} is not the recorded one")
    except OSError as error:
        raise InputError(f"{folder / name}: its {error.filename} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{folder / name} is damaged: {error}") from error
    return record["state"]


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_sha256(record):
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _remove_all_but(folder, steps):
    """Whatever a checkpoint or its writing left here, records first, so that none stands for missing files."""
    for path in sorted(folder.glob("step-*"), key=lambda path: path.suffix != ".json"):
        match = _FILE.match(path.name)
        if not match or int(match.group(1)) not in steps:
            path.unlink()
    sync(folder)
