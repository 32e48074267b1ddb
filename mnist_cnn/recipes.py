"""How to train, as immutable values. Knows nothing of TensorFlow."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Optional

from mnist_cnn.errors import InputError

MAX_SEED = 2**32 - 1  # NumPy's RandomState takes no more


def check_int(name, value, lowest, highest=math.inf):
    """Raises InputError unless `value` is a whole number in lowest..highest."""
    if not (isinstance(value, numbers.Integral) and lowest <= value <= highest):
        allowed = f"{lowest} or more" if highest == math.inf else f"in {lowest}..{highest}"
        raise InputError(f"{name} is {value}: it must be a whole number, {allowed}")


def check_positive(name, value):
    """Raises InputError unless `value` is finite and above 0."""
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}: it must be finite and above 0")


@dataclass(frozen=True)
class Augmentation:
    """The most by which training images are distorted, either way. Raises InputError for a value out of its range."""

    rotation: float  # degrees
    scaling: float  # a share of the size, of height and width on their own
    shear: float  # pixels to the side for each pixel down
    shift: float  # pixels, along both axes

    def __post_init__(self):
        for name, value in vars(self).items():
            highest = 1 if name == "scaling" else math.inf
            if not 0 <= value < highest:
                raise InputError(f"{name} is {value}: it must be 0 or more, and below {highest}")


@dataclass(frozen=True)
class Recipe:
    """Raises InputError, which names the allowed range, for a value outside of it."""

    epochs: int
    batch_size: int
    learning_rate: float  # Adam's; the highest, where it changes
    keep_prob: float  # the share of a dense layer's units that dropout keeps
    schedule: str = "constant"  # or "linear": the learning rate rises over the warm-up, then falls to 0
    warmup: float = 0.0  # the share of all steps
    initial_weights: str = "published"  # or "he": see model.create_weights
    augmentation: Optional[Augmentation] = None

    def __post_init__(self):
        check_int("epochs", self.epochs, 1)
        check_int("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)
        if not 0 < self.keep_prob <= 1:
            raise InputError(f"keep_prob is {self.keep_prob}: it must be above 0 and at most 1")
        if self.schedule not in ("constant", "linear"):
            raise InputError(f"schedule is {self.schedule!r}: it must be constant or linear")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}: it must be 0 or more, and below 1")
        if self.initial_weights not in ("published", "he"):
            raise InputError(f"initial_weights is {self.initial_weights!r}: it must be published or he")

    def learning_rate_at(self, step, steps):
        """Adam's learning rate in step `step`, from 0 on, of a run of `steps`."""
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step + 0.5) / steps
        rising = progress / self.warmup if self.warmup else 1.0
        return self.learning_rate * min(rising, (1 - progress) / (1 - self.warmup))


# The tutorial's published run, and that of the dense network it improves on.
ORIGINAL = Recipe(epochs=15, batch_size=100, learning_rate=0.001, keep_prob=0.8)
DENSE = Recipe(epochs=30, batch_size=100, learning_rate=0.001, keep_prob=0.8)
PUBLISHED = {"cnn": ORIGINAL, "mlp": DENSE}

# The published accuracy in the least time. Of the learning rates, warm-ups, batch sizes and keep_probs tried, with
# several seeds each, one epoch's validation accuracy stays below that of the published run.
FAST = Recipe(
    epochs=2,
    batch_size=128,
    learning_rate=0.003,
    keep_prob=0.8,
    schedule="linear",
    warmup=0.1,
    initial_weights="he",
)

# The best that the same network can do in the published number of epochs.
ACCURATE = Recipe(
    epochs=15,
    batch_size=100,
    learning_rate=0.004,
    keep_prob=0.7,
    schedule="linear",
    warmup=0.2,
    initial_weights="he",
    augmentation=Augmentation(rotation=12, scaling=0.12, shear=0.15, shift=2),
)
NAMES = ("original", "fast", "accurate")


def get_recipe(name, model):
    """One of the NAMES for a model. Raises InputError for another name."""
    if name not in NAMES:
        raise InputError(f"recipe is {name!r}: it must be one of {', '.join(NAMES)}")
    return {"original": PUBLISHED[model], "fast": FAST, "accurate": ACCURATE}[name]


def resolve_config(config=None, model=None, recipe=None, seed=None, **changes):
    """The (model, Recipe, seed) of a run.

    Each is what is asked for, the recipe by its name or as a Recipe; else what the `config` of a resumed run,
    its config.json, says; else what is published, with seed 1. Of `changes`, to single values of the recipe,
    those that are None do not count.
    Raises InputError for what is out of its range.
    """
    its_model, its_recipe, its_seed = recipe_from_config(config) if config else ("cnn", None, 1)
    model = its_model if model is None else model
    if model not in PUBLISHED:
        raise InputError(f"model is {model!r}: it must be one of {', '.join(PUBLISHED)}")
    seed = its_seed if seed is None else seed
    check_int("seed", seed, 0, MAX_SEED)
    if isinstance(recipe, str):
        recipe = get_recipe(recipe, model)
    changes = {name: value for name, value in changes.items() if value is not None}
    return model, replace(recipe or its_recipe or PUBLISHED[model], **changes), seed


def recipe_from_config(config):
    """The (model, Recipe, seed) of a run's config.json, a dict. Raises InputError where it does not say."""
    try:
        model, values, seed = config["model"], dict(config["recipe"]), config["seed"]
        if values.get("augmentation") is not None:
            values["augmentation"] = Augmentation(**values["augmentation"])
        recipe = Recipe(**values)
        check_int("seed", seed, 0, MAX_SEED)
        if isinstance(model, str) and isinstance(config["dataset"]["name"], str):
            return model, recipe, seed
        raise TypeError("names that are no text")
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"config.json does not say how the run is trained ({error!r:.99}): begin a new run") from error
