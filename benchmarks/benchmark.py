"""Measures this project against the tutorial's plain feed_dict script. Each side trains a block of steps in turn."""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mnist_cnn import cpu
from mnist_cnn.cli.command import Parser
from mnist_cnn.data.idx import IDX_FILES
from mnist_cnn.data.mnist import get_data_dir, load_mnist
from mnist_cnn.errors import InputError, TrainingFailed
from mnist_cnn.recipes import RECIPES, check_int, get_recipe

SIDES = Path(__file__).resolve().parent / "sides"
BLOCK = 45  # steps
STARTS = 3  # of which the median counts; fewer if there are fewer rounds
EPOCH = 550  # steps of 100 images

PYTORCH = {
    "default": [],
    "channels_last": ["channels_last"],
    "fused Adam": ["fused"],
    "channels_last, fused Adam": ["channels_last", "fused"],
}


class Side:
    """One of those that are compared, as a process that takes turns."""

    def __init__(self, name, script, variant, python, run_steps=15 * EPOCH):
        self.name, self.run_steps = name, run_steps
        self.command = [python, str(SIDES / (script + ".py"))]
        self.variant = variant
        self.starts, self.blocks, self.end = [], [], None
        self.complaints = tempfile.TemporaryFile("w+")

    def start(self, folder, steps):
        """Runs it to its first step."""
        started_at = time.time()
        self.process = subprocess.Popen(
            [*self.command, str(folder), str(steps), str(BLOCK), *self.variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            universal_newlines=True,
        )
        self.starts.append(self._hear()["first_step_at"] - started_at)

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def take_a_block(self):
        self._go()
        self.blocks.append(self._hear()["seconds"])

    def finish(self):
        self._go()
        self.end = self._hear()

    def result(self):
        # The first block, in which caches warm up, does not count.
        step = statistics.median(seconds for block in self.blocks[1:] for seconds in block)
        return {
            "side": self.name,
            "versions": self.end["versions"],
            "ms_per_step": 1000 * step,
            "peak_bytes": self.end["peak_bytes"],
            "seconds_to_first_step": statistics.median(self.starts),
            "steps_of_a_run": self.run_steps,
            "training_seconds_of_a_run": self.run_steps * step,
        }

    def _go(self):
        with contextlib.suppress(BrokenPipeError):  # `_hear` says it better
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def _hear(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.complaints.seek(0)
        reason = self.complaints.read().strip().splitlines()[-1:] or ["it says nothing"]
        raise TrainingFailed(f"{self.name} ended early: {reason[0]}")


def main():
    parser = Parser(__doc__ + " Validation and checkpoints do not count as steps.")
    add = parser.add_argument
    parser.add_data_arguments()
    add(
        "--against",
        choices=["pytorch", "keras"],
        nargs="+",
        default=[],
        help="compare with the same network in these, too, where they are installed",
    )
    add(
        "--python",
        metavar="SIDE=PATH",
        action="append",
        default=[],
        help="another Python to run a side by: plain, ours, pytorch or keras (default: this one)",
    )
    add(
        "--mixed-precision",
        action="store_true",
        help="measure train.py's --mixed-precision, too",
    )
    add("--rounds", metavar="N", type=int, default=10, help=f"blocks of {BLOCK} steps for each side (default: 10)")
    add("--json", action="store_true", help="print JSON instead of a table")
    parser.run(work)


def work(args):
    check_int("rounds", args.rounds, 1, 10)
    sides = list(all_sides(args))
    load_mnist(args.data_dir, args.mirror)  # downloads it, if need be
    folder = get_data_dir(args.data_dir).resolve()
    for name in IDX_FILES:
        if not (folder / (name + ".gz")).is_file():
            raise InputError(f"{folder / name}.gz is missing: the plain script's reader needs the packed files")

    steps = 1 + (args.rounds + 1) * BLOCK
    with contextlib.ExitStack() as stack:
        starts = min(STARTS, args.rounds)
        for start in range(starts):
            for side in sides:
                side.start(folder, steps)
                if start < starts - 1:
                    side.stop()
                else:
                    stack.callback(side.stop)
        for _ in range(args.rounds + 1):
            for side in sides:
                side.take_a_block()
        for side in sides:
            side.finish()
    results = [side.result() for side in sides]
    for result in results:
        result["step_ratio"] = result["ms_per_step"] / results[0]["ms_per_step"]
        result["run_ratio"] = result["training_seconds_of_a_run"] / results[0]["training_seconds_of_a_run"]
    if args.json:
        print(json.dumps({"machine": machine(), "sides": results}, indent=2))
    else:
        print(table(results))


def all_sides(args):
    """The plain script first: it is what the others are compared with."""
    pythons = dict.fromkeys(["plain", "ours", "pytorch", "keras"], sys.executable)
    for pair in args.python:
        side, _, path = pair.partition("=")
        if side not in pythons or not path:
            raise InputError(f"--python {pair}: it must be SIDE=PATH, with one of {', '.join(pythons)} as the side")
        pythons[side] = path
    yield Side("plain script", "plain", [], pythons["plain"])
    for name in RECIPES:
        recipe = get_recipe(name, "cnn")
        yield Side(name, "ours", [name], pythons["ours"], 55000 // recipe.batch_size * recipe.epochs)
    if args.mixed_precision:
        yield Side("original, mixed precision", "ours", ["original", "mixed"], pythons["ours"])
    if "pytorch" in args.against:
        for name, variant in PYTORCH.items():
            yield Side(f"PyTorch, {name}", "plain_pytorch", variant, pythons["pytorch"])
    if "keras" in args.against:
        yield Side("Keras", "plain_keras", [], pythons["keras"])


def table(results):
    """In Markdown: for people, and for a README."""
    lines = [
        "| | ms per step | ratio | a whole run's steps | ratio | peak memory | first step after | versions |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {result['side']} | {result['ms_per_step']:.1f} | {result['step_ratio']:.2f} "
        f"| {result['training_seconds_of_a_run']:.0f} s | {result['run_ratio']:.3f} "
        f"| {result['peak_bytes'] / 1e9:.2f} GB | {result['seconds_to_first_step']:.1f} s | {result['versions']} |"
        for result in results
    ]
    return "\n".join([*lines, "", machine()])


def machine():
    return f"{os.cpu_count()} x {cpu.name()}, {platform.system()}"


if __name__ == "__main__":
    main()
