"""Draws the report of a run: plots, and a page that contains them. Needs the extra `report`."""

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_cnn.data.mnist import Dataset, Split
from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import BATCH_SIZE, Evaluation, evaluate
from mnist_cnn.files import atomic_replace_dir
from mnist_cnn.model import Model
from mnist_cnn.recipes import RECIPES, Recipe, get_recipe
from mnist_cnn.report import plots
from mnist_cnn.report.page import find_published_costs, render_page
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.checkpoints import restore_run
from mnist_cnn.run_dir.config import recipe_from_config
from mnist_cnn.run_dir.replay import list_snapshots, read_snapshot

SHOWN_DIGIT = 2  # has strokes in many directions
_SHOWN_LAYERS = ("conv1", "pool1", "conv2", "pool2", "dense")

# Labels of config.json's keys; other keys are shown as they are.
_LABELS = {
    "tensorflow": "TensorFlow",
    "cpu": "CPU",
    "num_cpus": "number of CPUs",
    "gpu": "GPU",
    "mixed_precision": "mixed precision",
    "onednn": "oneDNN",
    "python": "Python",
    "numpy": "NumPy",
}


def draw_report(run_dir: Union[str, Path], dataset: Dataset) -> Path:
    """Writes report/ in a run directory (PNG files and a self-contained index.html), replacing an earlier report.

    The report shows the weights of the latest checkpoint that is not damaged, evaluated on the test images. A plot
    is left out where the run has no data for it: the learning curve before the first epoch has ended, the errors
    where there are none, the filters and activations of a network without the layers that they show, and the filters
    during the training where the run has fewer than two snapshots that can be read.

    Args:
      run_dir: the run directory.
      dataset: the Dataset that the run was trained on.

    Returns:
      The path of index.html.

    Raises:
      InputError: `run_dir` is not a run directory, the run was trained on another dataset, or a file is damaged.
      OSError: the report cannot be written; an earlier report is unchanged.
    """
    run_dir = Path(run_dir)
    config, history = directory.read_json(run_dir, "config.json"), directory.read_history(run_dir)
    model, recipe, seed = recipe_from_config(config)
    check_dataset(run_dir, dataset)
    results = _compute_results(run_dir, dataset)
    recipe_name, changes = _find_closest_recipe(model, recipe)
    epochs = "epoch" if len(history) == 1 else "epochs"
    total_steps = recipe.epochs * (len(dataset.train) // recipe.batch_size)
    summary = {
        "network": f"{model}, {results.num_parameters:,} parameters",
        "recipe": f"{recipe_name}: {', '.join(changes)}" if changes else recipe_name,
        "seed": seed,
        "dataset": f"{dataset.name} files in {dataset.folder}, SHA-256 {dataset.digest()}"
        if dataset.folder
        else dataset.name,
        "steps": f"{results.step:,} of {total_steps:,}",
        "training time": f"{sum(row['seconds'] for row in history):,.0f} s, {len(history)} {epochs}",
        **_read_labelled(config, "machine"),
        **_read_labelled(config, "versions"),
    }
    label = f"this run: {recipe_name}, {dataset.name}"
    published_costs = find_published_costs(dataset.name, model, recipe)
    pngs = _draw_plots(results, history, label, published_costs, dataset.class_names)
    page = render_page(
        run_dir.resolve().name, dataset.name, model, recipe, summary, history, results.evaluation.confusion_matrix, pngs
    )
    files = {f"{name}.png": png for name, png in pngs.items()}
    atomic_replace_dir(run_dir / "report", {**files, "index.html": page.encode(errors="replace")})
    return run_dir / "report" / "index.html"


def check_dataset(run_dir: Union[str, Path], dataset: Dataset) -> None:
    """Raises InputError unless a run was trained on a dataset."""
    config = directory.read_json(run_dir, "config.json")
    recipe_from_config(config)  # which raises InputError if the file is damaged
    if config["dataset"].get("sha256") != dataset.digest():
        raise InputError(
            f"{run_dir} was trained on different data than this {dataset.name}: "
            "draw the report with the dataset that the run was trained on"
        )


class _Results(NamedTuple):
    step: int
    num_parameters: int
    evaluation: Evaluation
    mistakes: Optional[Tuple[Any, ...]]  # arguments of plots.mistakes; None without an error
    kernels: Optional[np.ndarray]  # argument of plots.filters; None without a first convolution
    replay: Optional[Tuple[Any, ...]]  # arguments of plots.replay; None without a first convolution or snapshots
    activations: Optional[plots.Activations]  # None for a network without these layers


def _compute_results(run_dir: Path, dataset: Dataset) -> _Results:
    split = dataset.test
    with restore_run(run_dir) as (session, model):
        evaluation = evaluate(session, model, split)
        step, weights = session.run([model.global_step, list(model.weights.values())])
        return _Results(
            step=int(step),
            num_parameters=sum(array.size for array in weights),
            evaluation=evaluation,
            mistakes=_find_mistakes(session, model, split, evaluation.predictions),
            kernels=weights[0] if _has_filters(model, weights) else None,
            replay=_read_replay(run_dir, model, weights) if _has_filters(model, weights) else None,
            activations=_compute_activations(session, model, dataset, evaluation.predictions, weights),
        )


def _find_mistakes(session: Any, model: Model, split: Split, predictions: np.ndarray) -> Optional[Tuple[Any, ...]]:
    wrong = np.flatnonzero(predictions != split.labels)
    if not len(wrong):
        return None
    batches = (split.batch(wrong[start : start + BATCH_SIZE])[0] for start in range(0, len(wrong), BATCH_SIZE))
    probabilities = np.concatenate(
        [session.run(model.probabilities, {model.images: images}).max(1) for images in batches]
    )
    order = np.argsort(-probabilities, kind="stable")[: plots.MISTAKES_SHOWN]
    shown = wrong[order]
    return split.images[shown, ..., 0], split.labels[shown], predictions[shown], probabilities[order], len(wrong)


def _has_filters(model: Model, weights: List[np.ndarray]) -> bool:
    """Returns whether the first layer is a convolution of the images, with weights [k, k, 1, number of filters]."""
    size = weights[0].shape[:1]
    return "conv1" in model.activations and weights[0].shape[:-1] == (*size, *size, 1)


def _read_replay(run_dir: Path, model: Model, weights: List[np.ndarray]) -> Optional[Tuple[Any, ...]]:
    """Reads the first layer's weights from at most SNAPSHOTS_SHOWN of the run's snapshots, evenly chosen."""
    name, shape = next(iter(model.weights)), list(weights[0].shape)
    found = []
    for step in list_snapshots(run_dir):
        with contextlib.suppress(InputError):  # a damaged snapshot is left out rather than losing the report
            snapshot = read_snapshot(run_dir, step, {name: shape})
            found.append((snapshot.weights[name], step, snapshot.accuracy))
    if len(found) < 2:
        return None
    chosen = np.linspace(0, len(found) - 1, min(len(found), plots.SNAPSHOTS_SHOWN)).round().astype(int)
    kernels, steps, accuracies = zip(*(found[index] for index in chosen))
    return np.stack(kernels), steps, accuracies


def _compute_activations(
    session: Any, model: Model, dataset: Dataset, predictions: np.ndarray, weights: List[np.ndarray]
) -> Optional[plots.Activations]:
    """Activations for the first SHOWN_DIGIT that is classified correctly, or for the first image if there is none."""
    if not set(_SHOWN_LAYERS) <= set(model.activations) or not _has_filters(model, weights):
        return None
    split = dataset.test
    shown = min(SHOWN_DIGIT, len(dataset.class_names) - 1)
    candidates = np.flatnonzero((split.labels == shown) & (predictions == shown))
    index = int(candidates[0]) if len(candidates) else 0
    images, _ = split.batch([index])
    fetches = [*(model.activations[name] for name in _SHOWN_LAYERS), model.probabilities]
    *layers, probabilities = (batch[0] for batch in session.run(fetches, {model.images: images}))
    weight_shapes = [array.shape for array in weights]
    if not _fit_plot([layer.shape for layer in layers], weight_shapes, len(probabilities)):
        return None
    conv1, pool1, conv2, pool2, dense = layers
    return plots.Activations(
        label=int(split.labels[index]),
        image=images[0, ..., 0],
        kernels=weights[0],
        conv1=np.maximum(conv1, 0),
        pool1=pool1,
        conv2=np.maximum(conv2, 0),
        pool2=pool2,
        dense=dense,
        probabilities=probabilities,
        weight_shapes=weight_shapes,
        class_names=dataset.class_names,
    )


def _fit_plot(layer_shapes: List[Tuple[int, ...]], weight_shapes: List[Tuple[int, ...]], num_classes: int) -> bool:
    """Returns whether the layers are those that plots.Activations describes, with any numbers of filters and units.

    Another network may use the same names for layers of other shapes, or have biases: the plot would be wrong.
    """
    filters1, _, filters2, _, units = (shape[-1] for shape in layer_shapes)
    expected_layers = [(28, 28, filters1), (14, 14, filters1), (14, 14, filters2), (7, 7, filters2), (units,)]
    expected_channels = [(1, filters1), (filters1, filters2)]
    expected_matrices = [(7 * 7 * filters2, units), (units, num_classes)]
    return (
        layer_shapes == expected_layers
        and [shape[2:] for shape in weight_shapes[:2]] == expected_channels
        and weight_shapes[2:] == expected_matrices
    )


def _draw_plots(
    results: _Results,
    history: List[Dict[str, Any]],
    label: str,
    published_costs: Optional[List[float]],
    class_names: Tuple[str, ...],
) -> Dict[str, bytes]:
    """Returns PNG files by name."""
    pngs = {"confusion-matrix": plots.confusion(results.evaluation.confusion_matrix, class_names)}
    if history:
        pngs["learning-curve"] = plots.learning_curve(history, label, published_costs)
    if results.mistakes:
        pngs["mistakes"] = plots.mistakes(*results.mistakes, class_names)
    if results.kernels is not None:
        pngs["filters"] = plots.filters(results.kernels)
    if results.replay:
        pngs["replay"] = plots.replay(*results.replay)
    if results.activations:
        pngs["activations"] = plots.activations_wide(results.activations)
        pngs["activations-tall"] = plots.activations_tall(results.activations)
    return pngs


def _find_closest_recipe(model: str, recipe: Recipe) -> Tuple[str, List[str]]:
    """Returns the closest named recipe, "(modified)" if it is not equal, and the differences, as text."""

    def list_changes(name: str) -> List[str]:
        named = asdict(get_recipe(name, model))
        return [f"{key.replace('_', ' ')} {value}" for key, value in asdict(recipe).items() if value != named[key]]

    closest = min(RECIPES, key=lambda name: len(list_changes(name)))
    changes = list_changes(closest)
    return f"{closest} (modified)" if changes else closest, changes


def _read_labelled(config: Dict[str, Any], part: str) -> Dict[str, Any]:
    """Returns a part of config.json, labelled for readers. It is informational only and may be missing."""
    values = config.get(part)
    if not isinstance(values, dict):
        return {}
    words = {True: "yes", False: "no"}
    return {_LABELS.get(key, key): words[value] if isinstance(value, bool) else value for key, value in values.items()}
