"""The dataset of a command."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from mnist_cnn.cli.command import load_tensorflow, print_status
from mnist_cnn.errors import DataNotFound, InputError

if TYPE_CHECKING:
    from mnist_cnn.data.mnist import Dataset

# The formats of data that are not MNIST, by the name of the Dataset.
OWN_DATA = {"csv": "the CSV files", "folder": "the pictures", "idx": "the IDX files", "npz": "the arrays"}


def choose_dataset(
    name: str, data_dir: Optional[str], mirror: Optional[str], preparation: str = "digit"
) -> Callable[[], "Dataset"]:
    """Finds or downloads the dataset's files; returns a function that loads it. Prints the fallback notice first."""
    from mnist_cnn.data.mnist import find_mnist  # here and below, a lazy import: --help does not need NumPy

    if name in ("auto", "mnist"):
        _check_no_pictures(data_dir)
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
    return partial(load_dataset, name, data_dir, mirror, preparation)


def _check_no_pictures(data_dir: Optional[str]) -> None:
    """Raises InputError if a folder that MNIST would be downloaded into is one of pictures, sorted by class."""
    from mnist_cnn.data.mnist import find_files, get_data_dir

    if not data_dir:
        return
    folder = get_data_dir(data_dir)
    if find_files(folder):
        return
    # .jp is for .jpg, .jpeg and .jpe, .tif for .tiff too.
    paths = [path for pattern in ("*/*", "train/*/*") for path in folder.glob(pattern)]
    if any(path.suffix.lower().startswith((".png", ".jp", ".gif", ".bmp", ".tif", ".webp")) for path in paths):
        raise InputError(f"{data_dir} has folders of pictures: to train on them, add --dataset folder")


def load_dataset(
    name: str,
    data_dir: Optional[str],
    mirror: Optional[str],
    preparation: str = "digit",
    class_names: Optional[Tuple[str, ...]] = None,
) -> "Dataset":
    """Loads a dataset by its name: "mnist", "sample" or one of OWN_DATA. The last two arguments are `load_folder`'s."""
    from mnist_cnn import load_csv, load_idx, load_mnist, load_npz, load_sample

    if name == "sample":
        return load_sample()
    if name not in OWN_DATA:
        return load_mnist(data_dir, mirror)
    data_dir = data_dir or os.environ.get("MNIST_DATA_DIR")
    if not data_dir:
        raise InputError(f"--dataset {name} needs the folder of {OWN_DATA[name]}: name it with --data-dir")
    try:
        if name == "folder":
            from mnist_cnn import load_folder  # needs the extra `images`

            return load_folder(data_dir, preparation, class_names)
        return {"csv": load_csv, "idx": load_idx, "npz": load_npz}[name](data_dir)
    except DataNotFound as error:  # the commands' hint for it is about MNIST
        raise InputError(f"{error}: name the folder of {OWN_DATA[name]} with --data-dir") from error


def load_mixed_dataset(
    name: str,
    data_dir: Optional[str],
    mirror: Optional[str],
    init_from: Any,
    mix: float,
    batch_size: int,
    seed: int,
    preparation: Optional[str] = None,
) -> "Dataset":
    """Loads a dataset, and mixes it with that of the run whose weights a new run starts from.

    Args:
      name, data_dir, mirror: as for `load_dataset`.
      init_from: the run.
      mix: fraction of the training images that come from the run's data. With 0, there may be other classes.
      batch_size, seed: the new run's.
      preparation: how pictures are prepared; default: as those of the run. With 0 as the `mix`, it may be another.
    """
    own, mixed = _load_and_mix(name, data_dir, mirror, init_from, mix, batch_size, seed, preparation)
    source = f"{OWN_DATA[name]} in {own.folder}" if name in OWN_DATA else name
    others = f", mixed with those of {mixed.mixed_with}" if mix else ""
    print_status(f"NOTICE: fine-tuning {init_from} on {len(own.train):,} training images, {source}{others}")
    return mixed


