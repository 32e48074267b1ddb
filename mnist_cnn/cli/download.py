"""`download`: downloads MNIST's four files, verifies them, and prints the folder they are in."""

import argparse
from typing import List, Optional

from mnist_cnn.cli.command import Parser

DESCRIPTION = (
    "Downloads those of MNIST's four files that are missing, verifies all of them, and prints the folder they are in."
)


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_data_arguments()
    parser.run(download, argv=argv)


def download(args: argparse.Namespace) -> None:
    from mnist_cnn.data.mnist import get_data_dir, load_mnist

    load_mnist(args.data_dir, args.mirror)
    print(get_data_dir(args.data_dir))
