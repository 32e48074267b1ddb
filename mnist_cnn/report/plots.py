"""The plots of a report, as PNG files. Needs the extra `report`.

Each public plot function returns the bytes of a PNG file. The plots are narrow, so that their text is legible on a
phone. Their colours differ in lightness or are from the palette of Okabe and Ito, which colour-blind readers can
distinguish.
"""

import contextlib
import functools
import io
import logging
import os
import unicodedata
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from mnist_cnn.data.mnist import DIGITS

try:
    import matplotlib
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError("a report needs matplotlib: pip install '.[report]'") from error
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.patches import Rectangle
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image  # a dependency of matplotlib

INK, FAINT, LINE, PAPER = "#1b1b1b", "#666666", "#d0d0d0", "#ffffff"
THIS_RUN, PUBLISHED, MARK = "#0072b2", "#c9c9c9", "#56b4e9"
DPI = 200
WIDTH = 5  # inches
MISTAKES_SHOWN = 16
SNAPSHOTS_SHOWN = 10
MAX_COUNTED = 12  # classes of a confusion matrix in whose cells there is room for numbers
PROBABILITIES_SHOWN = 10

# For names of classes with characters that DejaVu Sans lacks; matplotlib before 3.6 uses the first font alone.
_OTHER_FONTS = (
    *("Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "NanumGothic"),
    *("Malgun Gothic", "Yu Gothic", "Microsoft YaHei", "Apple SD Gothic Neo", "Hiragino Sans", "PingFang SC"),
)
# matplotlib's list is cached: a font may have been removed since.
_INSTALLED_FONTS = {font.name for font in fontManager.ttflist if os.path.exists(font.fname)}

_STYLE = {
    "font.family": ["DejaVu Sans", *(font for font in _OTHER_FONTS if font in _INSTALLED_FONTS)],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": DPI,
    "figure.facecolor": PAPER,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "xtick.color": LINE,
    "xtick.labelcolor": FAINT,
    "ytick.color": LINE,
    "ytick.labelcolor": FAINT,
}


@contextlib.contextmanager
def _silence_font_manager() -> Iterator[None]:
    """Discards its warning that one of _OTHER_FONTS has no bold characters."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _render_png(draw: Callable[..., Figure]) -> Callable[..., bytes]:
    """Decorator: renders the returned Figure as a PNG file, independent of the user's matplotlib settings."""

    @functools.wraps(draw)
    def render(*args: Any) -> bytes:
        with matplotlib.rc_context(), _silence_font_manager():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            file = io.BytesIO()
            canvas = FigureCanvasAgg(draw(*args))
            canvas.draw()
            # A palette of 256 colours looks the same, in less than half of the bytes.
            pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize()
            pixels.save(file, "PNG", optimize=True)
            return file.getvalue()

    return render


@_render_png
def learning_curve(history: List[Dict[str, Any]], label: str, published_costs: Optional[List[float]] = None) -> Figure:
    """Training cost and validation accuracy by epoch.

    Args:
      history: rows of `run_dir.directory.read_history`, at least one.
      label: the legend's entry for this run.
      published_costs: the published run's cost of each epoch, if there is one.
    """
    figure = Figure([WIDTH, 4.65])
    title = _range_title("Training cost: ", [row["avg_cost"] for row in history])
    if published_costs:
        title += "\n" + _range_title("Published run: ", published_costs)
    _add_title(figure, title)
    costs = _add_axes(figure, 0.5, 0.95, 4.35, 2.05)
    accuracies = _add_axes(figure, 0.5, 3.4, 4.35, 0.75, sharex=costs)
    if published_costs:
        epochs = range(1, len(published_costs) + 1)
        costs.plot(epochs, published_costs, color=PUBLISHED, linewidth=6, label="published run")
    epochs = [row["epoch"] for row in history]
    costs.plot(epochs, [row["avg_cost"] for row in history], "o-", color=THIS_RUN, label=label)
    costs.set_yscale("log")
    costs.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    costs.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    costs.yaxis.set_minor_formatter(NullFormatter())
    costs.tick_params(labelbottom=False)
    costs.legend(loc="upper right", frameon=True, facecolor=PAPER, edgecolor="none", framealpha=1)
    costs.set_title("average training cost of each epoch (log scale)")
    accuracies.plot(epochs, [row["validation_accuracy"] for row in history], "o-", color=THIS_RUN)
    accuracies.xaxis.set_major_locator(MaxNLocator(15, integer=True, min_n_ticks=1))
    accuracies.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    accuracies.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    accuracies.set_title("validation accuracy")
    accuracies.set_xlabel("epoch")
    for axes in (costs, accuracies):
        axes.grid(axis="y")
        axes.tick_params(which="both", length=0)
    return figure


def _range_title(name: str, costs: List[float]) -> str:
    first = f"{name}{costs[0]:.3f} in epoch 1"
    return f"{first}, {costs[-1]:.3f} in epoch {len(costs)}" if len(costs) > 1 else first


@_render_png
def confusion(matrix: np.ndarray, class_names: Sequence[str] = DIGITS) -> Figure:
    """The confusion matrix. Only errors are coloured. Of more than MAX_COUNTED classes, the numbers are left out.

    Args:
      matrix: int [n, n], rows are labels, columns are predictions.
      class_names: the n names of the classes.
    """
    classes, names = len(matrix), [_escape(name) for name in class_names]
    kind = "digit" if tuple(class_names) == DIGITS else "class"
    errors = matrix - np.diag(np.diag(matrix))
    font_size = min(10, 200 / classes)
    room = _measure_names(names, font_size)  # beside the axes; and above them, where names are vertical
    is_vertical = max(map(_count_columns, names)) > 2
    side, top = WIDTH - 0.6 - room, 1.15 + (room if is_vertical else 0)
    figure = Figure([WIDTH, top + side + 0.15])
    _add_title(figure, _confusion_title(errors, matrix.sum(), names))
    axes = _add_axes(figure, 0.45 + room, top, side, side)
    most = max(errors.max(), 1)
    axes.imshow(np.ma.masked_equal(errors, 0), "Oranges", vmin=-0.2 * most, vmax=1.1 * most)
    for label, prediction in np.ndindex(matrix.shape):
        count = matrix[label, prediction]
        if label == prediction:
            axes.add_patch(Rectangle((prediction - 0.5, label - 0.5), 1, 1, color="#efefef", lw=0))
            colour = FAINT
        else:
            colour = PAPER if count > 0.6 * most else INK
        if (count or label == prediction) and classes <= MAX_COUNTED:
            axes.text(prediction, label, str(count), color=colour, ha="center", va="center")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(classes))
        axis.set_ticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", clip_on=False)
    axes.tick_params(which="both", length=0, labeltop=True, labelbottom=False, labelsize=font_size)
    axes.set_xticklabels(names, rotation=90 if is_vertical else 0)
    axes.set_yticklabels(names)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"predicted {kind}", loc="left")
    axes.set_ylabel(f"true {kind}", loc="top")
    axes.spines[:].set_visible(False)
    return figure


