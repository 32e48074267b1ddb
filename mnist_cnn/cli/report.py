"""`report`: draws plots of a trained run, and a page that shows them."""

import argparse
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow, matplotlib_config_dir
from mnist_cnn.cli.datasets import load_run_dataset, print_data_notice

DESCRIPTION = "Draws a trained run into RUN/report/: plots, and an HTML page that shows them. Prints the page's path."


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_run_dir_argument()
    parser.add_data_arguments(", or of data of your own")
    parser.add_argument(
        "--projector",
        action="store_true",
        help="also write RUN/projector/ for TensorBoard's Embedding Projector, and print its path",
    )
    parser.run(report, argv=argv)


def report(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    run_dir = args.run_dir or directory.latest_run(completed=True)
    dataset = load_run_dataset(run_dir, args.data_dir, args.mirror)
    print_data_notice(dataset)
    load_tensorflow(args.debug)
    with matplotlib_config_dir():
        from mnist_cnn import draw_report

        print(draw_report(run_dir, dataset))
        if args.projector:
            from mnist_cnn.report.projector import write_projector

            print(write_projector(run_dir, dataset))
