"""`predict`: reads the number in each image file, of one or more digits, and prints it with its probability."""

import argparse
import contextlib
import glob
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

from mnist_cnn.cli.command import Parser, load_tensorflow
from mnist_cnn.cli.streams import suppress_stderr
from mnist_cnn.errors import InputError, NoDigitFound

if TYPE_CHECKING:
    from mnist_cnn.inference.classifier import Classifier, Digit
    from mnist_cnn.inference.image_io import ImageSource

DESCRIPTION = (
    "Reads the digit, or the number of several digits, in each image file and prints a line `IMAGE: 7 (0.998)` or "
    "`IMAGE: 2026 (0.910)`, what was read and its probability, or `IMAGE: no digit found`. A file that cannot be read "
    "is reported on stderr; the other files are still read, and the exit status is 2."
)

logger = logging.getLogger(__name__)


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    add(
        "images",
        metavar="IMAGE",
        nargs="*",
        help="PNG, JPEG, GIF, BMP, TIFF or WebP file, of any colours and up to 36 megapixels (JPEG 50)",
    )
    parser.add_run_dir_argument(
        "directory of a run, or folder of an exported model (default: the latest completed run in runs/)"
    )
    add(
        "--json",
        action="store_true",
        help='print one JSON object per line: {"image": "a.png", "class": 7, "probability": 0.998, "probabilities": '
        '[...], "text": "7", "digits": [...]}; "class" is null if there are several digits or none, for which "text" '
        'is ""; each of "digits" has "class", "probability", "probabilities" and "box": [left, top, right, bottom]; '
        'a file that cannot be read gives {"image": "b.png", "error": "..."}',
    )
    add(
        "--csv",
        metavar="FILE",
        help="in place of images, a file with a line of 784 pixels for each image, as Kaggle's test.csv; prints a line "
        "`ImageId,Label` for each, as Kaggle expects them",
    )
    add(
        "--show",
        metavar="PATH",
        help="save previews: each image beside the network's input for each digit; into the folder PATH as "
        "0001-NAME.png and so on, or, for a single IMAGE and a PATH that ends in .png, into that file",
    )
    parser.run(predict_images, argv=argv)


def predict_images(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir import directory

    if bool(args.images) == bool(args.csv) or (args.csv and (args.json or args.show)):
        raise InputError("name image files, or --csv FILE without --json and --show")
    if args.csv:
        return predict_csv(args)
    if os.name == "nt":
        args.images = expand_wildcards(args.images)
    if args.show and args.show.endswith(".png") and len(args.images) > 1:
        raise InputError(f"--show {args.show} is one file, but there are {len(args.images)} images: name a folder")
    folder = args.run_dir or directory.latest_run(completed=True)
    sources = [read_early(args, image) for image in args.images]
    load_tensorflow(args.debug, reads_images=True)
    from mnist_cnn import Classifier

    has_errors = False
    with Classifier.load(folder) as classifier:
        for index, (image, source) in enumerate(zip(args.images, sources), start=1):
            result = predict_image(args, classifier, image, source, index)
            print_result(result, args.json)
            has_errors |= "error" in result
    if has_errors:
        sys.exit(2)


def predict_csv(args: argparse.Namespace) -> None:
    """Prints the class of each image of a CSV file, in the format of a submission to Kaggle's Digit Recognizer."""
    from mnist_cnn.data.csv_data import read_csv
    from mnist_cnn.run_dir import directory

    folder = args.run_dir or directory.latest_run(completed=True)
    images, _ = read_csv(args.csv)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier

    with Classifier.load(folder) as classifier:
        classes = classifier.predict(images).classes
    print("ImageId,Label", *(f"{number},{classifier.class_names[c]}" for number, c in enumerate(classes, 1)), sep="\n")


def expand_wildcards(images: List[str]) -> List[str]:
    """Replaces wildcards such as `*.png` by file names, which cmd and PowerShell leave to the command."""
    return [
        path for image in images for path in ([image] if os.path.exists(image) else sorted(glob.glob(image)) or [image])
    ]


def read_early(args: argparse.Namespace, image: str) -> "Union[ImageSource, InputError]":
    """Reads an image that needs too much memory once TensorFlow is loaded, or returns why it cannot be read.

    Any other image is returned as its file name.
    """
    from mnist_cnn.inference.image_io import find_memory_problem, read_image

    try:
        with contextlib.ExitStack() if args.debug else suppress_stderr():
            return read_image(image) if find_memory_problem(image) else image
    except InputError as error:
        return error


def predict_image(
    args: argparse.Namespace,
    classifier: "Classifier",
    image: str,
    source: "Union[ImageSource, InputError]",
    index: int,
) -> Dict[str, Any]:
    """Returns the result of the index-th image, counted from 1, as the dict that --json prints."""
    from mnist_cnn.inference.number_json import describe_number

    if isinstance(source, InputError):
        return {"image": image, "error": str(source)}
    try:
        with contextlib.ExitStack() if args.debug else suppress_stderr():
            number = seen = classifier.read_number(source)
    except NoDigitFound as error:
        number, seen = None, error.number
    except InputError as error:
        return {"image": image, "error": str(error)}
    if args.show:
        save_preview(image, source, seen.digits if seen else [], args.show, index)
    return {"image": image, **describe_number(number)}


def save_preview(image: str, source: "ImageSource", digits: "List[Digit]", path: str, index: int) -> None:
    """Saves the preview of an image: into `path` if it ends in .png, otherwise into the folder `path`."""
    from mnist_cnn.files import atomic_write
    from mnist_cnn.inference.image_io import draw_preview

    file, png = Path(path), io.BytesIO()
    draw_preview(source, [digit.image for digit in digits], [digit.box for digit in digits]).save(png, "PNG")
    try:
        if not path.endswith(".png"):
            file.mkdir(parents=True, exist_ok=True)
            file /= f"{index:04}-{Path(image).stem[:50]}.png"  # a file's name has at most 255 bytes
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
        print(f"{result['image']}: {result['text']} ({result['probability']:.3f})", flush=True)
    elif "error" not in result:
        print(f"{result['image']}: no digit found", flush=True)