def _escape(name: str) -> str:
    """Returns the name of a class for a plot: not longer than fits, and not as a formula."""
    while _count_columns(name) > 12:
        name = name.rstrip("…")[:-1] + "…"
    return name.replace("$", r"\$")


def _measure_names(names: Sequence[str], font_size: float = 10) -> float:
    """Returns the width of the longest name in inches, beyond that of a digit."""
    return 0.0085 * font_size * (max(map(_count_columns, names)) - 1)


def _count_columns(name: str) -> int:
    """Returns the width of a name in digits. Hangul and Chinese characters are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in name)


def _confusion_title(errors: np.ndarray, total: int, names: List[str]) -> str:
    if not errors.any():
        return f"All {total:,} test images are classified correctly"
    label, prediction = np.unravel_index(errors.argmax(), errors.shape)
    times = {1: "once", 2: "twice"}.get(errors.max(), f"{errors.max():,} times")
    return (
        f"{errors.sum():,} of {total:,} test images are misclassified;\n"
        f"most often, {names[label]} is read as {names[prediction]} ({times})"
    )


@_render_png
def mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray,
    probabilities: np.ndarray,
    total: int,
    class_names: Sequence[str] = DIGITS,
) -> Figure:
    """Misclassified images, most confident first.

    Args:
      images: uint8 [n, 28, 28] in 0..255, 1 to MISTAKES_SHOWN of them.
      labels, predictions: ints [n], indices of classes.
      probabilities: float [n] in [0, 1], of the predictions.
      total: the number of errors in the whole test set.
      class_names: the names of the classes.
    """
    names = [_escape(name) for name in class_names]
    longest = max(map(_count_columns, names))
    between, height = (
        (" read as ", 1.6) if longest <= 3 else ("\nread as ", 1.8) if longest <= 6 else ("\nread as\n", 2)
    )
    figure = Figure([WIDTH, 0.5 + height * -(-len(images) // 4)])
    _add_title(figure, f"The {len(images)} most confident of {total:,} errors" if total > 1 else "The only error")
    for i, (image, label, prediction, probability) in enumerate(zip(images, labels, predictions, probabilities)):
        left, top = 0.12 + 1.22 * (i % 4), 0.45 + height * (i // 4)
        _add_map(figure, left, top, 1.1 / 28, image, "Greys")
        _add_text(figure, left + 0.55, top + 1.13, f"{names[label]}{between}{names[prediction]}", ha="center")
        _add_text(figure, left + 0.55, top + height - 0.3, format_percent(probability), color=FAINT, ha="center")
    return figure


@_render_png
def seed_accuracies(
    accuracies: List[float], interval: Tuple[float, float], published_accuracy: Optional[float] = None
) -> Figure:
    """The test accuracy of each seed as a dot, with their mean and its interval.

    Args:
      accuracies: in [0, 1], one of each seed, at least one.
      interval: the limits of the mean's 95 % interval.
      published_accuracy: the published run's, if there is one.
    """
    figure = Figure([WIDTH, 2.5])
    mean = float(np.mean(accuracies))
    title = f"Mean test accuracy of {_count_seeds(len(accuracies))}: {mean:.4f}"
    if published_accuracy is not None:
        higher = sum(accuracy < published_accuracy for accuracy in accuracies)
        title += f"\nThe published run, {published_accuracy:.4f}, is above {higher} of them"
    _add_title(figure, title)
    axes = _add_axes(figure, 0.3, 0.85, 4.4, 1.1)
    axes.axvspan(*interval, color=PUBLISHED, alpha=0.5, lw=0, label="95 % interval of the mean")
    axes.axvline(mean, color=THIS_RUN, label="mean")
    if published_accuracy is not None:
        axes.axvline(published_accuracy, color=INK, linestyle=":", label="published run")
    # Equal accuracies are stacked.
    heights = [accuracies[:index].count(accuracy) for index, accuracy in enumerate(accuracies)]
    axes.plot(accuracies, heights, "o", color=THIS_RUN, clip_on=False)
    axes.set_ylim(-1, max(4, *heights) + 1)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%.4f"))
    axes.set_xlabel("test accuracy of each seed")
    axes.legend(loc="upper left", ncol=3, fontsize=8, bbox_to_anchor=(0, 1.28), borderaxespad=0)
    return figure


def _count_seeds(number: int) -> str:
    return f"{number} seed" if number == 1 else f"{number} seeds"


@_render_png
def seed_costs(costs: np.ndarray, published_costs: Optional[List[float]] = None) -> Figure:
    """The range of the seeds' average costs by epoch.

    Args:
      costs: float [number of seeds, number of epochs], in nats.
      published_costs: the published run's, if there is one.
    """
    figure = Figure([WIDTH, 3.35])
    _add_title(
        figure, _range_title(f"Training cost, mean of {_count_seeds(len(costs))}:\n", costs.mean(axis=0).tolist())
    )
    axes = _add_axes(figure, 0.5, 0.8, 4.35, 2.05)
    epochs = range(1, costs.shape[1] + 1)
    if published_costs:
        published_epochs = range(1, len(published_costs) + 1)
        axes.plot(published_epochs, published_costs, color=INK, linestyle=":", label="published run", zorder=3)
    axes.fill_between(epochs, costs.min(axis=0), costs.max(axis=0), color=MARK, alpha=0.5, lw=0, label="all seeds")
    axes.plot(epochs, costs.mean(axis=0), "o-", color=THIS_RUN, label="mean")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(15, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    axes.tick_params(which="both", length=0)
    axes.legend(loc="upper right")
    axes.set_title("average training cost of each epoch (log scale)")
    axes.set_xlabel("epoch")
    return figure


@_render_png
def seed_misses(
    images: np.ndarray,
    labels: np.ndarray,
    counts: np.ndarray,
    num_seeds: int,
    total: int,
    class_names: Sequence[str] = DIGITS,
) -> Figure:
    """The test images that most seeds misclassify.

    Args:
      images: uint8 [n, 28, 28] in 0..255, 1 to MISTAKES_SHOWN of them.
      labels: int [n], indices of `class_names`.
      counts: int [n], by how many seeds each is misclassified.
      num_seeds: the number of seeds.
      total: the number of images that any seed misclassifies.
      class_names: the names of the classes.
    """
    names = [_escape(name) for name in class_names]
    between, height = (" ", 1.6) if max(map(_count_columns, names)) <= 6 else ("\n", 1.8)
    figure = Figure([WIDTH, 0.5 + height * -(-len(images) // 4)])
    _add_title(figure, f"The {len(images)} of {total:,} images that most seeds misclassify")
    for i, (image, label, count) in enumerate(zip(images, labels, counts)):
        left, top = 0.12 + 1.22 * (i % 4), 0.45 + height * (i // 4)
        _add_map(figure, left, top, 1.1 / 28, image, "Greys")
        _add_text(figure, left + 0.55, top + 1.13, f"label{between}{names[label]}", ha="center")
        _add_text(figure, left + 0.55, top + height - 0.3, f"{count} of {num_seeds} seeds", color=FAINT, ha="center")
    return figure


def format_percent(probability: float) -> str:
    """Formats a probability in [0, 1] as a percentage, never as 100 %: no prediction is certain."""
    return ">99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


@_render_png
def filters(kernels: np.ndarray) -> Figure:
    """The filters of the first layer, on one colour scale that is symmetric around 0.

    Args:
      kernels: float [k, k, 1, n], the layer's weights.
    """
    size, _, _, n = kernels.shape
    columns = max(8, int(np.ceil(np.sqrt(n))))
    pixel = 4.7 / (columns * (size + 1) - 1)
    tiled = _tile(kernels[:, :, 0], min(columns, n), gap=1)
    bottom = 0.5 + pixel * len(tiled)
    figure = Figure([WIDTH, bottom + 0.55])
    _add_title(figure, f"conv1: {_count(n, 'filter')} of {size}×{size} weights")
    axes = _add_map(figure, 0.15, 0.5, pixel, tiled, *_weight_colours(kernels))
    _add_weight_scale(figure, bottom + 0.18, axes)
    return figure


@_render_png
def replay(kernels: np.ndarray, steps: List[int], accuracies: List[float]) -> Figure:
    """The filters of the first layer at several steps of the training, on the colour scale of `filters`.

    Args:
      kernels: float [s, k, k, 1, n], the layer's weights after each of the s steps, at least two.
      steps: int [s], in order.
      accuracies: float [s] in [0, 1], on validation images.
    """
    _, size, _, _, n = kernels.shape
    columns = max(8, min(n, max(16, int(np.ceil(1.5 * np.sqrt(n))))))
    left = max(1.1, 0.5 + 0.085 * len(f"{steps[-1]:,}"))
    pixel = (WIDTH - 0.15 - left) / (columns * (size + 1) - 1)
    tiles = [_tile(kernel[:, :, 0], min(columns, n), gap=1) for kernel in kernels]
    row = max(pixel * len(tiles[0]), 0.34) + 0.16
    first_row = 0.7
    bottom = first_row + row * len(tiles)
    figure = Figure([WIDTH, bottom + 0.45])
    change = np.abs(kernels[-1] - kernels[0]).mean()
    title = f"conv1 from step {steps[0]:,} to step {steps[-1]:,}:\nits weights change by {change:.2g} on average"
    _add_title(figure, title)
    colours = _weight_colours(kernels)
    for i, (tiled, step, accuracy) in enumerate(zip(tiles, steps, accuracies)):
        top = first_row + row * i
        axes = _add_map(figure, left, top, pixel, tiled, *colours)
        _add_text(figure, 0.15, top - 0.02, f"step {step:,}")
        _add_text(figure, 0.15, top + 0.17, f"{100 * accuracy:.1f} %", color=FAINT)
    _add_weight_scale(figure, bottom + 0.08, axes)
    return figure


def _weight_colours(kernels: np.ndarray) -> Tuple[str, Normalize]:
    most = max(np.abs(kernels).max(), 1e-9)
    return "RdBu_r", Normalize(-most, most)


def _add_weight_scale(figure: Figure, top: float, axes: Axes) -> None:
    """Adds the colour scale of the weights that the axes show."""
    bar = figure.colorbar(axes.images[0], cax=_add_axes(figure, 1.5, top, 2, 0.09), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
    _add_text(figure, 1.4, top + 0.045, "negative weight", color=FAINT, ha="right", va="center")
    _add_text(figure, 3.6, top + 0.045, "positive weight", color=FAINT, va="center")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Activations(NamedTuple):
    """One test image and its activations in a network of two convolutions, each with pooling, and a dense layer.

    Arrays are float32; [n] are the numbers of filters, units and classes.
    """

    label: int  # of the image
    image: np.ndarray  # [28, 28] in [0, 1]
    kernels: np.ndarray  # [k, k, 1, n], the first layer's weights
    conv1: np.ndarray  # [28, 28, n], after ReLU
    pool1: np.ndarray  # [14, 14, n]
    conv2: np.ndarray  # [14, 14, n], after ReLU
    pool2: np.ndarray  # [7, 7, n]
    dense: np.ndarray  # [n], after ReLU
    probabilities: np.ndarray  # [n]
    weight_shapes: List[Tuple[int, ...]]  # of conv1, conv2, dense and output
    class_names: Sequence[str] = DIGITS


@_render_png
def activations_wide(shown: Activations) -> Figure:
    """The activations from left to right, for wide screens."""
    stages = _make_stages(shown, map_rows=8, unit_rows=32)
    first_column = _numbers_width(shown) + 0.38
    second_column = first_column + 3.3
    stages_width = sum(max(stage.size[0], 0.85) + 0.36 for stage in stages)
    figure = Figure([max(10.5, stages_width, second_column + 3.7), 4.9 + max(_kernel_height(shown), 0.75) + 0.15])
    _add_title(figure, _prediction_title(shown), size=14)
    left, middle = 0.15, 2.35
    for stage in stages:
        width, height = stage.size
        if stage is not stages[0]:
            _add_text(figure, left - 0.18, middle, "→", size=14, color=FAINT, ha="center", va="center")
        _add_text(figure, left, 0.6, stage.name, weight="bold")
        _add_text(figure, left, 0.78, stage.shape, color=FAINT)
        stage.draw(figure, left, middle - height / 2)
        _add_note(figure, left, 3.75, stage.note)
        left += max(width, 0.85) + 0.36
    _draw_convolution(figure, shown, 0.15, 4.6)
    _add_note(figure, first_column, 4.9, _CONVOLUTION_NOTE)
    _draw_pooling(figure, shown, second_column, 4.6)
    _add_note(figure, second_column + 1.4, 4.9, _POOLING_NOTE)
    return figure


@_render_png
def activations_tall(shown: Activations) -> Figure:
    """The activations from top to bottom, for narrow screens."""
    stages = _make_stages(shown, map_columns=8, unit_columns=16)
    width = max(3.75, _numbers_width(shown) + 0.15, max(stage.size[0] for stage in stages[:-1]) + 1.25)
    stages_height = sum(max(stage.size[1], 0.9) + 0.28 for stage in stages)
    figure = Figure([width, stages_height + _kernel_height(shown) + 3.05])
    _add_title(figure, _prediction_title(shown))
    top = 0.6
    for stage in stages:
        stage.draw(figure, 0.15, top)
        _add_text(figure, width - 1.05, top, stage.name, weight="bold")
        _add_note(figure, width - 1.05, top + 0.18, f"{stage.shape}\n{stage.note}")
        top += max(stage.size[1], 0.9) + 0.28
    _draw_convolution(figure, shown, 0.15, top)
    top += 0.4 + _kernel_height(shown)
    _add_note(figure, 0.15, top, _CONVOLUTION_NOTE)
    _draw_pooling(figure, shown, 0.15, top + 0.95)
    _add_note(figure, 1.55, top + 1.25, _POOLING_NOTE)
    return figure


_CONVOLUTION_NOTE = """Each pixel in the window is multiplied by the
weight at the same position. The sum is one
point of the feature map; ReLU replaces negative
sums by 0. The window moves by 1 pixel (stride 1)."""
_POOLING_NOTE = """The maximum of each 2×2 window of
a feature map is kept. The window
moves by 2 (stride 2): half the width,
half the height."""


def _prediction_title(shown: Activations) -> str:
    prediction, names = shown.probabilities.argmax(), [_escape(name) for name in shown.class_names]
    result = "classified correctly" if prediction == shown.label else f"misclassified as {names[prediction]}"
    return f"Activations for {names[shown.label]}, {result}"


class _Stage(NamedTuple):
    name: str
    shape: str
    note: str
    size: Tuple[float, float]  # (width, height) in inches
    draw: Callable[[Figure, float, float], None]  # (figure, left, top)


def _make_stages(
    shown: Activations,
    map_rows: Optional[int] = None,
    map_columns: Optional[int] = None,
    unit_rows: Optional[int] = None,
    unit_columns: Optional[int] = None,
) -> List[_Stage]:
    """The image, each layer and the output, in data-flow order.

    Args:
      shown: the activations to draw.
      map_rows, map_columns: the layout of each layer's feature maps; the one that is None follows from the other.
      unit_rows, unit_columns: likewise, of the dense layer's units.
    """
    number, row, column = _strongest_activation(shown)
    size = len(shown.kernels)

    def columns_for(n: int, rows: Optional[int], columns: Optional[int]) -> int:
        return min(columns or -(-n // rows), n)

    def maps(array: np.ndarray, mark: Optional[int] = None) -> Tuple[Tuple[float, float], Callable[..., None]]:
        columns = columns_for(array.shape[-1], map_rows, map_columns)
        tiled, step = _tile(array, columns, gap=3), len(array) + 3

        def draw(figure: Figure, left: float, top: float) -> None:
            axes = _add_map(figure, left, top, 0.01, tiled, *_activation_colours(array))
            if mark is not None:
                y, x = divmod(mark, columns)
                _add_frame(axes, x * step - 1, y * step - 1, step - 1)

        return (tiled.shape[1] / 100, tiled.shape[0] / 100), draw

    def draw_image(figure: Figure, left: float, top: float) -> None:
        axes = _add_map(figure, left, top, 0.05, shown.image, "gray")
        before = (size - 1) // 2
        _add_frame(axes, column - before, row - before, size)

    units = shown.dense[np.newaxis, np.newaxis]
    units = _tile(units, columns_for(len(shown.dense), unit_rows, unit_columns), gap=0)

    def draw_units(figure: Figure, left: float, top: float) -> None:
        _add_map(figure, left, top, 0.04, units, *_activation_colours(shown.dense))

    names = [_escape(name) for name in shown.class_names]
    room = _measure_names(names)
    likely = np.sort(np.argsort(-shown.probabilities, kind="stable")[:PROBABILITIES_SHOWN])
    bars, best = len(likely), shown.probabilities[likely].argmax()

    def draw_output(figure: Figure, left: float, top: float) -> None:
        axes = _add_axes(figure, left + 0.15 + room, top, 0.7, 0.16 * bars)
        colours = [THIS_RUN if bar == best else LINE for bar in range(bars)]
        axes.barh(range(bars), shown.probabilities[likely], color=colours)
        axes.set(xlim=[0, 1], ylim=[bars - 0.4, -0.6], xticks=[], yticks=range(bars))
        axes.set_yticklabels([names[index] for index in likely])
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set_visible(False)
        probability = format_percent(shown.probabilities[likely[best]])
        _add_text(figure, left + 0.9 + room, top + 0.16 * best + 0.09, probability, va="center", color=THIS_RUN)

    conv1, conv2, dense, output = shown.weight_shapes
    convolution = "{3} filters\nof {0}×{1}×{2}\nstride 1, ReLU\n".format
    pooling = "2×2 max-pooling\nstride 2\nno weights"
    fully_connected = "fully connected\n{0:,} → {1}\n{2}\n".format
    return [
        _Stage("image", _format_shape(shown.image[..., np.newaxis]), "pixels\nin [0, 1]", (1.4, 1.4), draw_image),
        _Stage("conv1", _format_shape(shown.conv1), convolution(*conv1) + _weights(conv1), *maps(shown.conv1, number)),
        _Stage("pool1", _format_shape(shown.pool1), pooling, *maps(shown.pool1, number)),
        _Stage("conv2", _format_shape(shown.conv2), convolution(*conv2) + _weights(conv2), *maps(shown.conv2)),
        _Stage("pool2", _format_shape(shown.pool2), pooling, *maps(shown.pool2)),
        _Stage(
            "dense",
            _format_shape(shown.dense),
            fully_connected(*dense, "ReLU") + _weights(dense),
            (0.04 * units.shape[1], 0.04 * units.shape[0]),
            draw_units,
        ),
        _Stage(
            "output",
            _format_shape(shown.probabilities),
            fully_connected(*output, "softmax") + _weights(output),
            (1.45 + room, 0.16 * bars),
            draw_output,
        ),
    ]


def _format_shape(array: np.ndarray) -> str:
    return "×".join(map(str, array.shape))


def _weights(shape: Tuple[int, ...]) -> str:
    return f"{np.prod(shape):,} weights"


def _strongest_activation(shown: Activations) -> Tuple[int, int, int]:
    """The (filter, row, column) whose computation is shown in numbers: of the filter with the most contrast."""
    number = shown.kernels.std((0, 1, 2)).argmax()
    return (number, *np.unravel_index(shown.conv1[:, :, number].argmax(), shown.image.shape))


def _kernel_height(shown: Activations) -> float:
    return 0.3 * len(shown.kernels)


def _numbers_width(shown: Activations) -> float:
    """Width of the output of `_draw_convolution`, with a margin on its left, in inches."""
    return 2 * _kernel_height(shown) + 0.97


def _draw_convolution(figure: Figure, shown: Activations, left: float, top: float) -> None:
    """One window × one filter = one activation, in numbers."""
    number, row, column = _strongest_activation(shown)
    most = max(np.abs(shown.kernels).max(), 1e-9)
    size, side = len(shown.kernels), _kernel_height(shown)
    # SAME padding
    window = np.pad(shown.image, ((size - 1) // 2, size // 2))[row : row + size, column : column + size]
    _add_text(figure, left, top, "convolution", weight="bold")
    top += 0.3
    _add_frame(_add_numbers(figure, left, top, window, "gray", Normalize(0, 1)), 0, 0, size)
    _add_text(figure, left + side + 0.13, top + side / 2, "×", size=12, ha="center", va="center")
    left += side + 0.26
    _add_numbers(figure, left, top, shown.kernels[:, :, 0, number], "RdBu_r", Normalize(-most, most))
    _add_text(figure, left + side + 0.13, top + side / 2, "=", size=12, ha="center", va="center")
    activation = shown.conv1[row, column, number, np.newaxis, np.newaxis]
    _add_numbers(figure, left + side + 0.26, top + side / 2 - 0.15, activation, *_activation_colours(shown.conv1))


def _draw_pooling(figure: Figure, shown: Activations, left: float, top: float) -> None:
    """The maximum of one pooling window, in numbers."""
    number, row, column = _strongest_activation(shown)
    row, column = row // 2, column // 2
    window = shown.conv1[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, number]
    _add_text(figure, left, top, "pooling", weight="bold")
    _add_numbers(figure, left, top + 0.3, window, *_activation_colours(shown.conv1))
    _add_text(figure, left + 0.73, top + 0.6, "→", size=12, ha="center", va="center")
    maximum = shown.pool1[row, column, number, np.newaxis, np.newaxis]
    _add_numbers(figure, left + 0.86, top + 0.45, maximum, *_activation_colours(shown.conv1))


def _activation_colours(array: np.ndarray) -> Tuple[str, Normalize]:
    # An exponent below 1 keeps weak activations visible beside the strongest.
    return "magma", PowerNorm(0.6, 0, max(array.max(), 1e-9))


def _add_numbers(figure: Figure, left: float, top: float, values: np.ndarray, colours: str, norm: Normalize) -> Axes:
    """Adds a table of numbers, 0.3 inches for each, on cells coloured by value."""
    axes = _add_map(figure, left, top, 0.3, values, colours, norm)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = axes.images[0].to_rgba(value)
        ink = INK if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else PAPER
        axes.text(column, row, f"{value:.2f}".replace("-", "−"), size=6.5, color=ink, ha="center", va="center")
    return axes


def _tile(maps: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """Arranges maps [height, width, n] in rows of `columns`, with `gap` pixels of NaN between them."""
    height, width, n = maps.shape
    rows = -(-n // columns)
    framed = np.pad(maps, [(0, gap), (0, gap), (0, rows * columns - n)], mode="constant", constant_values=np.nan)
    tiled = framed.reshape(height + gap, width + gap, rows, columns).transpose(2, 0, 3, 1)
    tiled = tiled.reshape(rows * (height + gap), columns * (width + gap))
    return tiled[: len(tiled) - gap, : tiled.shape[1] - gap]


def _add_map(
    figure: Figure,
    left: float,
    top: float,
    pixel: float,
    values: np.ndarray,
    colours: str,
    norm: Optional[Normalize] = None,
) -> Axes:
    """Adds axes that show an array [height, width], `pixel` inches for each value. NaN is transparent."""
    height, width = values.shape
    axes = _add_axes(figure, left, top, pixel * width, pixel * height)
    axes.imshow(np.ma.masked_invalid(values), colours, interpolation="nearest", aspect="auto", norm=norm)
    axes.set_axis_off()
    return axes


def _add_frame(axes: Axes, left: float, top: float, size: float) -> None:
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, color=MARK, lw=1.2, clip_on=False))


def _add_axes(figure: Figure, left: float, top: float, width: float, height: float, **options: Any) -> Axes:
    """Adds axes. Positions, here and in the other helpers, are in inches from the figure's upper left corner."""
    figure_width, figure_height = figure.get_size_inches()
    bottom = figure_height - top - height
    box = [left / figure_width, bottom / figure_height, width / figure_width, height / figure_height]
    return figure.add_axes(box, **options)


def _add_title(figure: Figure, text: str, size: float = 11) -> None:
    _add_text(figure, 0.15, 0.15, text, size=size, weight="bold", linespacing=1.35)


def _add_note(figure: Figure, left: float, top: float, text: str) -> None:
    # Line by line: matplotlib's line spacing varies with the characters in a line.
    for i, line in enumerate(text.splitlines()):
        _add_text(figure, left, top + 0.11 + 0.155 * i, line, size=8, color=FAINT, va="baseline")


def _add_text(figure: Figure, left: float, top: float, text: str, va: str = "top", **options: Any) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va=va, **options)
