"""The rejection threshold: the lowest probability at which a prediction is reported."""

from typing import Any

import numpy as np

from mnist_cnn.data.mnist import Split
from mnist_cnn.evaluation import run_batches
from mnist_cnn.model import Model

MAX_REFUSED = 0.001  # fraction of the validation images
MIN_IMAGES = 100  # with fewer validation images, this quantile cannot be estimated


def find_min_probability(session: Any, model: Model, split: Split) -> float:
    """Returns the probability in [0, 1] below which a prediction is refused: MAX_REFUSED of the split have less.

    With fewer than MIN_IMAGES in the split it is 0, and nothing is refused.
    """
    if len(split) < MIN_IMAGES:
        return 0.0
    probabilities = run_batches(session, model, model.probabilities, split).max(axis=1)
    return float(np.sort(probabilities)[int(MAX_REFUSED * len(split))])
