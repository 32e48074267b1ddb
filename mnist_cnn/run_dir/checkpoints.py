"""Crash-safe checkpoints: tf.train.Saver's files plus a manifest, which is written last as a commit marker.

The manifest checkpoints/step-550.json holds the SHA-256 of each file of step-550, the state of the run that is not
in TensorFlow's variables, and the SHA-256 of both. A checkpoint without a valid manifest is ignored.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple, Union

from mnist_cnn.data.mnist import Dataset
from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write, fsync_path, tensorflow_path, tensorflow_readable
from mnist_cnn.model import Model, build_model
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.config import read_class_names
from mnist_cnn.tf1 import new_session, tf

MAX_TO_KEEP = 3  # as in tf.train.Saver; the best checkpoint is kept in addition

# Files of a checkpoint. A killed process may also leave TensorFlow's `*.tempstate*` behind.
_CHECKPOINT_FILE = re.compile(r"step-(\d{1,18})\.(json|index|data-\d{5}-of-\d{5})$")

logger = logging.getLogger(__name__)


def make_saver() -> Any:
    """Adds a tf.train.Saver for the variables of the current graph."""
    return tf.train.Saver()


def save(run_dir: Path, session: Any, saver: Any, state: Dict[str, Any], best_step: Optional[int] = None) -> None:
    """Writes a checkpoint, then deletes all but the latest MAX_TO_KEEP and that of `best_step`.

    Args:
      run_dir: the run directory.
      session: a tf.Session with the variables.
      saver: the Saver of `make_saver`.
      state: the state of the run apart from TensorFlow's variables, serialisable as JSON; with the key "step".
      best_step: the step of the checkpoint with the best validation accuracy.

    Raises:
      OSError: the checkpoint cannot be written; earlier ones are unchanged.
    """
    folder = Path(run_dir, "checkpoints")
    name = f"step-{state['step']}"
    try:
        folder.mkdir(exist_ok=True)
        # In TensorFlow 2, Saver.save also looks for files, with the path as a pattern and in the locale's encoding.
        definition = saver.saver_def
        session.run(definition.save_tensor_name, {definition.filename_tensor_name: tensorflow_path(folder / name)})
        # tf.train.latest_checkpoint reads this file. Relative paths allow moving the run directory.
        paths = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        atomic_write(folder / "checkpoint", paths.encode())
        digests = {}
        for path in folder.glob(name + ".*"):
            if _CHECKPOINT_FILE.match(path.name) and path.suffix != ".json":
                fsync_path(path)
                digests[path.name] = _sha256(path)
        manifest = {"files": digests, "state": state}
        content = json.dumps({**manifest, "sha256": _manifest_sha256(manifest)})
        atomic_write(folder / (name + ".json"), content.encode())
    except (tf.errors.OpError, OSError) as error:
        with contextlib.suppress(OSError):
            _delete_all_but(folder, _steps_with_manifest(folder))
        raise OSError(
            f"{folder}: the checkpoint of step {state['step']} cannot be written ({describe_os_error(error)})"
        ) from error
    # Newer files are left over from before the run was resumed at an earlier step.
    latest_steps = sorted(step for step in _steps_with_manifest(folder) if step <= state["step"])[-MAX_TO_KEEP:]
    kept = set(latest_steps) if best_step is None else {*latest_steps, best_step}
    with contextlib.suppress(OSError):  # the next save retries the deletion
        _delete_all_but(folder, kept)


def latest_checkpoint(run_dir: Union[str, Path]) -> Tuple[Optional[str], Optional[Dict[str, Any]]]:
    """Finds the latest undamaged checkpoint. Logs a warning for each newer one that is damaged.

    Returns:
      (path prefix for `restore`, state), or (None, None) if there is no checkpoint.

    Raises:
      InputError: all checkpoints are damaged.
    """
    folder = Path(run_dir, "checkpoints")
    steps = sorted(_steps_with_manifest(folder), reverse=True)
    for step in steps:
        try:
            return str(folder / f"step-{step}"), _verify(folder, step)
        except InputError as error:
            if step not in _steps_with_manifest(folder):  # deleted meanwhile, by the process that trains
                return latest_checkpoint(run_dir)
            logger.warning("%s; skipping this checkpoint", error)
    if steps:
        raise InputError(f"{folder}: all checkpoints are damaged: start a new run")
    return None, None


def restore_latest(restore: Callable[[str], None], run_dir: Union[str, Path], prefix: Optional[str] = None) -> None:
    """Calls `restore` with the path prefix of a checkpoint, and again with a later one's if that was deleted meanwhile.

    A process that trains deletes its earlier checkpoints.

    Args:
      restore: a function that raises InputError or OSError if the checkpoint cannot be restored.
      run_dir: the run directory.
      prefix: that of a checkpoint; default: the latest undamaged one's.

    Raises:
      InputError: there is no undamaged checkpoint.
    """
    prefix = prefix or require_checkpoint(run_dir)
    while True:
        try:
            return restore(prefix)
        except (InputError, OSError):
            if os.path.lexists(prefix + ".json"):
                raise
        prefix = require_checkpoint(run_dir)


def restore(session: Any, saver: Any, prefix: str) -> None:
    """Restores the variables of a checkpoint.

    Raises:
      InputError: its variables are not those of the graph.
      OSError: its path is one that TensorFlow cannot read, and a temporary copy cannot be written.
    """
    folder, name = Path(prefix).parent, Path(prefix).name
    try:
        with tensorflow_readable(folder, f"{name}.*") as path:
            saver.restore(session, os.path.join(path, name))
    except (tf.errors.OpError, ValueError) as error:
        raise InputError(f"{prefix} is damaged, or not of this network ({type(error).__name__})") from error


@contextlib.contextmanager
def restore_run(run_dir: Union[str, Path]) -> Iterator[Tuple[Any, Model]]:
    """Restores a run's latest undamaged checkpoint: `with restore_run(run_dir) as (session, model):`.

    Logs a warning for each newer checkpoint that is damaged.

    Raises:
      RunNotFound: `run_dir` is not a run.
      InputError: no checkpoint was written, or all are damaged.
    """
    config = directory.read_json(run_dir, "config.json")
    prefix = require_checkpoint(run_dir)
    with tf.Graph().as_default(), new_session() as session:
        model = build_model(config.get("model", ""), classes=len(read_class_names(config)))
        restore_latest(functools.partial(restore, session, make_saver()), run_dir, prefix)
        yield session, model


def restore_weights(session: Any, weights: Dict[str, Any], run_dir: Union[str, Path], dataset: Dataset) -> None:
    """Sets a network's weights to those of another run's latest undamaged checkpoint.

    The last layer keeps its weights if the run has other classes than the dataset.

    Args:
      session: a tf.Session.
      weights: the network's variables by name, in data-flow order.
      run_dir: the other run.
      dataset: the dataset that the network is trained on.

    Raises:
      RunNotFound, InputError: as `restore_run`; or the run's network is another one.
    """
    has_same_classes = read_class_names(directory.read_json(run_dir, "config.json")) == dataset.class_names
    restored = list(weights.items()) if has_same_classes else list(weights.items())[:-1]

    def restore_variables(prefix: str) -> None:
        folder, checkpoint = Path(prefix).parent, Path(prefix).name
        try:
            with tensorflow_readable(folder, f"{checkpoint}.*") as path:
                reader = tf.train.load_checkpoint(os.path.join(path, checkpoint))
                for name, variable in restored:
                    if reader.get_variable_to_shape_map().get(name) != variable.shape.as_list():
                        raise InputError(f"{run_dir} is a run of another network: its {name} has another shape")
                    # The initializer's input takes any value, without another op in the graph.
                    session.run(variable.initializer, {variable.initializer.inputs[1]: reader.get_tensor(name)})
        except (tf.errors.OpError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{prefix} is damaged ({type(error).__name__})") from error

    restore_latest(restore_variables, run_dir)


def require_checkpoint(run_dir: Union[str, Path]) -> str:
    """Returns the path prefix of the latest undamaged checkpoint. Raises InputError if there is none."""
    prefix, _ = latest_checkpoint(run_dir)
    if prefix is None:
        raise InputError(f"{Path(run_dir, 'checkpoints')}: no checkpoint was written: start a new run")
    return prefix


def _steps_with_manifest(folder: Path) -> Set[int]:
    matches = [_CHECKPOINT_FILE.match(path.name) for path in folder.glob("step-*.json")]
    return {int(match.group(1)) for match in matches if match}


def _verify(folder: Path, step: int) -> Dict[str, Any]:
    """Returns the state in a checkpoint's manifest. Raises InputError if manifest or files are damaged."""
    name = f"step-{step}.json"
    manifest = directory.read_json(folder, name)
    expected_sha256 = manifest.pop("sha256", None)
    try:
        if expected_sha256 != _manifest_sha256(manifest):
            raise ValueError("its SHA-256 does not match its content")
        for file, sha256 in manifest["files"].items():
            if _sha256(folder / file) != sha256:
                raise ValueError(f"the SHA-256 of {file} does not match the manifest")
    except OSError as error:
        raise InputError(f"{folder / name}: {error.filename} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{folder / name} is damaged: {error}") from error
    return manifest["state"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _manifest_sha256(manifest: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def describe_os_error(error: Exception) -> str:
    """Returns the system's reason of an OSError or a tf.errors.OpError, whose message has several lines."""
    match = re.search(r"; ([A-Z][^\n;]+)", str(error))
    return match.group(1) if match else getattr(error, "strerror", None) or type(error).__name__


def _delete_all_but(folder: Path, steps: Set[int]) -> None:
    # Delete manifests first, so that none refers to missing files.
    for path in sorted(folder.glob("step-*"), key=lambda path: path.suffix != ".json"):
        match = _CHECKPOINT_FILE.match(path.name)
        if not match or int(match.group(1)) not in steps:
            path.unlink()
    fsync_path(folder)
