"""Configuration of a run: resolved from arguments and a resumed run, and recorded in config.json.

Does not import TensorFlow.
"""

import os
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from mnist_cnn import __version__, cpu
from mnist_cnn.data.mnist import DIGITS, Dataset, check_class_names
from mnist_cnn.errors import InputError, RunNotFound
from mnist_cnn.recipes import (
    DEFAULT_RECIPES,
    FINETUNE,
    MAX_SEED,
    Augmentation,
    Recipe,
    check_int,
    check_positive,
    check_range,
    get_recipe,
)
from mnist_cnn.run_dir import directory

MAX_SNAPSHOTS = 100  # for a replay; each has 1.6 MB
DEFAULT_MIX = 0.9  # chosen on MNIST's validation images, which a network forgets with 0.5, 0.7 or 0.8


@dataclass(frozen=True)
class RunConfig:
    """Arguments of a run, checked and with all defaults filled in."""

    model: str
    recipe: Recipe
    seed: int
    run_dir: Optional[Path]  # None: a new directory, runs/<date-time>
    resume: bool
    max_steps: Optional[int]
    checkpoint_secs: float
    mixed_precision: bool
    dataset_name: Optional[str]  # of the resumed run; None for a new run
    preparation: str  # of the resumed run's dataset
    init_from: Optional[Path]  # the run from whose weights a new run starts
    mix: float  # fraction of the training images that come from the data of the run `init_from`
    dataset_folder: Optional[str]  # of the resumed run, unless its dataset is MNIST or the sample
    replay: int  # number of snapshots to keep for a replay; 0 for none


def resolve_config(
    run_dir: Union[str, Path, None] = None,
    resume: bool = False,
    model: Optional[str] = None,
    recipe: Union[str, Recipe, None] = None,
    seed: Optional[int] = None,
    max_steps: Optional[int] = None,
    checkpoint_secs: float = 30,
    mixed_precision: Optional[bool] = None,
    init_from: Union[str, Path, None] = None,
    mix: Optional[float] = None,
    replay: Optional[int] = None,
    **overrides: Any,
) -> RunConfig:
    """Resolves the arguments of `trainer.train`, the resumed run's config.json and the defaults, in this order.

    Args:
      run_dir, resume, model, recipe, seed, max_steps, checkpoint_secs, mixed_precision, replay: as in `trainer.train`.
      init_from: a run from whose weights a new run starts; the new run has its network and, unless another is
        named, the recipe FINETUNE, with drawn images only if that run has them.
      mix: fraction of the training images that come from the data of the run `init_from`; default: DEFAULT_MIX.
      overrides: values for single fields of the recipe; None means no override.

    Raises:
      InputError: an argument is out of its range, or the config.json of the resumed run is damaged.
      RunNotFound: there is no run to resume.
    """
    saved_config = None
    if resume:
        run_dir, saved_config = directory.find_run_to_resume(run_dir)
    default_model, default_recipe, default_seed = recipe_from_config(saved_config) if saved_config else ("cnn", None, 1)
    if saved_config:
        init_from = init_from or saved_config.get("init_from")
        mix = saved_config["dataset"].get("mix") if mix is None else mix
        replay = saved_config.get("replay") if replay is None else replay
        machine = saved_config.get("machine")
        if mixed_precision is None and isinstance(machine, dict):
            mixed_precision = machine.get("mixed_precision") is True
    elif init_from:
        try:
            default_model, recipe_before, _ = recipe_from_config(directory.read_json(init_from, "config.json"))
        except RunNotFound as error:  # the commands' hint for it is about --run-dir
            raise InputError(str(error)) from error
        # A network that has not learned to be unsure of drawn images would lose accuracy by learning that now.
        default_recipe = replace(FINETUNE, drawn_images=recipe_before.drawn_images)
    mix = DEFAULT_MIX if mix is None else mix
    check_range("mix", mix, 1)
    model = default_model if model is None else model
    if model not in DEFAULT_RECIPES:
        raise InputError(f"unknown model {model!r}; choose from {', '.join(DEFAULT_RECIPES)}")
    seed = default_seed if seed is None else seed
    check_int("seed", seed, 0, MAX_SEED)
    if isinstance(recipe, str):
        recipe = get_recipe(recipe, model)
    recipe = recipe or default_recipe or DEFAULT_RECIPES[model]
    if max_steps is not None:
        check_int("max_steps", max_steps, 1)
    check_positive("checkpoint_secs", checkpoint_secs)
    if replay is not None:
        check_int("replay", replay, 3, MAX_SNAPSHOTS)
    return RunConfig(
        model=model,
        recipe=replace(recipe, **{name: value for name, value in overrides.items() if value is not None}),
        seed=seed,
        run_dir=Path(run_dir) if run_dir else None,
        resume=resume,
        max_steps=max_steps,
        checkpoint_secs=checkpoint_secs,
        mixed_precision=bool(mixed_precision),
        init_from=Path(init_from) if init_from else None,
        mix=mix,
        dataset_name=saved_config["dataset"]["name"] if saved_config else None,
        dataset_folder=saved_config["dataset"].get("folder") if saved_config else None,
        preparation=read_preparation(saved_config) if saved_config else "digit",
        replay=replay or 0,
    )


