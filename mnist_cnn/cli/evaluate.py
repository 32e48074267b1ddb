"""`evaluate`: prints a run's test accuracy."""

import argparse
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow
from mnist_cnn.cli.datasets import OWN_DATA, load_dataset, load_run_dataset, print_data_notice
from mnist_cnn.errors import InputError

DESCRIPTION = "Prints a run's accuracy on test images, by default on those of the dataset that it was trained on."


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_run_dir_argument()
    parser.add_data_arguments(", or of data of your own")
    parser.add_argument(
        "--dataset",
        choices=["mnist", "sample", *OWN_DATA],
        help="measure it on these test images: mnist, the sample, or data in --data-dir in one of train.py's formats "
        "(default: the dataset that the run was trained on)",
    )
    parser.run(print_accuracy, argv=argv)


def print_accuracy(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory
    from mnist_cnn.run_dir.config import read_class_names, read_preparation

    run_dir = args.run_dir or directory.latest_run(completed=True)
    if args.dataset:
        preparation = read_preparation(directory.read_json(run_dir, "config.json"))
        dataset = load_dataset(args.dataset, args.data_dir, args.mirror, preparation)
    else:
        dataset = load_run_dataset(run_dir, args.data_dir, args.mirror)
    print_data_notice(dataset)
    load_tensorflow(args.debug)
    from mnist_cnn import evaluate, restore_run

    names = read_class_names(directory.read_json(run_dir, "config.json"))
    if names != dataset.class_names:
        raise InputError(f"{run_dir} was trained on other classes than {dataset.name} has: {', '.join(names)}"[:300])
    with restore_run(run_dir) as (session, model):
        print(f"Accuracy: {evaluate(session, model, dataset.test).accuracy:.4f}")
