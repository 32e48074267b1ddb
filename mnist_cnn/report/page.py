"""The page of a report: one self-contained HTML file. All inserted text is escaped."""

import base64
import html
import math
import string
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mnist_cnn import published
from mnist_cnn.data.own_data import FORMATS
from mnist_cnn.recipes import Recipe
from mnist_cnn.run_dir.reproduction import SeedResult, split_deviation

_TEMPLATE = Path(__file__).with_name("template.html")

# The alternative text and the caption of each plot, in the order of the page.
_PLOTS = {
    "activations": (
        "One test image and its activations in each layer of the network: the image, the feature maps after each of "
        "two convolutions and after pooling, the dense units, and the probability of each class. Below them, in "
        "numbers, one window times one filter, and one pooling window.",
        "Brighter is a stronger activation. All feature maps are drawn to one scale, so that pooling visibly halves "
        "their width and height. The blue frames mark the window and the filter that are shown in numbers.",
    ),
    "learning-curve": (
        "Average training cost and validation accuracy by epoch; the table below has the numbers.",
        "The training cost is the cross-entropy, measured with the recipe's dropout and augmentation.",
    ),
    "confusion-matrix": (
        "Number of test images by true and predicted class: {correct:,} classified correctly, {wrong:,} misclassified.",
        "Rows are true classes, columns are predicted classes. Only errors are coloured.",
    ),
    "mistakes": (
        "Misclassified images, each with the true class, the predicted class and the probability of the prediction.",
        "Below each image: the true class, the predicted class and its probability.",
    ),
    "filters": (
        "The weights of each filter of the first layer, on one colour scale around 0.",
        "In the order of the feature maps of conv1. Ink on red weights raises a filter's activation; ink on blue "
        "weights lowers it.",
    ),
    "replay": (
        "The filters of the first layer at several steps from the start of the training to its end, on one colour "
        "scale around 0, each with the step and the accuracy.",
        "At each step all filters are shown, and each filter keeps its place. Training starts from random weights. "
        "The accuracy is on validation images.",
    ),
}


_SEED_PLOTS = {
    "accuracies": (
        "The test accuracy of each seed as a dot, the mean and its 95 % interval; the table below has the numbers.",
        "The interval of the mean is a percentile bootstrap over the seeds. The standard deviation has two parts: what "
        "is expected if the seeds misclassify each image independently of the others, and the rest. All seeds are "
        "measured on the same test images: with as many others, an accuracy p would change by another "
        "√(p(1 − p) / images) or so.",
    ),
    "costs": (
        "The range and the mean of the average training costs by epoch.",
        "The training cost is the cross-entropy, measured with the recipe's dropout and augmentation.",
    ),
    "misses": (
        "The test images that most seeds misclassify, each with its label and the number of seeds.",
        "Below each image: its label, and how many seeds misclassify it.",
    ),
}


def render_page(
    name: str,
    dataset: str,
    model: str,
    recipe: Recipe,
    summary: Dict[str, Any],
    history: List[Dict[str, Any]],
    matrix: np.ndarray,
    pngs: Dict[str, bytes],
) -> str:
    """Renders the HTML page.

    Args:
      name: the run's name, shown as the heading.
      dataset: the dataset's name.
      model: the network's name.
      recipe: the run's.
      summary: values by label.
      history: rows of `run_dir.directory.read_history`.
      matrix: int [n, n], the confusion matrix: rows are labels, columns are predictions.
      pngs: PNG files by plot name; plots that are missing are left out. A file named NAME-tall replaces NAME on
        narrow screens.
    """
    correct, total = matrix.trace(), matrix.sum()
    figures = {
        plot: _make_figure(
            alt.format(correct=correct, wrong=total - correct), caption, pngs[plot], pngs.get(f"{plot}-tall")
        )
        for plot, (alt, caption) in _PLOTS.items()
        if plot in pngs
    }
    return _fill_template(
        name,
        correct / total,
        total,
        _compare(dataset, model, recipe),
        summary,
        figures,
        "History",
        _make_table(history, find_published_costs(dataset, model, recipe)),
    )


