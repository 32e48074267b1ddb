"""The MNIST tutorial's network in TensorFlow's 1.x style, on TensorFlow 1.15 and 2."""

import importlib
from typing import TYPE_CHECKING, Any, List

__version__ = "0.1.0"

_LAZY_EXPORTS = {
    "Dataset": "data.mnist",
    "Split": "data.mnist",
    "load_csv": "data.csv_data",
    "load_folder": "inference.picture_folder",
    "load_idx": "data.own_data",
    "load_mnist": "data.mnist",
    "load_npz": "data.own_data",
    "load_sample": "data.sample",
    "read_data_sets": "input_data",
    "build_model": "model",
    "Augmentation": "recipes",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "evaluate": "evaluation",
    "restore_run": "run_dir.checkpoints",
    "train": "trainer",
    "Classifier": "inference.classifier",
    "Prediction": "inference.classifier",
    "prepare": "inference.preprocessing",
    "draw_report": "report.draw",
    "DataNotFound": "errors",
    "InputError": "errors",
    "NoDigitFound": "errors",
    "RunNotFound": "errors",
    "Stopped": "errors",
    "TrainingFailed": "errors",
}
# `from mnist_cnn import *` must work without the optional dependencies.
__all__ = sorted(name for name in _LAZY_EXPORTS if name not in ("prepare", "draw_report", "load_folder"))

if TYPE_CHECKING:  # `as` marks a name as public for type checkers
    from mnist_cnn.data.csv_data import load_csv as load_csv
    from mnist_cnn.data.mnist import Dataset as Dataset, Split as Split, load_mnist as load_mnist
    from mnist_cnn.data.own_data import load_idx as load_idx, load_npz as load_npz
    from mnist_cnn.data.sample import load_sample as load_sample
    from mnist_cnn.errors import (
        DataNotFound as DataNotFound,
        InputError as InputError,
        NoDigitFound as NoDigitFound,
        RunNotFound as RunNotFound,
        Stopped as Stopped,
        TrainingFailed as TrainingFailed,
    )
    from mnist_cnn.evaluation import evaluate as evaluate
    from mnist_cnn.inference.classifier import Classifier as Classifier, Prediction as Prediction
    from mnist_cnn.inference.picture_folder import load_folder as load_folder
    from mnist_cnn.inference.preprocessing import prepare as prepare
    from mnist_cnn.input_data import read_data_sets as read_data_sets
    from mnist_cnn.model import build_model as build_model
    from mnist_cnn.recipes import RECIPES as RECIPES, Augmentation as Augmentation, Recipe as Recipe
    from mnist_cnn.report.draw import draw_report as draw_report
    from mnist_cnn.run_dir.checkpoints import restore_run as restore_run
    from mnist_cnn.trainer import train as train


def __getattr__(name: str) -> Any:
    # Lazy imports (PEP 562): loading data or printing --help must not import TensorFlow.
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY_EXPORTS[name]}"), name)


def __dir__() -> List[str]:
    return sorted([*globals(), *_LAZY_EXPORTS])
