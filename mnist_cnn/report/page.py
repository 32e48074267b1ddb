"""The page of a report: one HTML file that refers to nothing outside itself. Whatever stands in it is escaped."""

import base64
import html
import string
from pathlib import Path

from mnist_cnn import published

_TEMPLATE = Path(__file__).with_name("template.html")

# By the name of each picture its alternative text and its caption, in the order of the page.
_PICTURES = {
    "way": (
        (
            "A digit on its way through the network, from the image over 32 maps of 28×28 and of 14×14, 64 maps of 14×14 "
            "and of 7×7, and 256 dense units, to ten probabilities. Then one window times one kernel, and one pooling "
            "window, in numbers."
        ),
        (
            "The brighter, the stronger a filter's answer at that place. Maps are drawn to one scale, so that pooling is "
            "seen to halve them. Framed in blue: the window and the filter that are shown in numbers."
        ),
    ),
    "learning-curve": (
        "Average cost and validation accuracy by epoch; the table below has the numbers.",
        "The cost is the cross-entropy in training, with dropout and all that the recipe does to the images.",
    ),
    "confusion-matrix": (
        "The counts of test digits by what they are and what they are read as: {right:,} read correctly, {wrong:,} not.",
        "Only mistakes are coloured.",
    ),
    "mistakes": (
        "Misread digits, each with what it is, what it is read as, and how probable the network finds that.",
        "What it is, what it is read as, and the probability that the network gives to that.",
    ),
    "filters": (
        "The 3×3 weights of each of the 32 filters of the first layer, on one scale of colours around 0.",
        "In the order of the maps after conv1. A filter answers where the ink lies on red and not on blue.",
    ),
}


def render_page(name, dataset, model, figures, history, matrix, drawn):
    """The page as text.

    Args:
      name: what the run is called.
      dataset: the dataset's name.
      model: "cnn" or "mlp".
      figures: what is to be listed, by what it is called.
      history: rows of `directory.read_history`.
      matrix: int [10, 10], the confusion matrix.
      drawn: PNG files by the names in _PICTURES; those that are missing are left out. One whose name
        ends in -tall takes the place of the other on narrow screens.
    """
    right, total = matrix.trace(), matrix.sum()
    pictures = {
        key: _picture(alt.format(right=right, wrong=total - right), caption, drawn[key], drawn.get(f"{key}-tall"))
        for key, (alt, caption) in _PICTURES.items()
        if key in drawn
    }
    return string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=_escaped(name),
        accuracy=f"{right / total:.4f}",
        total=f"{total:,}",
        comparison=_comparison(dataset, model),
        figures="\n".join(f"<div><dt>{_escaped(key)}<dd>{_escaped(value)}</div>" for key, value in figures.items()),
        way=pictures.pop("way", ""),
        pictures="\n".join(pictures.values()),
        history=_table(history, published.COSTS.get(model)),
    )


def _comparison(dataset, model):
    if dataset == "sample":
        return "They are the sample's: do not compare it with the accuracy on MNIST."
    accuracy = published.ACCURACY.get(model)
    return f"The tutorial published {accuracy:.4f} for this network, on MNIST." if accuracy else ""


def _picture(alt, caption, png, narrow=None):
    source = f'<source media="(max-width: 40em)" srcset="{_data_uri(narrow)}">' if narrow else ""
    image = f'<img src="{_data_uri(png)}" alt="{_escaped(alt)}">'
    return f"<figure><picture>{source}{image}</picture><figcaption>{_escaped(caption)}</figcaption></figure>"


def _data_uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _table(history, published_costs):
    if not history:
        return "<p>The run stopped before its first epoch ended."
    # Soft hyphens: seven columns fit a phone.
    columns = ["epoch", "cost", *(["pub&shy;lished"] if published_costs else []), "vali&shy;dation", "rate", "s", "images/s"]
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


def _escaped(value):
    return html.escape(str(value))
