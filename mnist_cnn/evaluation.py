"""How good the network is. In batches: memory does not grow with the number of images."""

from typing import NamedTuple

import numpy as np

BATCH_SIZE = 250  # no slower than 10,000 at once, which takes 1 GB more


class Evaluation(NamedTuple):
    """`accuracy` in [0, 1]; `confusion_matrix` int64 [10, 10], rows the true digits, columns the
    predicted ones; `predictions` int64 [N] in 0..9."""

    accuracy: float
    confusion_matrix: np.ndarray
    predictions: np.ndarray


def evaluate(session, model, split):
    """Runs a Model over a Split, without dropout, and returns an Evaluation."""
    starts = range(0, len(split), BATCH_SIZE)
    batches = (split.batch(slice(start, start + BATCH_SIZE))[0] for start in starts)
    predictions = np.concatenate([session.run(model.predictions, {model.images: images}) for images in batches])
    confusion_matrix = np.zeros([10, 10], np.int64)
    np.add.at(confusion_matrix, (split.labels, predictions), 1)
    return Evaluation(confusion_matrix.trace() / len(split), confusion_matrix, predictions)
