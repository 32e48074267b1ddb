"""The pictures of a report. Needs the extra `report`.

Each function returns the bytes of a PNG file. They are narrow, so that their text can be read on a phone.
Colours differ in lightness or are Okabe and Ito's, so that the colour-blind can tell them apart.
"""

import functools
import io
from typing import Any, NamedTuple

import numpy as np

try:
    import matplotlib
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError("a report needs matplotlib: pip install '.[report]'") from error
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image  # which matplotlib needs

INK, FAINT, LINE, PAPER = "#1b1b1b", "#666666", "#d0d0d0", "#ffffff"
OURS, THEIRS, MARK = "#0072b2", "#c9c9c9", "#56b4e9"
DPI = 200
WIDTH = 5  # inches
MISTAKES_SHOWN = 16

_STYLE = {
    "font.family": "DejaVu Sans",  # which comes with matplotlib
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


def _picture(draw):
    """Makes of a function that returns a Figure one that returns a PNG file, whatever the user's matplotlibrc says."""

    @functools.wraps(draw)
    def png(*args):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_STYLE)
            file = io.BytesIO()
            canvas = FigureCanvasAgg(draw(*args))
            canvas.draw()
            # With 256 colours, which no eye misses, in less than half of the bytes.
            pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize()
            pixels.save(file, "PNG", optimize=True)
            return file.getvalue()

    return png


@_picture
def learning_curve(history, label, published_costs):
    """Cost and validation accuracy by epoch.

    Args:
      history: rows of `directory.read_history`, one at least.
      label: what the legend calls this run.
      published_costs: those of the tutorial's run, by epoch; none for a network that has none.
    """
    figure = Figure([WIDTH, 4.65])
    first, last = history[0]["avg_cost"], history[-1]["avg_cost"]
    title = (
        f"The cost goes from {first:.3f} to {last:.3f}" if len(history) > 1 else f"The cost of one epoch is {last:.3f}"
    )
    if published_costs:
        title += f",\nin the published run from {published_costs[0]} to {published_costs[-1]}"
    _title(figure, title)
    costs = _axes(figure, 0.5, 0.95, 4.35, 2.05)
    accuracies = _axes(figure, 0.5, 3.4, 4.35, 0.75, sharex=costs)
    if published_costs:
        epochs = range(1, len(published_costs) + 1)
        costs.plot(epochs, published_costs, color=THEIRS, linewidth=6, label="published: original, mnist")
    epochs = [row["epoch"] for row in history]
    costs.plot(epochs, [row["avg_cost"] for row in history], "o-", color=OURS, label=label)
    costs.set_yscale("log")
    costs.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    costs.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    costs.yaxis.set_minor_formatter(NullFormatter())
    costs.tick_params(labelbottom=False)
    costs.legend(loc="upper right")
    costs.set_title("average cost of an epoch, on a log scale")
    accuracies.plot(epochs, [row["validation_accuracy"] for row in history], "o-", color=OURS)
    accuracies.xaxis.set_major_locator(MaxNLocator(15, integer=True))
    accuracies.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    accuracies.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    accuracies.set_title("accuracy on the validation images")
    accuracies.set_xlabel("epoch")
    for axes in (costs, accuracies):
        axes.grid(axis="y")
        axes.tick_params(which="both", length=0)
    return figure


@_picture
def confusion(matrix):
    """`matrix` int [10, 10], rows the true digits, columns the predicted ones. Colour is for the mistakes alone."""
    mistakes = matrix - np.diag(np.diag(matrix))
    figure = Figure([WIDTH, 5.7])
    _title(figure, _misread(mistakes, matrix.sum()))
    axes = _axes(figure, 0.45, 1.15, 4.4, 4.4)
    most = max(mistakes.max(), 1)
    axes.imshow(np.ma.masked_equal(mistakes, 0), "Oranges", vmin=-0.2 * most, vmax=1.1 * most)
    for true, predicted in np.ndindex(matrix.shape):
        count = matrix[true, predicted]
        if true == predicted:
            axes.add_patch(Rectangle((predicted - 0.5, true - 0.5), 1, 1, color="#efefef", lw=0))
            colour = FAINT
        else:
            colour = PAPER if count > 0.6 * most else INK
        if count or true == predicted:
            axes.text(predicted, true, str(count), color=colour, ha="center", va="center")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(10))
        axis.set_ticks(np.arange(11) - 0.5, minor=True)
    axes.grid(which="minor", clip_on=False)
    axes.tick_params(which="both", length=0, labeltop=True, labelbottom=False, labelsize=10)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("is read as", loc="left")
    axes.set_ylabel("the digit", loc="top")
    axes.spines[:].set_visible(False)
    return figure


