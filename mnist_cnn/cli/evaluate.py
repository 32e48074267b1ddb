"""`evaluate`: prints a run's test accuracy."""

import argparse
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow
from mnist_cnn.cli.datasets import load_dataset, load_run_dataset, print_data_notice

DESCRIPTION = "Prints a run's accuracy on test images, by default on those of the dataset that it was trained on."


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_run_dir_argument()
    parser.add_data_arguments()
    parser.add_argument(
        "--dataset",
        choices=["mnist", "sample", "idx"],
        help="measure it on these test images: mnist, the sample, or four IDX files in --data-dir "
        "(default: the dataset that the run was trained on)",
    )
    parser.run(print_accuracy, argv=argv)


def print_accuracy(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    run_dir = args.run_dir or directory.latest_run(completed=True)
    if args.dataset:
        dataset = load_dataset(args.dataset, args.data_dir, args.mirror)
        print_data_notice(dataset)
    else:
        dataset = load_run_dataset(run_dir, args)
    load_tensorflow(args.debug)
    from mnist_cnn import evaluate, restore_run

    with restore_run(run_dir) as (session, model):
        print(f"Accuracy: {evaluate(session, model, dataset.test).accuracy:.4f}")