def recipe_from_config(config: Dict[str, Any]) -> Tuple[str, Recipe, int]:
    """Returns the (model, recipe, seed) that config.json records.

    Raises:
      InputError: a value is missing or invalid.
    """
    try:
        model, values, seed = config["model"], dict(config["recipe"]), config["seed"]
        if values.get("augmentation") is not None:
            values["augmentation"] = Augmentation(**values["augmentation"])
        recipe = Recipe(**values)
        check_int("seed", seed, 0, MAX_SEED)
        names = model, config["dataset"]["name"], config["dataset"].get("folder", "")
        if not all(isinstance(name, str) for name in names):
            raise TypeError("model, dataset and its folder must be strings")
        return model, recipe, seed
    except (KeyError, TypeError, ValueError) as error:  # InputError is a ValueError
        raise InputError(f"invalid config.json ({error!r:.99}): start a new run") from error


def read_class_names(config: Dict[str, Any]) -> Tuple[str, ...]:
    """Returns the names of the classes that config.json records.

    Raises:
      InputError: they are invalid.
    """
    dataset = config.get("dataset")
    names = dataset.get("classes", DIGITS) if isinstance(dataset, dict) else DIGITS
    return check_class_names(names, "config.json")


def read_preparation(config: Dict[str, Any]) -> str:
    """Returns how pictures become images of the dataset that config.json records.

    Raises:
      InputError: it is invalid.
    """
    dataset = config.get("dataset")
    return check_preparation(
        dataset.get("preparation", "digit") if isinstance(dataset, dict) else "digit", "config.json"
    )


def check_preparation(name: Any, source: str) -> str:
    """Returns the name of a preparation of pictures. Raises InputError unless it is "digit" or "resize"."""
    if name not in ("digit", "resize"):
        raise InputError(f"{source} is damaged: its preparation is neither digit nor resize")
    return str(name)


def describe_run(
    config: RunConfig, dataset: Dataset, tensorflow_version: str, gpus: Sequence[str] = (), onednn: bool = False
) -> Dict[str, Any]:
    """Returns the content of config.json: hyperparameters, seed, dataset, machine and versions."""
    return {
        "model": config.model,
        "recipe": asdict(config.recipe),
        "seed": config.seed,
        **({"init_from": os.path.abspath(str(config.init_from))} if config.init_from else {}),
        **({"replay": config.replay} if config.replay else {}),
        "dataset": {
            "name": dataset.name,
            "sha256": dataset.digest(),
            **({"folder": dataset.folder} if dataset.folder else {}),
            **({"mixed_with": dataset.mixed_with, "mix": config.mix} if dataset.mixed_with else {}),
            **({"preparation": dataset.preparation} if dataset.preparation != "digit" else {}),
            **({"classes": list(dataset.class_names)} if dataset.class_names != DIGITS else {}),
        },
        "machine": {
            "tensorflow": tensorflow_version,
            "cpu": cpu.get_name(),
            "num_cpus": os.cpu_count(),
            "gpu": ", ".join(gpus) or "none",
            "mixed_precision": config.mixed_precision,
            "onednn": onednn,
        },
        "versions": {
            "mnist_cnn": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }


def check_resume_compatible(run_dir: Path, saved: Dict[str, Any], requested: Dict[str, Any]) -> List[str]:
    """Compares the config.json of a saved run with that of the run that was requested.

    More epochs are compatible, unless the learning rate's schedule depends on their number.

    Returns:
      Warnings, one line each: differences between the machines, with which results are not bit-identical.

    Raises:
      InputError: the hyperparameters, the seed or the data differ; the message names each difference.
    """
    in_run, now = _flatten_hyperparameters(saved), _flatten_hyperparameters(requested)
    if in_run["schedule"] == now["schedule"] == "constant":
        del now["epochs"]
    differences = [
        f"{name} is {in_run[name]} in the run, {value} requested"
        for name, value in now.items()
        if in_run[name] != value
    ]
    if differences:
        raise InputError(f"cannot resume {run_dir}: {', '.join(differences)}")
    machine = {"onednn": False, **saved["machine"]}  # earlier versions do not record it
    return [
        f"{name} was {machine.get(name)} and is {value}: resuming, but results will not be bit-identical"
        for name, value in requested["machine"].items()
        if machine.get(name) != value
    ]


def _flatten_hyperparameters(config: Dict[str, Any]) -> Dict[str, Any]:
    model, recipe, seed = recipe_from_config(config)
    return {"model": model, **asdict(recipe), "seed": seed, "dataset": config["dataset"]["sha256"]}
