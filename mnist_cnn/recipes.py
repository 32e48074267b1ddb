"""How to train, as immutable values. Knows nothing of TensorFlow."""

import math
import numbers
from dataclasses import dataclass

from mnist_cnn.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Raises InputError, which names the allowed range, for a value outside of it."""

    epochs: int
    batch_size: int
    learning_rate: float  # Adam's
    keep_prob: float  # the share of the dense layer's units that dropout keeps

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not (isinstance(value, numbers.Integral) and value >= 1):
                raise InputError(f"{name} is {value}: it must be a whole number, 1 or more")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate is {self.learning_rate}: it must be finite and above 0")
        if not 0 < self.keep_prob <= 1:
            raise InputError(f"keep_prob is {self.keep_prob}: it must be above 0 and at most 1")


# The tutorial's published run.
ORIGINAL = Recipe(epochs=15, batch_size=100, learning_rate=0.001, keep_prob=0.8)
