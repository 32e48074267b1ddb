"""Compares the speed of this project with the tutorial's plain feed_dict script, and optionally PyTorch and Keras.

Each contender is a process. The contenders train a block of steps in turn, so that other load on the machine affects
all of them alike.
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the package of this clone, not an installed one
from mnist_cnn import cpu  # noqa: E402
from mnist_cnn.cli.command import Parser  # noqa: E402
from mnist_cnn.data.idx import IDX_FILES  # noqa: E402
from mnist_cnn.data.mnist import get_data_dir, load_mnist  # noqa: E402
from mnist_cnn.errors import InputError, TrainingFailed  # noqa: E402
from mnist_cnn.recipes import RECIPES, check_int, get_recipe  # noqa: E402

CONTENDERS_DIR = HERE / "contenders"
BLOCK_SIZE = 45  # steps
MAX_ROUNDS = 10  # one epoch has enough steps for 12 blocks
MAX_STARTS = 3  # starts of each contender, of which the median counts; not more than there are rounds
TRAIN_SIZE = 55000  # images of an epoch
PUBLISHED_STEPS = 15 * TRAIN_SIZE // 100

PYTHON_NAMES = ("plain", "ours", "pytorch", "keras", "tutorial")
PYTORCH_VARIANTS: Dict[str, List[str]] = {
    "default": [],
    "channels_last": ["channels_last"],
    "fused Adam": ["fused"],
    "channels_last, fused Adam": ["channels_last", "fused"],
}


class Contender:
    """A process that trains the network in one framework, a block of steps per turn. See contenders/protocol.py.

    Args:
      name: its name in the results.
      script: the name of its script in CONTENDERS_DIR, without ".py".
      variant: further arguments of the script.
      python: the path of the Python interpreter.
      steps_per_run: number of steps of a whole training run.
    """

    def __init__(
        self, name: str, script: str, variant: Sequence[str], python: str, steps_per_run: int = PUBLISHED_STEPS
    ):
        self.name = name
        self.steps_per_run = steps_per_run
        self._command = [python, str(CONTENDERS_DIR / f"{script}.py")]
        self._variant = list(variant)
        self._seconds_to_first_step: List[float] = []
        self._blocks: List[List[float]] = []
        self._final_message: Dict[str, Any] = {}
        self._stderr = tempfile.TemporaryFile()

    def start(self, data_dir: Path, steps: int) -> None:
        """Starts the process and waits for its first step.

        Raises:
          InputError: the Python interpreter cannot be started, or is none.
          TrainingFailed: the process ended before its first step.
        """
        started_at = time.time()
        try:
            self._process = subprocess.Popen(
                [*self._command, str(data_dir), str(steps), str(BLOCK_SIZE), *self._variant],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                # By default, TensorFlow takes all of a GPU's memory, and there would be none for the other contenders.
                env={**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"},
            )
        except OSError as error:
            raise InputError(
                f"{self._command[0]} cannot be started ({error.strerror}): name another Python with --python"
            ) from error
        self._seconds_to_first_step.append(self._read_message()["first_step_at"] - started_at)

    def stop(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.communicate()

    def train_block(self) -> None:
        """Waits while the process trains a block of steps."""
        self._start_turn()
        self._blocks.append(self._read_message()["seconds"])

    def finish(self) -> None:
        """Waits while the process evaluates the network."""
        self._start_turn()
        self._final_message = self._read_message()

    def result(self) -> Dict[str, Any]:
        """Returns the measured values, by the names of benchmark.py's JSON output."""
        # The first block warms up the caches and is not counted.
        seconds_per_step = statistics.median(seconds for block in self._blocks[1:] for seconds in block)
        return {
            "name": self.name,
            "versions": self._final_message["versions"],
            "ms_per_step": 1000 * seconds_per_step,
            "peak_bytes": self._final_message["peak_bytes"],
            "seconds_to_first_step": statistics.median(self._seconds_to_first_step),
            "steps_per_run": self.steps_per_run,
            "training_seconds_per_run": self.steps_per_run * seconds_per_step,
        }

    def _start_turn(self) -> None:
        # Writing fails if the process has ended. `_read_message` then reports the reason.
        with contextlib.suppress(OSError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def _read_message(self) -> Dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            try:
                return json.loads(line)
            except ValueError:
                raise InputError(f"{self._command[0]} is no Python interpreter: name another with --python") from None
        self._stderr.seek(0)
        last_line = self._stderr.read().decode(errors="replace").strip().splitlines()[-1:] or ["no output on stderr"]
        raise TrainingFailed(f"{self.name} ended early: {last_line[0]}")


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = Parser(
        "benchmark.py",
        "Compares the speed of this project with the tutorial's plain feed_dict script. The contenders train a block "
        "of steps in turn. Validation and checkpoints do not count as steps.",
    )
    parser.add_data_arguments()
    parser.add_argument(
        "--against",
        choices=["pytorch", "keras"],
        nargs="+",
        default=[],
        help="also measure the same network in PyTorch or Keras, which must be installed",
    )
    parser.add_argument(
        "--python",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help=f"Python interpreter for the contenders NAME, one of {', '.join(PYTHON_NAMES)} "
        "(default: the one that runs this script); tutorial=PATH, a Python 3.6 with TensorFlow 1.5, also measures the "
        "plain script there",
    )
    parser.add_argument("--mixed-precision", action="store_true", help="also measure train.py's --mixed-precision")
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=int,
        default=10,
        help=f"number of blocks of {BLOCK_SIZE} steps for each contender, 1 to {MAX_ROUNDS} (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.run(compare, argv=argv)


def compare(args: Namespace) -> None:
    """Measures all contenders in turn and prints the results."""
    check_int("rounds", args.rounds, 1, MAX_ROUNDS)
    contenders = list(make_contenders(args))
    data_dir = find_packed_mnist(args)
    steps = 1 + (args.rounds + 1) * BLOCK_SIZE
    with contextlib.ExitStack() as stack:
        num_starts = min(MAX_STARTS, args.rounds)
        for start in range(num_starts):
            for contender in contenders:
                contender.start(data_dir, steps)
                if start < num_starts - 1:
                    contender.stop()
                else:
                    stack.callback(contender.stop)
        for _ in range(args.rounds + 1):
            for contender in contenders:
                contender.train_block()
        for contender in contenders:
            contender.finish()
    results = [contender.result() for contender in contenders]
    for result in results:
        result["step_ratio"] = result["ms_per_step"] / results[0]["ms_per_step"]
        result["run_ratio"] = result["training_seconds_per_run"] / results[0]["training_seconds_per_run"]
    if args.json:
        print(json.dumps({"machine": describe_machine(), "contenders": results}, indent=2))
    else:
        print(format_table(results))


def make_contenders(args: Namespace) -> Iterator[Contender]:
    """Yields the contenders. The plain script is the first, because the ratios refer to it."""
    pythons = dict.fromkeys(PYTHON_NAMES, sys.executable)
    for pair in args.python:
        name, _, path = pair.partition("=")
        if name not in pythons or not path:
            raise InputError(f"--python {pair}: it must be NAME=PATH, with one of {', '.join(pythons)} as the name")
        pythons[name] = path
    yield Contender("plain script", "plain", [], pythons["plain"])
    if pythons["tutorial"] != sys.executable:
        yield Contender("plain script, as published", "plain", [], pythons["tutorial"])
    for name in RECIPES:
        recipe = get_recipe(name, "cnn")
        yield Contender(name, "ours", [name], pythons["ours"], TRAIN_SIZE // recipe.batch_size * recipe.epochs)
    if args.mixed_precision:
        yield Contender("original, mixed precision", "ours", ["original", "mixed"], pythons["ours"])
    if "pytorch" in args.against:
        for name, variant in PYTORCH_VARIANTS.items():
            yield Contender(f"PyTorch, {name}", "plain_pytorch", variant, pythons["pytorch"])
    if "keras" in args.against:
        yield Contender("Keras", "plain_keras", [], pythons["keras"])


def find_packed_mnist(args: Namespace) -> Path:
    """Returns the absolute path of the folder of MNIST's gzip files, which are downloaded if they are missing.

    Raises:
      InputError: a file is damaged, cannot be downloaded, or exists only uncompressed.
    """
    load_mnist(args.data_dir, args.mirror)
    data_dir = get_data_dir(args.data_dir).resolve()
    for name in IDX_FILES:
        if not (data_dir / f"{name}.gz").is_file():
            raise InputError(
                f"{data_dir / name}.gz does not exist, and the plain script reads only gzip files: compress {name}"
            )
    return data_dir


def format_table(results: List[Dict[str, Any]]) -> str:
    """Returns the results as a Markdown table, followed by the name of the machine."""
    lines = [
        "| | ms per step | ratio | training time of a run | ratio | peak memory | time to first step | versions |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        peak = result["peak_bytes"]
        memory = "not measured" if peak is None else f"{peak / 1e9:.2f} GB"
        lines.append(
            f"| {result['name']} | {result['ms_per_step']:.1f} | {result['step_ratio']:.2f} "
            f"| {result['training_seconds_per_run']:.0f} s | {result['run_ratio']:.3f} "
            f"| {memory} | {result['seconds_to_first_step']:.1f} s | {result['versions']} |"
        )
    return "\n".join([*lines, "", describe_machine()])


def describe_machine() -> str:
    return f"{os.cpu_count()} x {cpu.get_name()}, {platform.system()}"


if __name__ == "__main__":
    main()
