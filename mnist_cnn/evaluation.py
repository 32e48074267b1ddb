"""Batched evaluation: accuracy and confusion matrix. Memory does not grow with the number of images."""

from typing import Any, NamedTuple

import numpy as np

from mnist_cnn.data.mnist import Split
from mnist_cnn.model import NUM_CLASSES, Model

BATCH_SIZE = 250  # as fast as 10,000 at once, which needs 1 GB more memory
MAX_REFUSED = 0.001  # fraction of the validation images


class Evaluation(NamedTuple):
    """Result of `evaluate`."""

    accuracy: float  # in [0, 1]
    confusion_matrix: np.ndarray  # int64 [10, 10]: rows are labels, columns are predictions
    predictions: np.ndarray  # int64 [N] in 0..9


def evaluate(session: Any, model: Model, split: Split) -> Evaluation:
    """Evaluates a model on a split, without dropout.

    Args:
      session: a tf.Session with the model's weights.
      model: the Model to evaluate.
      split: the images and labels.
    """
    predictions = _run(session, model, model.predictions, split)
    confusion_matrix = np.zeros([NUM_CLASSES, NUM_CLASSES], np.int64)
    np.add.at(confusion_matrix, (split.labels, predictions), 1)
    return Evaluation(confusion_matrix.trace() / len(split), confusion_matrix, predictions)


def find_min_probability(session: Any, model: Model, split: Split) -> float:
    """Returns the probability in [0, 1] below which a prediction is refused: MAX_REFUSED of the split have less."""
    probabilities = _run(session, model, model.probabilities, split).max(axis=1)
    return float(np.sort(probabilities)[int(MAX_REFUSED * len(split))])


def _run(session: Any, model: Model, fetch: Any, split: Split) -> np.ndarray:
    starts = range(0, len(split), BATCH_SIZE)
    batches = (split.batch(slice(start, start + BATCH_SIZE))[0] for start in starts)
    return np.concatenate([session.run(fetch, {model.images: images}) for images in batches])
