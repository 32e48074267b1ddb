"""The dataset of a command."""

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from mnist_cnn.cli.command import print_status
from mnist_cnn.errors import DataNotFound, InputError

if TYPE_CHECKING:
    from mnist_cnn.data.mnist import Dataset


def choose_dataset(name: str, data_dir: Optional[str], mirror: Optional[str]) -> Callable[[], "Dataset"]:
    """Finds or downloads the dataset's files; returns a function that loads it. Prints the fallback notice first."""
    from mnist_cnn.data.mnist import find_mnist  # here and below, a lazy import: --help does not need NumPy

    if name == "auto":
        try:
            find_mnist(data_dir, mirror)
        except DataNotFound as error:
            if data_dir or os.environ.get("MNIST_DATA_DIR"):
                raise
            print_status(
                "*" * 100,
                "NOTICE: this run does not train on MNIST, but on a SAMPLE of it: 5,000 of its 70,000 digits.",
                f"Why: {error}. To train on MNIST, name the folder of its four files with --data-dir.",
                "*" * 100,
            )
            name = "sample"
    elif name == "mnist":
        find_mnist(data_dir, mirror)
    return partial(load_dataset, name, data_dir, mirror)


def load_dataset(name: str, data_dir: Optional[str], mirror: Optional[str]) -> "Dataset":
    """Loads a dataset by its name: "mnist", "sample" or "idx"."""
    from mnist_cnn import load_idx, load_mnist, load_sample

    if name == "sample":
        return load_sample()
    if name != "idx":
        return load_mnist(data_dir, mirror)
    data_dir = data_dir or os.environ.get("MNIST_DATA_DIR")
    if not data_dir:
        raise InputError("--dataset idx needs the folder of the four IDX files: name it with --data-dir")
    return load_idx(data_dir)


def print_data_notice(dataset: "Dataset") -> None:
    """Prints which data results are about, unless they are those of MNIST or its sample."""
    if dataset.name == "idx":
        train, validation, test = (len(split) for split in (dataset.train, dataset.validation, dataset.test))
        print_status(
            f"NOTICE: the data are not MNIST, but the IDX files in {dataset.folder}: "
            f"{train:,} training, {validation:,} validation and {test:,} test images"
        )


def load_run_dataset(run_dir: Any, args: argparse.Namespace) -> "Dataset":
    """Loads the Dataset that a run was trained on; `args` has the flags of `add_data_arguments`.

    Raises:
      InputError: the dataset cannot be loaded, or its IDX files have changed.
    """
    from mnist_cnn.run_dir import directory

    saved = directory.read_json(run_dir, "config.json").get("dataset")
    saved = saved if isinstance(saved, dict) else {}  # a damaged config.json is reported when the run is restored
    folder = str(saved.get("folder", "")) or None
    dataset = load_dataset(str(saved.get("name")), args.data_dir or folder, args.mirror)
    print_data_notice(dataset)
    if dataset.name == "idx" and dataset.digest() != saved.get("sha256"):
        raise InputError(f"{dataset.folder}: these are not the IDX files that {run_dir} was trained on")
    return dataset
