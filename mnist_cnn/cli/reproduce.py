"""`reproduce`: trains a recipe with several seeds, and summarises what they reach."""

import argparse
import math
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional

from mnist_cnn.cli.command import Hints, Parser, matplotlib_config_dir, print_status
from mnist_cnn.cli.datasets import OWN_DATA, choose_dataset, load_with_tensorflow, print_data_notice
from mnist_cnn.cli.train import HINTS as TRAIN_HINTS
from mnist_cnn.errors import DataNotFound, InputError, Stopped, TrainingFailed
from mnist_cnn.recipes import DEFAULT_RECIPES, MAX_SEED, RECIPES, check_int

if TYPE_CHECKING:
    from mnist_cnn.run_dir.config import RunConfig
    from mnist_cnn.run_dir.reproduction import SeedResult

DESCRIPTION = (
    "Trains a recipe with several seeds, one after the other, and writes what each reaches into the folder --out-dir: "
    "reproduction.csv (costs by epoch, test accuracy, number of misclassified test images), misses.csv (which they "
    "are) and a page with plots, index.html. Called again, it skips the seeds that are done, and resumes the one that "
    "was stopped."
)
AGAIN_HINT = "to continue: the same command again"
HINTS: Hints = {
    DataNotFound: TRAIN_HINTS[DataNotFound],
    Stopped: AGAIN_HINT,
    TrainingFailed: AGAIN_HINT,
}


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    parser.add_data_arguments(", or of data of your own")
    add(
        "--dataset",
        choices=["auto", "mnist", "sample", *OWN_DATA],
        default="auto",
        help="as for train.py (default: auto: mnist, or the sample if MNIST can be neither found nor downloaded)",
    )
    add("--model", choices=list(DEFAULT_RECIPES), default="cnn", help="the network (default: cnn)")
    add("--recipe", choices=list(RECIPES), default="original", help="the recipe (default: original)")
    add("--seeds", metavar="LIST", default="1-5", help="the seeds, such as 1-20 or 1,3,7-9 (default: 1-5)")
    add(
        "--out-dir",
        metavar="DIR",
        default="reproduction",
        help="a new folder, or the one of an earlier call (default: reproduction)",
    )
    add("--max-steps", metavar="N", type=int, help="stop each run after N steps, for smoke tests")
    parser.run(reproduce, HINTS, argv)


def parse_seeds(text: str) -> List[int]:
    """Parses a list such as "1,3,7-9"; returns the seeds in ascending order.

    Raises:
      InputError: it is not such a list.
    """
    seeds = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (re.fullmatch("[0-9]+", first) and re.fullmatch("[0-9]+", last if dash else first)):
            raise InputError(f"--seeds {text}: it must be a list such as 1-20 or 1,3,7-9")
        check_int("--seeds", int(first), 0, MAX_SEED)
        check_int("--seeds", int(last or first), int(first), min(int(first) + 9999, MAX_SEED))
        seeds.update(range(int(first), int(last or first) + 1))
    return sorted(seeds)


def reproduce(args: argparse.Namespace) -> None:
    with matplotlib_config_dir():
        import mnist_cnn.report.reproduction as page  # if the extra is missing, that is an error before training

        train_seeds(args, page.draw_reproduction)


def train_seeds(args: argparse.Namespace, draw_page: Callable[..., Path]) -> None:
    from mnist_cnn.run_dir.config import describe_run, resolve_config
    from mnist_cnn.run_dir.directory import lock_dir
    from mnist_cnn.run_dir.reproduction import bootstrap_mean, open_reproduction, read_results, write_results

    seeds, folder = parse_seeds(args.seeds), Path(args.out_dir)

    def make_config(seed: int) -> "RunConfig":
        run_dir = folder / f"seed-{seed}"
        return resolve_config(run_dir, run_dir.exists(), args.model, args.recipe, seed, args.max_steps)

    config = resolve_config(None, False, args.model, args.recipe, 0, args.max_steps)
    load = choose_dataset(args.dataset, args.data_dir, args.mirror)
    dataset = load_with_tensorflow(load, args.dataset not in OWN_DATA, args.debug)
    print_data_notice(dataset)
    description = describe_run(config, dataset, "")
    settings = {name: description[name] for name in ("model", "recipe", "dataset")}
    open_reproduction(folder, {**settings, "max_steps": args.max_steps})
    with lock_dir(folder):
        results = read_results(folder)
        done = {result.seed for result in results}
        missing = [seed for seed in seeds if seed not in done]

        def remove_run(seed: int) -> None:
            shutil.rmtree(str(folder / f"seed-{seed}"), ignore_errors=True)  # its results are in the tables

        for seed in done:  # of a call that was killed before it removed its run
            remove_run(seed)
        started = time.monotonic()
        for number, seed in enumerate(missing):
            message = f"NOTICE: seed {seed}, {len(results) + 1} of {len(done) + len(missing)}"
            if number:
                seconds_per_seed = (time.monotonic() - started) / number
                message += f", about {math.ceil(seconds_per_seed * (len(missing) - number) / 60)} min left"
            print_status(message)
            result = train_seed(dataset, make_config(seed))
            results.append(result)
            write_results(folder, results)
            print(f"Seed {seed}: accuracy {result.test_accuracy:.4f}, {len(result.misses)} misses", flush=True)
            remove_run(seed)
        if len(results) > 1:
            mean, low, high = bootstrap_mean([result.test_accuracy for result in results])
            print(f"Mean of {len(results)} seeds: {mean:.4f}, 95 % interval {low:.4f} to {high:.4f}")
        print(draw_page(folder, dataset, config.model, config.recipe, args.recipe))


def train_seed(dataset: Any, config: "RunConfig") -> "SeedResult":
    """Trains with one seed, or resumes that run."""
    import numpy as np

    from mnist_cnn.evaluation import evaluate
    from mnist_cnn.run_dir.reproduction import SeedResult
    from mnist_cnn.tf1 import tf
    from mnist_cnn.trainer import Trainer

    class SeedTrainer(Trainer):
        """A Trainer that prints nothing, and keeps the misclassified test images."""

        def print_line(self, line: str) -> None:
            pass

        def finish(self) -> Any:
            result = super().finish()
            predictions = evaluate(self.session, self.model, dataset.test).predictions
            self.misses = np.flatnonzero(predictions != dataset.test.labels).tolist()
            return result

    trainer = SeedTrainer(dataset, config)
    result = trainer.run()
    costs = [row["avg_cost"] for row in trainer.state.history]
    return SeedResult(config.seed, tf.__version__, result["test_accuracy"], trainer.misses, costs)
