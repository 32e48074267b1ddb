"""The results of one recipe with several seeds: reproduction.json, reproduction.csv and misses.csv in one folder."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.files import atomic_write
from mnist_cnn.run_dir import directory

COLUMNS = ("seed", "tensorflow", "test_accuracy", "misses")  # then cost_1, cost_2, ... of each epoch
NUM_RESAMPLES = 10000


class SeedResult(NamedTuple):
    """What a run with one seed reached."""

    seed: int
    tensorflow: str  # version
    test_accuracy: float  # in [0, 1]
    misses: List[int]  # indices of the test images that are misclassified
    costs: List[float]  # average cost of each epoch, in nats


def open_reproduction(folder: Path, settings: Dict[str, Any]) -> None:
    """Creates the folder, or checks that its results are of the same settings.

    Args:
      folder: the folder.
      settings: the model, the recipe, the dataset and so on, as JSON values.

    Raises:
      InputError: the folder has other settings, is not empty but has none, is damaged, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "reproduction.json").exists():
            saved = directory.read_json(folder, "reproduction.json")
            different = [name for name, value in settings.items() if saved.get(name) != value]
            if different:
                raise InputError(
                    f"{folder} has results of another {', '.join(different)}: choose a new folder, or the same settings"
                )
        elif any(not entry.name.startswith("reproduction.json.") for entry in folder.iterdir()):
            raise InputError(f"{folder} is not empty, and contains no results to continue: choose a new folder")
        else:
            directory.write_json(folder, "reproduction.json", settings)
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written there ({error.strerror})") from error


def read_results(folder: Path) -> List[SeedResult]:
    """Reads reproduction.csv and misses.csv; without them, there are no results.

    Raises:
      InputError: one of them is damaged.
    """
    path = folder / "reproduction.csv"
    if not path.exists():
        return []
    try:
        misses: Dict[int, List[int]] = {}
        path = folder / "misses.csv"
        for seed, index in list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]:
            misses.setdefault(int(seed), []).append(int(index))
        path = folder / "reproduction.csv"
        results = []
        for row in list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]:
            seed, tensorflow, accuracy, num_misses, *costs = row
            result = SeedResult(
                int(seed),
                tensorflow,
                float(accuracy),
                misses.get(int(seed), []),
                [float(cost) for cost in costs if cost],
            )
            if len(result.misses) != int(num_misses):
                raise ValueError(f"seed {seed} has {num_misses} misses, and misses.csv has {len(result.misses)}")
            results.append(result)
        return results
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def write_results(folder: Path, results: List[SeedResult]) -> None:
    """Writes reproduction.csv and misses.csv. If the process dies between them, the former is still valid.

    Raises:
      OSError: they cannot be written.
    """
    results = sorted(results)
    num_epochs = max(len(result.costs) for result in results)
    _write_csv(
        folder / "misses.csv",
        ("seed", "index"),
        [(result.seed, index) for result in results for index in result.misses],
    )
    rows = [
        (result.seed, result.tensorflow, result.test_accuracy, len(result.misses), *result.costs) for result in results
    ]
    _write_csv(folder / "reproduction.csv", (*COLUMNS, *(f"cost_{i + 1}" for i in range(num_epochs))), rows)


def bootstrap_mean(values: List[float]) -> Tuple[float, float, float]:
    """Returns the mean, and the limits of its 95 % interval by the bootstrap's percentiles, deterministic.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    array = np.array(values)
    samples = np.random.RandomState(0).choice(array, [NUM_RESAMPLES, len(array)]).mean(axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(array.mean()), float(low), float(high)


def split_deviation(results: List[SeedResult], num_images: int) -> Tuple[float, float, float]:
    """Returns the standard deviation of the accuracies of two or more seeds, and the two parts of which it is made.

    The first part is the deviation that is expected if a seed misclassifies each image independently of the others,
    each with its own probability; these probabilities are estimated from the results. The second part is the rest: by
    how much whole networks are better or worse. The squares of the parts add up, unless the rest would be negative.

    Args:
      results: of two or more seeds.
      num_images: the number of test images.
    """
    accuracies = [result.test_accuracy for result in results]
    frequencies = Counter(index for result in results for index in result.misses)
    shares = np.array(list(frequencies.values())) / len(results)
    # n - 1 in place of n, as in the variance of the accuracies, makes the estimate unbiased.
    independent = np.sum(shares * (1 - shares)) * len(results) / (len(results) - 1) / num_images**2
    variance = np.var(accuracies, ddof=1)
    return float(np.sqrt(variance)), float(np.sqrt(independent)), float(np.sqrt(max(0.0, variance - independent)))


def _write_csv(path: Path, columns: Tuple[str, ...], rows: List[Tuple[Any, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    atomic_write(path, text.getvalue().encode())
