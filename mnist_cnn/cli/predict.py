"""`predict`: reads the digits in image files and prints the class and probability of each."""

import argparse
import contextlib
import glob
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow
from mnist_cnn.cli.streams import suppress_stderr
from mnist_cnn.errors import InputError, NoDigitFound

if TYPE_CHECKING:
    import numpy as np

    from mnist_cnn.inference.classifier import Classifier

BATCH_SIZE = 250  # images that are prepared before the network is run on them
DESCRIPTION = (
    "Reads the digit in each image file and prints a line `IMAGE: 7 (0.998)`, its class and probability, or "
    "`IMAGE: no digit found`. A file that cannot be read is reported on stderr; the other files are still read, and "
    "the exit status is 2."
)

logger = logging.getLogger(__name__)


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    add(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="PNG, JPEG, GIF, BMP, TIFF or WebP file, of any colours and up to 36 megapixels (JPEG 50, WebP 14)",
    )
    parser.add_run_dir_argument(
        "directory of a run, or folder of an exported model (default: the latest completed run in runs/)"
    )
    add(
        "--json",
        action="store_true",
        help='print one JSON object per line: {"image": "a.png", "class": 7, "probability": 0.998, "probabilities": '
        '[...]}; "class": null means that no digit was found; a file that cannot be read gives {"image": "b.png", '
        '"error": "..."}',
    )
    add(
        "--show",
        metavar="PATH",
        help="save previews: each image beside the network's input; into the folder PATH as 0001-NAME.png and so on, "
        "or, for a single IMAGE and a PATH that ends in .png, into that file",
    )
    parser.run(predict_images, argv=argv)


def predict_images(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    if os.name == "nt":
        args.images = expand_wildcards(args.images)
    if args.show and args.show.endswith(".png") and len(args.images) > 1:
        raise InputError(f"--show {args.show} is one file, but there are {len(args.images)} images: name a folder")
    folder = args.run_dir or directory.latest_run(completed=True)
    load_tensorflow(args.debug, reads_images=True)
    from mnist_cnn import Classifier

    has_errors = False
    with Classifier.load(folder) as classifier:
        for start in range(0, len(args.images), BATCH_SIZE):
            for result in predict_batch(args, classifier, start):
                print_result(result, args.json)
                has_errors |= "error" in result
    if has_errors:
        sys.exit(2)


def expand_wildcards(images: List[str]) -> List[str]:
    """Replaces wildcards such as `*.png` by file names, which cmd and PowerShell leave to the command."""
    return [
        path for image in images for path in ([image] if os.path.exists(image) else sorted(glob.glob(image)) or [image])
    ]


def predict_batch(args: argparse.Namespace, classifier: "Classifier", start: int) -> List[Dict[str, Any]]:
    """Returns the results of up to BATCH_SIZE images, from index `start` on, as the dicts that --json prints."""
    from mnist_cnn.inference.preprocessing import prepare

    results: List[Dict[str, Any]] = []
    prepared, digits = [], []
    for number, image in enumerate(args.images[start : start + BATCH_SIZE], start=start + 1):
        result: Dict[str, Any] = {"image": image}
        results.append(result)
        try:
            with contextlib.ExitStack() if args.debug else suppress_stderr():
                digit = prepare(image)
        except NoDigitFound:
            result["class"] = None
        except InputError as error:
            result["error"] = str(error)
        else:
            if args.show:
                save_preview(image, digit, args.show, number)
            prepared.append(result)
            digits.append(digit)
    for result, digit_class, probabilities in zip(prepared, *classifier.predict(digits)):
        result["class"] = int(digit_class)
        result["probability"] = float(probabilities[digit_class])
        result["probabilities"] = probabilities.tolist()
    return results


def save_preview(image: str, digit: "np.ndarray", path: str, number: int) -> None:
    """Saves the preview of an image: into `path` if it ends in .png, otherwise into the folder `path`."""
    from mnist_cnn.files import atomic_write
    from mnist_cnn.inference.image_io import draw_preview

    file, png = Path(path), io.BytesIO()
    draw_preview(image, digit).save(png, "PNG")
    try:
        if file.suffix != ".png":
            file.mkdir(parents=True, exist_ok=True)
            file /= f"{number:04}-{Path(image).stem}.png"
        atomic_write(file, png.getvalue())
    except OSError as error:
        raise InputError(f"--show {file} cannot be written: {error.strerror}") from error


def print_result(result: Dict[str, Any], as_json: bool) -> None:
    """Prints the result of one image on stdout, and its error on stderr."""
    if "error" in result:
        logger.error("%s", result["error"])
    if as_json:
        print(json.dumps(result), flush=True)
    elif "probability" in result:
        print(f"{result['image']}: {result['class']} ({result['probability']:.3f})", flush=True)
    elif "error" not in result:
        print(f"{result['image']}: no digit found", flush=True)
