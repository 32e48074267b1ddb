"""Snapshots of a run's weights, with which the page and the report replay its training. Training does not need them.

replay/step-N.npz holds the weights after step N as float16, and the cost and the accuracy on validation images: float64
each. A checkpoint, from which a run resumes, has Adam's averages too and is six times as large.
"""

import io
import logging
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Set, Union

import numpy as np

from mnist_cnn.data.mnist import Split
from mnist_cnn.data.npz import read_npz
from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import run_batches
from mnist_cnn.files import atomic_write
from mnist_cnn.model import Model

VALIDATION_IMAGES = 1000  # for cost and accuracy; all 5,000 would take a second per snapshot

_SNAPSHOT_FILE = re.compile(r"step-(\d{1,18})\.npz")

logger = logging.getLogger(__name__)


class Snapshot(NamedTuple):
    """The network after a step."""

    weights: Dict[str, np.ndarray]  # float32, by the names of the model's variables
    cost: float  # mean cross-entropy on the first VALIDATION_IMAGES validation images, in nats
    accuracy: float  # on the same images, in [0, 1]


class Recorder:
    """Writes the snapshots of one run."""

    def __init__(self, run_dir: Path, number: int, last_step: int, session: Any, model: Model, validation: Split):
        """Chooses the steps, evenly over their logarithm: 0, the last one and those between.

        Args:
          run_dir: the run directory.
          number: the number of snapshots, 3 or more; 0 for none.
          last_step: the number of the run's steps.
          session: a tf.Session with the weights.
          model: the run's Model.
          validation: the dataset's validation split.
        """
        self._folder, self._session, self._model = run_dir / "replay", session, model
        chosen = slice(0, VALIDATION_IMAGES)
        self._validation = Split(validation.images[chosen], validation.labels[chosen], validation.num_classes)
        self._steps = choose_steps(number, last_step)

    def record(self, step: int) -> None:
        """Writes a snapshot if the step is one of those chosen. A full disk must not end the training."""
        if step not in self._steps:
            return
        weights = self._session.run(self._model.weights)
        probabilities = run_batches(self._session, self._model, self._model.probabilities, self._validation)
        labels = self._validation.labels
        of_label = probabilities[np.arange(len(labels)), labels].astype(float)
        with np.errstate(over="ignore"):  # beyond float16's 65,504 weights become infinite, which readers refuse
            halves = {name: array.astype(np.float16) for name, array in weights.items()}
        file = io.BytesIO()
        np.savez(
            file,
            cost=-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean(),
            accuracy=(probabilities.argmax(1) == labels).mean(),
            **halves,
        )
        try:
            self._folder.mkdir(exist_ok=True)
            atomic_write(self._folder / f"step-{step}.npz", file.getvalue())
        except OSError as error:
            logger.warning("the snapshot of step %d cannot be written (%s); continuing", step, error)


def choose_steps(number: int, last_step: int) -> Set[int]:
    """Returns at most `number` steps of 0..last_step, both included, evenly over their logarithm; none for 0."""
    if not number:
        return set()
    # Steps cannot lie closer than 1: at the start, the logarithm's would. More points make up for those that coincide.
    for points in range(number - 1, 20 * number):
        steps = {0, last_step, *(int(round(step)) for step in np.geomspace(1, last_step, points))}
        if len(steps) >= min(number, last_step + 1):
            break
    return steps


def list_snapshots(run_dir: Union[str, Path]) -> List[int]:
    """Returns the steps of a run's snapshots, in order; none for a run without them."""
    matches = [_SNAPSHOT_FILE.fullmatch(path.name) for path in Path(run_dir, "replay").glob("step-*.npz")]
    return sorted(int(match.group(1)) for match in matches if match)


def read_snapshot(run_dir: Union[str, Path], step: int, weight_shapes: Dict[str, List[int]]) -> Snapshot:
    """Reads the snapshot of a step.

    Args:
      run_dir: the run directory.
      step: one of `list_snapshots`.
      weight_shapes: the shapes of the network's weights by name.

    Raises:
      InputError: there is no such snapshot, or it is damaged, or one of another network.
    """
    path = Path(run_dir, "replay", f"step-{step}.npz")
    shapes: Dict[str, List[int]] = {**weight_shapes, "cost": [], "accuracy": []}
    arrays = read_npz(path, list(shapes), "f")
    for name, shape in shapes.items():
        if list(arrays[name].shape) != shape or not np.isfinite(arrays[name]).all():
            raise InputError(f"{path} is damaged, or of another network: its {name} is not finite or of another shape")
    weights = {name: arrays[name].astype(np.float32) for name in weight_shapes}
    return Snapshot(weights, float(arrays["cost"]), float(arrays["accuracy"]))
