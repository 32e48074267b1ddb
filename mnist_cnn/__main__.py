"""`python -m mnist_cnn VERB`: the commands of the installed package."""

import argparse
import importlib
import sys

from mnist_cnn.cli.command import Parser
from mnist_cnn.errors import InputError

VERBS = {
    "download": "download and verify MNIST",
    "train": "train a network",
    "evaluate": "print the test accuracy of a run",
    "predict": "read the digits in image files",
    "report": "draw plots of a run, and an HTML page with them",
    "reproduce": "train a recipe with several seeds, and compare what they reach",
    "export": "write a run as a SavedModel, TensorFlow Lite or ONNX model",
    "serve": "serve a page to draw digits on, and a REST API",
    "launch_local": "train on a cluster of processes on this machine",
}
USAGE = "usage: python -m mnist_cnn VERB ...\n\n" + "\n".join(f"  {verb:13}{text}" for verb, text in VERBS.items())


def main() -> None:
    verb, argv = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if verb in VERBS:
        importlib.import_module(f"mnist_cnn.cli.{verb}").main(argv, f"mnist_cnn {verb}")

    def print_usage(_: argparse.Namespace) -> None:
        if verb not in ("-h", "--help"):
            raise InputError(f"unknown verb {verb!r}; choose from {', '.join(VERBS)}")
        print(f"{USAGE}\n\n`python -m mnist_cnn VERB --help` lists the flags of a verb.")

    Parser("mnist_cnn", "").run(print_usage, argv=[])


if __name__ == "__main__":
    main()
