"""Draws the results of several seeds as a page with plots. Needs the extra `report`."""

from collections import Counter
from pathlib import Path

import numpy as np

from mnist_cnn import published
from mnist_cnn.data.mnist import Dataset
from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write
from mnist_cnn.recipes import Recipe
from mnist_cnn.report import plots
from mnist_cnn.report.page import find_published_costs, render_reproduction_page
from mnist_cnn.run_dir.reproduction import bootstrap_mean, read_results


def draw_reproduction(folder: Path, dataset: Dataset, model: str, recipe: Recipe, recipe_name: str) -> Path:
    """Writes index.html and its plots, PNG files, into the folder of `run_dir.reproduction`.

    Args:
      folder: the folder with the results.
      dataset: the Dataset that the networks were trained on.
      model, recipe, recipe_name: what they were trained with.

    Returns:
      The path of index.html.

    Raises:
      InputError: there are no results, or they are damaged.
      OSError: a file cannot be written.
    """
    results = read_results(folder)
    if not results:
        raise InputError(f"{folder} contains no results: train at least one seed")
    accuracies = [result.test_accuracy for result in results]
    mean, low, high = bootstrap_mean(accuracies)
    is_mnist = dataset.name == "mnist"
    pngs = {
        "accuracies": plots.seed_accuracies(
            accuracies, (low, high), published.ACCURACY.get(model) if is_mnist else None
        )
    }
    num_epochs = min(len(result.costs) for result in results)
    if num_epochs:
        costs = np.array([result.costs[:num_epochs] for result in results])
        pngs["costs"] = plots.seed_costs(costs, find_published_costs(dataset.name, model, recipe))
    counts = Counter(index for result in results for index in result.misses)
    if counts:
        indices, numbers = zip(*counts.most_common(plots.MISTAKES_SHOWN))
        chosen = list(indices)
        pngs["misses"] = plots.seed_misses(
            dataset.test.images[chosen, ..., 0],
            dataset.test.labels[chosen],
            numbers,
            len(results),
            len(counts),
            dataset.class_names,
        )
    page = render_reproduction_page(
        dataset.name, model, recipe, recipe_name, len(dataset.test), (mean, low, high), results, pngs
    )
    for name, png in pngs.items():
        atomic_write(folder / f"{name}.png", png)
    atomic_write(folder / "index.html", page.encode(errors="replace"))
    return folder / "index.html"
