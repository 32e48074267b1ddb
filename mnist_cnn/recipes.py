"""Training hyperparameters as frozen dataclasses, and the named recipes. Does not import TensorFlow."""

import math
import numbers
from dataclasses import dataclass, replace
from typing import Any, Dict, Optional

from mnist_cnn.errors import InputError

MAX_SEED = 2**32 - 1  # the largest seed that NumPy's RandomState accepts


def check_int(name: str, value: Any, lowest: int, highest: float = math.inf) -> None:
    """Raises InputError unless `value` is an integer in lowest..highest."""
    if not (isinstance(value, numbers.Integral) and lowest <= int(value) <= highest):
        allowed = f"{lowest} or more" if highest == math.inf else f"in {lowest}..{highest}"
        raise InputError(f"{name} is {value}: it must be a whole number, {allowed}")


def check_positive(name: str, value: Any) -> None:
    """Raises InputError unless `value` is finite and above 0."""
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}: it must be finite and above 0")


def check_range(name: str, value: float, limit: float) -> None:
    """Raises InputError unless `value` is at least 0 and below `limit`."""
    if not 0 <= value < limit:
        raise InputError(f"{name} is {value}: it must be 0 or more, and below {limit}")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation ranges: each amount but `stroke_width` is drawn uniformly from -value..+value.

    Raises:
      InputError: a value is out of its range.
    """

    rotation: float  # degrees
    scaling: float  # fraction of the size; height and width independently
    shear: float  # horizontal pixels per vertical pixel
    shift: float  # pixels; vertically and horizontally independently
    stroke_width: float = 0.0  # fraction of the images whose strokes are made wider or narrower

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_range(name, value, 1 if name == "scaling" else math.inf)
        if self.stroke_width > 1:
            raise InputError(f"stroke_width is {self.stroke_width}: it must be in 0..1")


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a run.

    Raises:
      InputError: a value is out of its range; the message gives the range.
    """

    epochs: int
    batch_size: int
    learning_rate: float  # Adam's; the peak, where the schedule changes it
    keep_prob: float  # fraction of the dense layers' units that dropout keeps
    schedule: str = "constant"  # or "linear": linear warm-up to the peak, then linear decay to 0
    warmup: float = 0.0  # fraction of all steps
    initial_weights: str = "published"  # or "he": see model.create_weights
    beta1: float = 0.9  # Adam's decay rate of its average of the gradients
    beta2: float = 0.999  # of its average of their squares
    label_smoothing: float = 0.0  # fraction of each label that is spread evenly over all classes
    weight_decay: float = 0.0  # each step multiplies the weights by 1 - weight_decay * its learning rate
    augmentation: Optional[Augmentation] = None
    plain_epochs: int = 0  # the number of last epochs that are without augmentation
    drawn_images: float = 0.0  # images of data/drawn_images.py that are added to a batch, as a fraction of its size

    def __post_init__(self) -> None:
        check_int("epochs", self.epochs, 1)
        check_int("batch_size", self.batch_size, 1)
        check_positive("learning_rate", self.learning_rate)
        if not 0 < self.keep_prob <= 1:
            raise InputError(f"keep_prob is {self.keep_prob}: it must be above 0 and at most 1")
        if self.schedule not in ("constant", "linear"):
            raise InputError(f"schedule is {self.schedule!r}: it must be constant or linear")
        if self.initial_weights not in ("published", "he"):
            raise InputError(f"initial_weights is {self.initial_weights!r}: it must be published or he")
        for name in ("warmup", "beta1", "beta2", "label_smoothing"):
            check_range(name, getattr(self, name), 1)
        check_int("plain_epochs", self.plain_epochs, 0)
        for name in ("weight_decay", "drawn_images"):
            check_range(name, getattr(self, name), math.inf)

    @property
    def has_comparable_costs(self) -> bool:
        """Whether the costs are those of plain labels and of the dataset's images alone, as in the published run."""
        return not (self.label_smoothing or self.drawn_images)

    def learning_rate_at(self, step: int, total_steps: int) -> float:
        """Adam's learning rate in the 0-based `step` of a run of `total_steps`."""
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step + 0.5) / total_steps
        rising = progress / self.warmup if self.warmup else 1.0
        return self.learning_rate * min(rising, (1 - progress) / (1 - self.warmup))


RECIPES: Dict[str, Recipe] = {
    # The tutorial's published run.
    "original": Recipe(epochs=15, batch_size=100, learning_rate=0.001, keep_prob=0.8),
    # The fastest recipe found that reaches the published accuracy.
    "fast": Recipe(
        epochs=1,
        batch_size=64,
        learning_rate=0.004,
        keep_prob=1.0,
        schedule="linear",
        warmup=0.3,
        initial_weights="he",
        beta1=0.85,
        beta2=0.98,
        label_smoothing=0.1,
    ),
    # The highest validation accuracy found for the same network within the published 15 epochs.
    "accurate": Recipe(
        epochs=15,
        batch_size=100,
        learning_rate=0.004,
        keep_prob=0.7,
        schedule="linear",
        warmup=0.2,
        initial_weights="he",
        weight_decay=0.03,
        augmentation=Augmentation(rotation=12, scaling=0.12, shear=0.15, shift=2, stroke_width=0.8),
        plain_epochs=1,
        drawn_images=0.2,
    ),
}
# For fine-tuning a trained network on other images: one epoch of 400 steps (data/mixing.py).
FINETUNE = replace(RECIPES["accurate"], epochs=1, batch_size=96, learning_rate=0.0003, plain_epochs=0)

# The recipe that each network in model.MODELS was published with. Its keys are the names of the networks.
DEFAULT_RECIPES: Dict[str, Recipe] = {
    "cnn": RECIPES["original"],
    "mlp": Recipe(epochs=30, batch_size=100, learning_rate=0.001, keep_prob=0.8),
}


def get_recipe(name: str, model: str) -> Recipe:
    """Returns the recipe `name` for a network; "original" is the one that the network was published with.

    Raises:
      InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}")
    return DEFAULT_RECIPES[model] if name == "original" else RECIPES[name]