def _misread(mistakes, total):
    if not mistakes.any():
        return f"All {total:,} test digits are read correctly"
    true, predicted = np.unravel_index(mistakes.argmax(), mistakes.shape)
    most = f"most often a {true} as a {predicted}, {_times(mistakes.max())}"
    return f"{mistakes.sum():,} of {total:,} test digits are misread,\n{most}"


def _times(count):
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


@_picture
def mistakes(images, labels, predictions, probabilities, total):
    """Misread digits, the most confidently misread first.

    Args:
      images: uint8 [n, 28, 28], 1 to MISTAKES_SHOWN.
      labels, predictions: ints [n] in 0..9.
      probabilities: float [n] in [0, 1], of the predictions.
      total: how many are misread in all.
    """
    rows = -(-len(images) // 4)
    figure = Figure([WIDTH, 0.5 + 1.6 * rows])
    _title(figure, f"The {len(images)} surest of {total:,} mistakes" if total > 1 else "The only mistake")
    for i, (image, label, prediction, probability) in enumerate(zip(images, labels, predictions, probabilities)):
        left, top = 0.12 + 1.22 * (i % 4), 0.45 + 1.6 * (i // 4)
        _map(figure, left, top, 1.1 / 28, image, "Greys")
        _text(figure, left + 0.55, top + 1.13, f"{label} read as {prediction}", ha="center")
        _text(figure, left + 0.55, top + 1.3, percent(probability), color=FAINT, ha="center")
    return figure


def percent(probability):
    """Without the claim to be certain."""
    return ">99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"


@_picture
def filters(kernels):
    """`kernels` float [3, 3, 1, 32], the weights of the first layer."""
    figure = Figure([WIDTH, 3.35])
    _title(figure, "The 32 filters of the first layer, 3×3 weights each")
    most = np.abs(kernels).max()
    shown = _tiled(kernels[:, :, 0], 8, gap=1)
    picture = _map(figure, 0.15, 0.5, 4.7 / shown.shape[1], shown, "RdBu_r", Normalize(-most, most)).images[0]
    bar = figure.colorbar(picture, cax=_axes(figure, 1.5, 2.98, 2, 0.09), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.locator = MaxNLocator(4)
    bar.update_ticks()
    _text(figure, 1.4, 3.025, "ink counts against", color=FAINT, ha="right", va="center")
    _text(figure, 3.6, 3.025, "ink counts for", color=FAINT, va="center")
    return figure


class Activations(NamedTuple):
    """What one image becomes in the network; arrays are float32."""

    label: int
    image: Any  # [28, 28] in [0, 1]
    kernels: Any  # [3, 3, 1, 32], the first layer's weights
    conv1: Any  # [28, 28, 32], after ReLU
    pool1: Any  # [14, 14, 32]
    conv2: Any  # [14, 14, 64], after ReLU
    pool2: Any  # [7, 7, 64]
    dense: Any  # [256]
    probabilities: Any  # [10]
    parameters: Any  # ints [4], of conv1, conv2, dense and output


@_picture
def activations_wide(way):
    """A Activations from left to right, 10.5 inches wide."""
    figure = Figure([10.5, 5.95])
    _title(figure, _reads(way), size=14)
    left, middle = 0.15, 2.35
    for stage in _stages(way, columns=4):
        width, height = stage.size
        if stage.name != "image":
            _text(figure, left - 0.18, middle, "→", size=14, color=FAINT, ha="center", va="center")
        _text(figure, left, 0.6, stage.name, weight="bold")
        _text(figure, left, 0.78, stage.shape, color=FAINT)
        stage.draw(figure, left, middle - height / 2)
        _words(figure, left, 3.75, stage.how)
        left += max(width, 0.85) + 0.36
    _convolution(figure, way, 0.15, 4.6)
    _words(figure, 3, 4.9, _CONVOLUTION)
    _pooling(figure, way, 6.3, 4.6)
    _words(figure, 7.7, 4.9, _POOLING)
    return figure


@_picture
def activations_tall(way):
    """A Activations from top to bottom, 3.75 inches wide."""
    figure = Figure([3.75, 14.3])
    _title(figure, _reads(way))
    top = 0.6
    for stage in _stages(way, columns=8):
        stage.draw(figure, 0.15, top)
        _text(figure, 2.7, top, stage.name, weight="bold")
        _words(figure, 2.7, top + 0.18, f"{stage.shape}\n{stage.how}")
        top += max(stage.size[1], 0.9) + 0.28
    _convolution(figure, way, 0.15, top)
    _words(figure, 0.15, top + 1.3, _CONVOLUTION)
    _pooling(figure, way, 0.15, top + 2.4)
    _words(figure, 1.55, top + 2.7, _POOLING)
    return figure


_CONVOLUTION = """The pixels in the window times the weights
of a filter (its kernel), added up, are one
point of its map; below 0 it becomes 0 (ReLU).
The window moves on by 1 pixel (stride 1)."""
_POOLING = """Of each 2×2 window of a map
the largest point is kept. The
window moves on by 2 (stride 2):
half the width, half the height."""


def _reads(way):
    prediction = way.probabilities.argmax()
    return f"How the network reads a {way.label}" + (f" as a {prediction}" if prediction != way.label else "")


class _Stage(NamedTuple):
    name: str
    shape: str
    how: str
    size: Any  # (width, height) in inches
    draw: Any  # a function of (figure, left, top)


def _stages(way, columns):
    """The stages of a Activations, with one scale for all maps; `columns` of the first layer's 32."""
    number, row, column = _strongest(way)

    def maps(array, columns, mark=None):
        tiled, step = _tiled(array, columns, gap=3), array.shape[0] + 3

        def draw(figure, left, top):
            axes = _map(figure, left, top, 0.01, tiled, *_scale(array))
            if mark is not None:
                y, x = divmod(mark, columns)
                _outline(axes, x * step - 1, y * step - 1, step - 1)

        return (tiled.shape[1] / 100, tiled.shape[0] / 100), draw

    def image(figure, left, top):
        axes = _map(figure, left, top, 0.05, way.image, "gray")
        _outline(axes, column - 1, row - 1, 3)

    def units(figure, left, top):
        _map(figure, left, top, 0.04, way.dense.reshape(-1, 2 * columns), *_scale(way.dense))

    def output(figure, left, top):
        axes = _axes(figure, left + 0.15, top, 0.7, 1.6)
        best = way.probabilities.argmax()
        axes.barh(range(10), way.probabilities, color=[OURS if digit == best else LINE for digit in range(10)])
        axes.set(xlim=[0, 1], ylim=[9.6, -0.6], xticks=[], yticks=range(10))
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set_visible(False)
        _text(figure, left + 0.9, top + 0.16 * best + 0.09, percent(way.probabilities[best]), va="center", color=OURS)

    conv1, conv2, dense, last = way.parameters
    kernel = "{} filters\n{} window\nstride 1, ReLU\n{:,} weights"
    pooling = "2×2 window\nstride 2\nkeeps the largest\nno weights"
    units_size = 0.08 * columns, 0.04 * 256 / (2 * columns)
    return [
        _Stage("image", "28×28×1", "pixels,\nfrom 0 to 1", (1.4, 1.4), image),
        _Stage("conv1", "28×28×32", kernel.format(32, "3×3", conv1), *maps(way.conv1, columns, number)),
        _Stage("pooling", "14×14×32", pooling, *maps(way.pool1, columns, number)),
        _Stage("conv2", "14×14×64", kernel.format(64, "3×3×32", conv2), *maps(way.conv2, 8)),
        _Stage("pooling", "7×7×64", pooling, *maps(way.pool2, 8)),
        _Stage("dense", "256", f"each sees\nall 7·7·64\nReLU\n{dense:,} weights", units_size, units),
        _Stage("output", "10", f"each sees\nall 256\nsoftmax\n{last:,} weights", (1.45, 1.6), output),
    ]


def _strongest(way):
    """(number, row, column) of a strong answer, to show in numbers: that of the filter with the most contrast."""
    number = way.kernels.std((0, 1, 2)).argmax()
    return (number, *np.unravel_index(way.conv1[:, :, number].argmax(), [28, 28]))


def _convolution(figure, way, left, top):
    """One window times one kernel, in numbers."""
    number, row, column = _strongest(way)
    most = np.abs(way.kernels).max()
    window = np.pad(way.image, 1)[row : row + 3, column : column + 3]
    _text(figure, left, top, "convolution", weight="bold")
    axes = _numbers(figure, left, top + 0.3, window, "gray", Normalize(0, 1))
    _outline(axes, 0, 0, 3)
    _text(figure, left + 1.03, top + 0.75, "×", size=12, ha="center", va="center")
    _numbers(figure, left + 1.16, top + 0.3, way.kernels[:, :, 0, number], "RdBu_r", Normalize(-most, most))
    _text(figure, left + 2.19, top + 0.75, "=", size=12, ha="center", va="center")
    _numbers(figure, left + 2.32, top + 0.6, way.conv1[row, column, number, None, None], *_scale(way.conv1))


def _pooling(figure, way, left, top):
    """One pooling window, in numbers."""
    number, row, column = _strongest(way)
    row, column = row // 2, column // 2
    window = way.conv1[2 * row : 2 * row + 2, 2 * column : 2 * column + 2, number]
    _text(figure, left, top, "pooling", weight="bold")
    _numbers(figure, left, top + 0.3, window, *_scale(way.conv1))
    _text(figure, left + 0.73, top + 0.6, "→", size=12, ha="center", va="center")
    _numbers(figure, left + 0.86, top + 0.45, way.pool1[row, column, number, None, None], *_scale(way.conv1))


def _scale(array):
    # Weak answers shall be seen beside the strongest.
    return "magma", PowerNorm(0.6, 0, max(array.max(), 1e-9))


def _numbers(figure, left, top, values, colours, norm):
    axes = _map(figure, left, top, 0.3, values, colours, norm=norm)
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = axes.images[0].to_rgba(value)
        ink = INK if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else PAPER
        axes.text(column, row, f"{value:.2f}".replace("-", "−"), size=6.5, color=ink, ha="center", va="center")
    return axes


def _tiled(maps, columns, gap):
    """[height, width, n] as one picture, `columns` maps in a row, with `gap` blank pixels between them."""
    height, width, n = maps.shape
    framed = np.pad(maps, [(0, gap), (0, gap), (0, 0)], constant_values=np.nan)
    rows = framed.reshape(height + gap, width + gap, n // columns, columns).transpose(2, 0, 3, 1)
    return rows.reshape(n // columns * (height + gap), columns * (width + gap))[:-gap, :-gap]


def _map(figure, left, top, pixel, values, colours, norm=None):
    """Axes that show an array, `pixel` inches for each value."""
    height, width = values.shape
    axes = _axes(figure, left, top, pixel * width, pixel * height)
    axes.imshow(np.ma.masked_invalid(values), colours, interpolation="nearest", aspect="auto", norm=norm)
    axes.set_axis_off()
    return axes


def _outline(axes, left, top, size):
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), size, size, fill=False, color=MARK, lw=1.2, clip_on=False))


def _axes(figure, left, top, width, height, **options):
    """In inches from the upper left corner, as all that follow."""
    whole_width, whole_height = figure.get_size_inches()
    bottom = whole_height - top - height
    box = [left / whole_width, bottom / whole_height, width / whole_width, height / whole_height]
    return figure.add_axes(box, **options)


def _title(figure, text, size=11):
    _text(figure, 0.15, 0.15, text, size=size, weight="bold", linespacing=1.35)


def _words(figure, left, top, words):
    _text(figure, left, top, words, size=8, color=FAINT, linespacing=1.4)


def _text(figure, x, y, s, va="top", **options):
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, s, va=va, **options)
