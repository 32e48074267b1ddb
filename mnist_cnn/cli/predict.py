"""`predict`: reads the digits in image files and prints the class and probability of each."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import List, Optional

from mnist_cnn.cli.command import Parser, load_tensorflow, print_status, suppress_stderr
from mnist_cnn.errors import InputError, NoDigitFound

BATCH_SIZE = 250  # pictures prepared before the network reads them


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(
        prog,
        "Reads digits in picture files: prints a line `IMAGE: 7 (0.998)` for each, the class and its probability. "
        "A picture without a digit is `IMAGE: no digit found`. What cannot be read is a line on stderr, "
        "the others are still read, and the exit status is 2.",
    )
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="+", help="PNG, JPEG, GIF, BMP, TIFF or WebP, of any size and colours")
    parser.add_run_dir_argument(
        "a run, or the folder of an exported model (default: the latest completed run in runs/)"
    )
    add(
        "--json",
        action="store_true",
        help='print a JSON object a line: {"image": "a.png", "class": 7, "probability": 0.998, "probabilities": '
        '[...]}, with "class": null where there is no digit, or {"image": "b.png", "error": "..."}',
    )
    add(
        "--show",
        metavar="PATH",
        help="save each picture and beside it what the network saw of it: into the folder PATH, as 0001-NAME.png and "
        "so on, or of a single IMAGE into PATH where that ends in .png",
    )
    parser.run(work, argv=argv)


def work(args):
    from mnist_cnn.run_dir import directory

    if args.show and args.show.endswith(".png") and len(args.images) > 1:
        raise InputError(f"--show {args.show} is one file, for {len(args.images)} images: name a folder")
    folder = args.run_dir or directory.latest_run(completed=True)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier

    sys.stdout.reconfigure(errors="backslashreplace")  # names of files can be any bytes
    all_good = True
    with Classifier.load(folder) as classifier:
        for start in range(0, len(args.images), BATCH_SIZE):
            for line in lines(args, classifier, start):
                all_good &= "error" not in line
                say(line, args.json)
    if not all_good:
        sys.exit(2)


def lines(args, classifier, start):
    """For each picture of a batch what --json prints of it, as a dict."""
    import numpy as np

    from mnist_cnn.inference.preprocessing import prepare

    results, digits = [], []
    for number, image in enumerate(args.images[start : start + BATCH_SIZE], start=start + 1):
        try:
            with contextlib.ExitStack() if args.debug else suppress_stderr():
                digit = prepare(image)
        except NoDigitFound:
            results.append({"image": image, "class": None})
        except InputError as error:
            results.append({"image": image, "error": str(error)})
        else:
            if args.show:
                show(image, digit, args.show, number)
            results.append({"image": image})
            digits.append(digit)
    if digits:
        for classes, probabilities in zip(*classifier.predict(np.stack(digits))):
            result = next(result for result in results if len(result) == 1)
            result.update(
                {
                    "class": int(classes),
                    "probability": float(probabilities[classes]),
                    "probabilities": probabilities.tolist(),
                }
            )
    return results


def show(image, digit, path, number):
    from mnist_cnn.files import atomic_write
    from mnist_cnn.inference.image_io import side_by_side

    file, png = Path(path), io.BytesIO()
    side_by_side(image, digit).save(png, "PNG")
    try:
        if file.suffix != ".png":
            file.mkdir(parents=True, exist_ok=True)
            file /= f"{number:04}-{Path(image).stem}.png"
        atomic_write(file, png.getvalue())
    except OSError as error:
        raise InputError(f"--show {file} cannot be written: {error.strerror}") from error


def say(result, as_json):
    if "error" in result:
        print_status(f"predict.py: error: {' '.join(result['error'].split())}")
    if as_json:
        print(json.dumps(result), flush=True)
    elif "probability" in result:
        print(f"{result['image']}: {result['class']} ({result['probability']:.3f})", flush=True)
    elif "error" not in result:
        print(f"{result['image']}: no digit found", flush=True)
