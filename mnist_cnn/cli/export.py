"""`export`: writes a run as a model for other programs and prints the new folder."""

import argparse
import contextlib
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow
from mnist_cnn.cli.streams import suppress_stderr

DESCRIPTION = (
    "Exports a run as a SavedModel, for TensorFlow Serving and other programs, or as a TensorFlow Lite or ONNX model, "
    "and prints the new folder."
)


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument(
        "--export-dir",
        metavar="DIR",
        required=True,
        help="folder for exported models; the new one is written to DIR/1, or the next unused number",
    )
    parser.add_argument(
        "--format",
        choices=["saved-model", "tflite", "onnx"],
        default="saved-model",
        help="tflite and onnx need TensorFlow 2 and the extra sample, onnx the extra onnx too (default: %(default)s)",
    )
    parser.add_run_dir_argument()
    parser.run(export_run, argv=argv)


def export_run(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    run_dir = args.run_dir or directory.latest_run(completed=True)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier

    with Classifier.load(run_dir) as classifier:
        # TensorFlow Lite's converter and interpreter write to stderr.
        with contextlib.ExitStack() if args.debug or args.format == "saved-model" else suppress_stderr():
            exported = classifier.export(args.export_dir, args.format)
        print(exported)