def _load_and_mix(
    name: str,
    data_dir: Optional[str],
    mirror: Optional[str],
    init_from: Any,
    mix: float,
    batch_size: int,
    seed: int,
    preparation: Optional[str],
) -> Tuple["Dataset", "Dataset"]:
    """Returns the dataset alone and mixed; the arguments are those of `load_mixed_dataset`."""
    from mnist_cnn.data.mixing import NUM_STEPS, mix_datasets
    from mnist_cnn.run_dir import directory
    from mnist_cnn.run_dir.config import read_class_names, read_preparation

    saved = directory.read_json(init_from, "config.json")
    as_before = read_preparation(saved)
    if not mix:
        own = base = load_dataset(name, data_dir, mirror, preparation or as_before)
    elif preparation not in (None, as_before):
        raise InputError(f"{init_from} was trained with --preparation {as_before}: for another one, add --mix 0")
    else:
        own = load_dataset(name, data_dir, mirror, as_before, read_class_names(saved))
        base = _load_base(saved, mirror)
    return own, mix_datasets(own, base, mix, NUM_STEPS * batch_size, seed)


def _load_base(config: Dict[str, Any], mirror: Optional[str]) -> "Dataset":
    """Loads the data that a run, which has this config.json, was trained on. Its folders may have changed since."""
    from mnist_cnn.run_dir.config import read_preparation, recipe_from_config

    saved, preparation = config["dataset"], read_preparation(config)
    name, folder = saved["name"], saved.get("folder")
    if "mix" in saved:  # the run is a fine-tuned one itself
        _, recipe, seed = recipe_from_config(config)
        options = recipe.batch_size, seed, preparation
        return _load_and_mix(name, folder, mirror, config.get("init_from"), saved["mix"], *options)[1]
    try:
        return load_dataset(name, folder, mirror, preparation)
    except DataNotFound as error:
        if name != "mnist":
            raise
        # --data-dir names the other data.
        raise InputError(f"{error}. To mix in MNIST, name its folder with $MNIST_DATA_DIR, or add --mix 0") from error


def load_with_tensorflow(load: Callable[[], "Dataset"], reads_mnist: bool, debug: bool) -> "Dataset":
    """Loads a dataset with `load`, and TensorFlow.

    MNIST and its sample are read beside TensorFlow, which takes five times as long. Other data are read first: loading
    TensorFlow discards their warnings, and Ctrl-C does not stop another thread.
    """
    if not reads_mnist:
        dataset = load()
        load_tensorflow(debug)
        return dataset
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(load)
        load_tensorflow(debug)
        return future.result()


def print_data_notice(dataset: "Dataset") -> None:
    """Prints which data results are about, unless they are those of MNIST or its sample."""
    if dataset.name in OWN_DATA and not dataset.mixed_with:
        train, validation, test = (len(split) for split in (dataset.train, dataset.validation, dataset.test))
        print_status(
            f"NOTICE: the data are not MNIST, but {OWN_DATA[dataset.name]} in {dataset.folder}: {train:,} training, "
            f"{validation:,} validation and {test:,} test images of {len(dataset.class_names)} classes"
        )


def load_run_dataset(run_dir: Any, data_dir: Optional[str], mirror: Optional[str]) -> "Dataset":
    """Loads the Dataset that a run was trained on; the last two arguments are the flags of `add_data_arguments`.

    Raises:
      InputError: the dataset cannot be loaded, or its files have changed.
    """
    from mnist_cnn.run_dir import directory
    from mnist_cnn.run_dir.config import recipe_from_config

    config = directory.read_json(run_dir, "config.json")
    saved = config.get("dataset")
    saved = saved if isinstance(saved, dict) else {}  # a damaged config.json is reported when the run is restored
    name, data_dir = str(saved.get("name")), data_dir or str(saved.get("folder", "")) or None
    preparation = str(saved.get("preparation", "digit"))
    if "mix" in saved:
        _, recipe, seed = recipe_from_config(config)
        options = saved["mix"], recipe.batch_size, seed, preparation
        dataset = load_mixed_dataset(name, data_dir, mirror, config.get("init_from"), *options)
    else:
        dataset = load_dataset(name, data_dir, mirror, preparation)
    if dataset.name in OWN_DATA and dataset.digest() != saved.get("sha256"):
        raise InputError(f"{dataset.folder}: these are not {OWN_DATA[dataset.name]} that {run_dir} was trained on")
    return dataset
