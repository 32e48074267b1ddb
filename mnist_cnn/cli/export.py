"""`export`: writes a trained run as a SavedModel and prints the folder it is in."""

import argparse
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow

DESCRIPTION = "Writes a trained run as a SavedModel, for TensorFlow Serving and others, and prints the folder it is in."


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument(
        "--export-dir",
        metavar="DIR",
        required=True,
        help="folder in which the model gets a new numbered folder: DIR/1, or the next number",
    )
    parser.add_run_dir_argument()
    parser.run(export, argv=argv)


def export(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    run_dir = args.run_dir or directory.latest_run(completed=True)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier

    with Classifier.load(run_dir) as classifier:
        print(classifier.export(args.export_dir))
