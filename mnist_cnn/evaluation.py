"""Batched evaluation: accuracy and confusion matrix. Memory does not grow with the number of images."""

from typing import Any, NamedTuple

import numpy as np

from mnist_cnn.data.mnist import Split
from mnist_cnn.model import Model

BATCH_SIZE = 250  # as fast as 10,000 at once, which needs 1 GB more memory
MAX_REFUSED = 0.001  # fraction of the validation images


class Evaluation(NamedTuple):
    """Result of `evaluate`."""

    accuracy: float  # in [0, 1]
    confusion_matrix: np.ndarray  # int64 [classes, classes]: rows are labels, columns are predictions
    predictions: np.ndarray  # int64 [N], indices of classes
    confidences: np.ndarray  # float32 [N] in [0, 1], the probability of each prediction


def evaluate(session: Any, model: Model, split: Split) -> Evaluation:
    """Evaluates a model on a split, without dropout.

    Args:
      session: a tf.Session with the model's weights.
      model: the Model to evaluate.
      split: the images and labels, at least one.
    """
    batches = (split.batch(slice(start, start + BATCH_SIZE))[0] for start in range(0, len(split), BATCH_SIZE))
    results = [session.run([model.predictions, model.probabilities], {model.images: images}) for images in batches]
    predictions, probabilities = map(np.concatenate, zip(*results))
    confusion_matrix = np.zeros([probabilities.shape[1]] * 2, np.int64)
    np.add.at(confusion_matrix, (split.labels, predictions), 1)
    return Evaluation(confusion_matrix.trace() / len(split), confusion_matrix, predictions, probabilities.max(axis=1))


def find_min_probability(evaluation: Evaluation) -> float:
    """Returns the probability in [0, 1] below which a prediction is refused: MAX_REFUSED of the evaluated have less.

    Of fewer than 100 images, this cannot be known: then it is 0, and nothing is refused.
    """
    confidences = np.sort(evaluation.confidences)
    return float(confidences[int(MAX_REFUSED * len(confidences))]) if len(confidences) >= 100 else 0.0
