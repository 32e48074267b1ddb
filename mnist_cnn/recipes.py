"""How to train, as immutable values. Knows nothing of TensorFlow."""

import math
import numbers
from dataclasses import dataclass, replace

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


def plan(config=None, model=None, recipe=None, seed=None, **changes):
    """The (model, Recipe, seed) of a run.

    Each is what is asked for; else what the `config` of a resumed run, its config.json, says; else
    what is published, with seed 1. `changes` are those to single values of the recipe that are not None.
    Raises InputError for what is out of its range.
    """
    its_model, its_recipe, its_seed = _recorded(config) if config else ("cnn", None, 1)
    model = its_model if model is None else model
    if model not in PUBLISHED:
        raise InputError(f"model is {model!r}: it must be one of {', '.join(PUBLISHED)}")
    seed = its_seed if seed is None else seed
    check_whole("seed", seed, 0, MAX_SEED)
    changes = {name: value for name, value in changes.items() if value is not None}
    return model, replace(recipe or its_recipe or PUBLISHED[model], **changes), seed


def _recorded(config):
    try:
        model, recipe, seed = config["model"], Recipe(**config["recipe"]), config["seed"]
        check_whole("seed", seed, 0, MAX_SEED)
        if isinstance(model, str) and isinstance(config["dataset"]["name"], str):
            return model, recipe, seed
        raise TypeError("names that are no text")
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"config.json does not say how the run is trained ({error!r:.99}): begin a new run") from error
