"""How to train, as immutable values. Knows nothing of TensorFlow."""

import math
import numbers
from dataclasses import dataclass

from mnist_cnn.errors import InputError


MAX_SEED = 2**32 - 1  # NumPy's RandomState takes no more


def check_whole(name, value, lowest, highest=math.inf):
    """Raises InputError unless `value` is a whole number in lowest..highest."""
    if not (isinstance(value, numbers.Integral) and lowest <= value <= highest):
        allowed = f"{lowest} or more" if highest == math.inf else f"in {lowest}..{highest}"
        raise InputError(f"{name} is {value}: it must be a whole number, {allowed}")


@dataclass(frozen=True)
class Recipe:
    """Raises InputError, which names the allowed range, for a value outside of it."""

    epochs: int
    batch_size: int
    learning_rate: float  # Adam's
    keep_prob: float  # the share of a dense layer's units that dropout keeps

    def __post_init__(self):
        check_whole("epochs", self.epochs, 1)
        check_whole("batch_size", self.batch_size, 1)
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate is {self.learning_rate}: it must be finite and above 0")
        if not 0 < self.keep_prob <= 1:
            raise InputError(f"keep_prob is {self.keep_prob}: it must be above 0 and at most 1")


# The tutorial's published run, and that of the dense network it improves on.
ORIGINAL = Recipe(epochs=15, batch_size=100, learning_rate=0.001, keep_prob=0.8)
DENSE = Recipe(epochs=30, batch_size=100, learning_rate=0.001, keep_prob=0.8)
PUBLISHED = {"cnn": ORIGINAL, "mlp": DENSE}


def recorded(config):
    """The model, Recipe and seed of a run, from its config.json. Raises InputError where it does not say."""
    try:
        model, recipe, seed = config["model"], Recipe(**config["recipe"]), config["seed"]
        if not (model in list(PUBLISHED) and isinstance(config["dataset"]["name"], str)):
            raise KeyError("model")
        check_whole("seed", seed, 0, MAX_SEED)
        return model, recipe, seed
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"config.json does not say how the run is trained ({error!r:.99}): begin a new run") from error
