"""A report of a run: pictures, and a page that shows them. Needs the extra `report`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnist_cnn import published
from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import BATCH_SIZE, evaluate
from mnist_cnn.files import replace_folder
from mnist_cnn.recipes import RECIPES, get_recipe, recipe_from_config
from mnist_cnn.report import plots
from mnist_cnn.report.page import render_page
from mnist_cnn.run_dir import directory
from mnist_cnn.run_dir.checkpoints import restore_run
from mnist_cnn.tf1 import tf

SHOWN_DIGIT = 2  # its strokes go in all directions


def draw_report(run, dataset, report=print):
    """Draws a run into its folder report/, in place of what that held: pictures, and index.html, which has them in it.

    Shown are the weights of the newest good checkpoint, measured on the test images. Pictures of what a run does
    not have are left out: filters (a dense network), a finished epoch, mistakes.

    Args:
      run: the run's folder.
      dataset: the Dataset that it was trained on.
      report: called with a line about each newer checkpoint that is damaged.

    Returns:
      The Path of index.html.

    Raises:
      InputError: `run` is no run, or was not trained on `dataset`, or a file of it is damaged.
      OSError: the report cannot be written; an earlier one is as it was.
    """
    run = Path(run)
    config, history = directory.read_json(run, "config.json"), directory.read_history(run)
    model, recipe, seed = recipe_from_config(config)
    if config["dataset"].get("sha256") != dataset.digest():
        raise InputError(
            f"{run} was trained on other data than this {dataset.name}: a report needs what it was trained on"
        )
    measured = _measure(run, model, dataset.test, report)
    drawn = _draw(measured, history, f"this run: {_recipe(model, recipe)[0]}, {dataset.name}", model)
    steps = recipe.epochs * (len(dataset.train) // recipe.batch_size)
    facts = {
        "network": f"{model}, {measured.parameters:,} parameters",
        "recipe": ", ".join(_recipe(model, recipe)),
        "seed": seed,
        "dataset": dataset.name,
        "steps": f"{measured.step:,} of {steps:,}",
        "training time": f"{sum(row['seconds'] for row in history):,.0f} s, {len(history)} epochs",
        **_recorded(config, "machine"),
        **_recorded(config, "versions"),
    }
    text = render_page(run.resolve().name, dataset.name, model, facts, history, measured.evaluation.confusion_matrix, drawn)
    files = {f"{name}.png": png for name, png in drawn.items()}
    replace_folder(run / "report", {**files, "index.html": text.encode(errors="replace")})
    return run / "report" / "index.html"


class _Measured(NamedTuple):
    step: int
    parameters: int
    evaluation: Any  # an Evaluation
    mistakes: Any  # what plots.mistakes takes; None without one
    way: Any  # a plots.Activations; None for a dense network


def _measure(run, model, split, report):
    with restore_run(run, report) as (session, network):
        evaluation = evaluate(session, network, split)
        weights = session.run(tf.trainable_variables())
        return _Measured(
            step=int(session.run(network.global_step)),
            parameters=sum(array.size for array in weights),
            evaluation=evaluation,
            mistakes=_mistakes(session, network, split, evaluation.predictions),
            way=_way(session, network, split, evaluation.predictions, weights) if model == "cnn" else None,
        )


def _mistakes(session, network, split, predictions):
    wrong = np.flatnonzero(predictions != split.labels)
    if not len(wrong):
        return None
    batches = (split.batch(wrong[start : start + BATCH_SIZE])[0] for start in range(0, len(wrong), BATCH_SIZE))
    probabilities = np.concatenate(
        [session.run(network.probabilities, {network.images: images}).max(1) for images in batches]
    )
    surest = np.argsort(-probabilities, kind="stable")[: plots.MISTAKES_SHOWN]
    chosen = wrong[surest]
    return split.images[chosen, ..., 0], split.labels[chosen], predictions[chosen], probabilities[surest], len(wrong)


def _way(session, network, split, predictions, weights):
    """The way of the first digit of its kind that is read correctly, else of the first image."""
    chosen = np.flatnonzero((split.labels == SHOWN_DIGIT) & (predictions == SHOWN_DIGIT))[:1]
    index = int(chosen[0]) if len(chosen) else 0
    images, _ = split.batch([index])
    # By name: before they are pooled, the network has the convolutions without ReLU alone.
    tensors = [f"{name}:0" for name in ("conv1/Conv2D", "conv1/Relu", "conv2/Conv2D", "conv2/Relu", "dense/Relu")]
    found = session.run([*tensors, network.probabilities], {network.images: images})
    conv1, pool1, conv2, pool2, dense, probabilities = (array[0] for array in found)
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
        parameters=[array.size for array in weights],
    )


def _draw(measured, history, label, model):
    """PNG files by name."""
    drawn = {"confusion-matrix": plots.confusion(measured.evaluation.confusion_matrix)}
    if history:
        drawn["learning-curve"] = plots.learning_curve(history, label, published.COSTS.get(model))
    if measured.mistakes:
        drawn["mistakes"] = plots.mistakes(*measured.mistakes)
    if measured.way:
        drawn["filters"] = plots.filters(measured.way.kernels)
        drawn["way"] = plots.activations_wide(measured.way)
        drawn["way-tall"] = plots.activations_tall(measured.way)
    return drawn


def _recipe(model, recipe):
    """The name of the recipe that needs the fewest changes to be this one, then each change."""

    def changes(name):
        values = asdict(get_recipe(name, model))
        return [f"{key.replace('_', ' ')} {value}" for key, value in asdict(recipe).items() if value != values[key]]

    nearest = min(RECIPES, key=lambda name: len(changes(name)))
    if changes(nearest):
        return [f"{nearest}, changed", *changes(nearest)]
    return [nearest]


def _recorded(config, part):
    """For people to read, so it may as well be missing."""
    part = config.get(part)
    return part if isinstance(part, dict) else {}
