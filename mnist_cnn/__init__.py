"""The tutorial's MNIST network, in TensorFlow's 1.x style, on TensorFlow 1.15 and 2."""

import importlib

__version__ = "0.1.0"

_HOME = {
    "Dataset": "data.mnist",
    "Split": "data.mnist",
    "load_mnist": "data.mnist",
    "load_sample": "data.sample",
    "read_data_sets": "input_data",
    "build_model": "model",
    "ACCURATE": "recipes",
    "Augmentation": "recipes",
    "DENSE": "recipes",
    "FAST": "recipes",
    "ORIGINAL": "recipes",
    "Recipe": "recipes",
    "evaluate": "evaluation",
    "restored": "run_dir.checkpoints",
    "train": "trainer",
    "Classifier": "inference.classifier",
    "Prediction": "inference.classifier",
    "prepare": "inference.preprocessing",
    "draw_report": "report.draw",
    "DataNotFound": "errors",
    "InputError": "errors",
    "NoDigitFound": "errors",
    "Stopped": "errors",
    "TrainingFailed": "errors",
}
# `from mnist_cnn import *` must not need extras.
__all__ = sorted(name for name, home in _HOME.items() if home not in ("inference.preprocessing", "report.draw"))


def __getattr__(name):
    # On first use (PEP 562), so that reading data or `--help` need not wait for TensorFlow.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
