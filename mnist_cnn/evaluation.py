"""Batched evaluation: accuracy and confusion matrix. Memory does not grow with the number of images."""

from typing import Any, NamedTuple

import numpy as np

from mnist_cnn.data.mnist import Split
from mnist_cnn.model import Model

BATCH_SIZE = 250  # as fast as 10,000 at once, which needs 1 GB more memory


class Evaluation(NamedTuple):
    """Result of `evaluate`."""

    accuracy: float  # in [0, 1]
    confusion_matrix: np.ndarray  # int64 [classes, classes]: rows are labels, columns are predictions
    predictions: np.ndarray  # int64 [N], indices of classes


def evaluate(session: Any, model: Model, split: Split) -> Evaluation:
    """Evaluates a model on a split, without dropout.

    Args:
      session: a tf.Session with the model's weights.
      model: the Model to evaluate.
      split: the images and labels.
    """
    predictions = run_batches(session, model, model.predictions, split)
    confusion_matrix = np.zeros([model.logits.shape.as_list()[1]] * 2, np.int64)
    np.add.at(confusion_matrix, (split.labels, predictions), 1)
    return Evaluation(confusion_matrix.trace() / len(split), confusion_matrix, predictions)


def run_batches(session: Any, model: Model, fetch: Any, split: Split) -> np.ndarray:
    """Returns the values of a tensor of the model, such as `model.probabilities`, for all images of a split."""
    starts = range(0, len(split), BATCH_SIZE)
    batches = (split.batch(slice(start, start + BATCH_SIZE))[0] for start in starts)
    return np.concatenate([session.run(fetch, {model.images: images}) for images in batches])