def render_reproduction_page(
    dataset: str,
    model: str,
    recipe: Recipe,
    recipe_name: str,
    num_images: int,
    interval: Tuple[float, float, float],
    results: List[SeedResult],
    pngs: Dict[str, bytes],
) -> str:
    """Renders the HTML page of the results of several seeds.

    Args:
      dataset: the dataset's name.
      model: the network's name.
      recipe, recipe_name: the recipe.
      num_images: the number of test images.
      interval: the mean accuracy, and the limits of its 95 % interval.
      results: of each seed, at least one.
      pngs: PNG files by plot name; plots that are missing are left out.
    """
    mean, low, high = interval
    accuracies = [result.test_accuracy for result in results]
    always = set.intersection(*(set(result.misses) for result in results))
    ever = set.union(*(set(result.misses) for result in results))
    labels = "standard deviation", "of independent misses", "of the rest"
    deviations = (
        {label: f"{value:.4f}" for label, value in zip(labels, split_deviation(results, num_images))}
        if len(results) > 1
        else {}
    )
    summary = {
        "recipe": recipe_name,
        "network": model,
        "dataset": dataset,
        "TensorFlow": ", ".join(sorted({result.tensorflow for result in results})),
        "seeds": len(results),
        "95 % interval": f"{low:.4f} to {high:.4f}",
        "range": f"{min(accuracies):.4f} to {max(accuracies):.4f}",
        **deviations,
        "√(p(1 − p) / images)": f"{math.sqrt(mean * (1 - mean) / num_images):.4f}",
        "missed by every seed": len(always),
        "missed by some seeds": len(ever - always),
    }
    rows = "\n".join(
        f"<tr><td>{result.seed}<td>{result.test_accuracy:.4f}<td>{len(result.misses)}"
        f"<td>{result.costs[0]:.3f}<td>{result.costs[-1]:.3f}"
        if result.costs
        else f"<tr><td>{result.seed}<td>{result.test_accuracy:.4f}<td>{len(result.misses)}<td><td>"
        for result in results
    )
    columns = "seed", "accuracy", "misses", "first cost", "last cost"
    head = "".join(f'<th scope="col">{column}' for column in columns)
    figures = {
        plot: _make_figure(alt, caption, pngs[plot]) for plot, (alt, caption) in _SEED_PLOTS.items() if plot in pngs
    }
    return _fill_template(
        f"{len(results)} {'seed' if len(results) == 1 else 'seeds'} of the recipe {recipe_name}",
        mean,
        num_images,
        _compare(dataset, model, recipe),
        summary,
        figures,
        "Seeds",
        f"<table>\n<thead><tr>{head}\n<tbody>\n{rows}\n</table>",
    )


def _fill_template(
    name: str,
    accuracy: float,
    total: int,
    comparison: str,
    summary: Dict[str, Any],
    figures: Dict[str, str],
    table_title: str,
    table: str,
) -> str:
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=_escape(name),
        accuracy=f"{accuracy:.4f}",
        total=f"{total:,}",
        comparison=comparison,
        summary="\n".join(f"<div><dt>{_escape(key)}<dd>{_escape(value)}</div>" for key, value in summary.items()),
        activations=figures.pop("activations", ""),
        figures="\n".join(figures.values()),
        table_title=table_title,
        table=table,
    )


def find_published_costs(dataset: str, model: str, recipe: Recipe) -> Optional[List[float]]:
    """Returns the published cost of each epoch, or None where there is none to compare with."""
    return published.COSTS.get(model) if dataset not in FORMATS and recipe.has_comparable_costs else None


def _compare(dataset: str, model: str, recipe: Recipe) -> str:
    """Compares with the published run, where there is one."""
    if dataset == "sample":
        return "These are digits of the sample: the accuracy is not comparable with one on MNIST."
    if dataset in FORMATS:
        return "These images are not MNIST: the accuracy is not comparable with one on MNIST."
    accuracy = published.ACCURACY.get(model)
    sentences = [f"The published accuracy of this network on MNIST is {accuracy:.4f}."] if accuracy else []
    if not recipe.has_comparable_costs:
        sentences.append("The costs are not comparable with published ones: this recipe trains with other labels too.")
    return " ".join(sentences)


def _make_figure(alt: str, caption: str, png: bytes, narrow_png: Optional[bytes] = None) -> str:
    source = f'<source media="(max-width: 40em)" srcset="{_make_data_uri(narrow_png)}">' if narrow_png else ""
    image = f'<img src="{_make_data_uri(png)}" alt="{_escape(alt)}">'
    return f"<figure><picture>{source}{image}</picture><figcaption>{_escape(caption)}</figcaption></figure>"


def _make_data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _make_table(history: List[Dict[str, Any]], published_costs: Optional[List[float]]) -> str:
    if not history:
        return "<p>The run stopped before its first epoch ended."
    # Soft hyphens let seven columns fit on a phone.
    columns = ["epoch", "cost"]
    if published_costs:
        columns.append("pub&shy;lished")
    columns += ["vali&shy;dation", "learn&shy;ing rate", "s", "images/s"]
    rows = []
    for i, row in enumerate(history):
        cells = [row["epoch"], f"{row['avg_cost']:.3f}"]
        if published_costs:
            cells.append(f"{published_costs[i]:.3f}" if i < len(published_costs) else "")
        cells += [f"{row['validation_accuracy']:.4f}", f"{row['learning_rate']:.2g}"]
        cells += [f"{row['seconds']:.1f}", f"{row['images_per_second']:,.0f}"]
        rows.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
    head = "".join(f'<th scope="col">{column}' for column in columns)
    return f"<table>\n<thead><tr>{head}\n<tbody>\n" + "\n".join(rows) + "\n</table>"


def _escape(value: Any) -> str:
    return html.escape(str(value))
