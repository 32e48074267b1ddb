"""Runs an unchanged script for TensorFlow 1.x: `python -m mnist_cnn.tutorial SCRIPT.py [ARGUMENTS]`."""

import argparse
import os
import sys
import types
import warnings
from typing import NoReturn

from mnist_cnn import cpu
from mnist_cnn.errors import InputError


def main() -> None:
    """Parses the arguments and runs the script. Exit status 2: the script or its data cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m mnist_cnn.tutorial",
        description="Runs a script for TensorFlow 1.x without any change to it. Its imports of tensorflow give "
        "TensorFlow 1.x; MNIST is downloaded into the folder that it names, if it is missing there.",
    )
    parser.add_argument("script", metavar="SCRIPT.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the script")
    args = parser.parse_args()

    def stop(message: str) -> NoReturn:
        if sys.stdout:  # None if it is closed
            sys.stdout.flush()
        print(f"{parser.prog}: error: {message}", file=sys.stderr)
        sys.exit(2)

    if args.script.endswith(".ipynb"):
        stop(f"{args.script} is a notebook: open it, and write `%load_ext mnist_cnn.tutorial` in its first cell")
    try:
        with open(args.script, "rb") as file:
            code = compile(file.read(), args.script, "exec", dont_inherit=True)
    except OSError as error:
        stop(f"{args.script} cannot be read: {error.strerror}")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        stop(
            f"{args.script}, line {line}: {getattr(error, 'msg', error)} (if the script is "
            f"written for Python 2, convert it: `2to3 -w {args.script}`, or up to Python 3.12 `python -m lib2to3 -w "
            f"{args.script}`)"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    cpu.use_onednn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of NumPy, about TensorFlow 1.15's code
        from mnist_cnn.compat.namespace import ExtraMissing
        from mnist_cnn.compat.tensorflow1 import replace_tensorflow

        replace_tensorflow()
    sys.argv = [args.script, *args.arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(args.script))  # as Python does
    main_module = sys.modules["__main__"] = types.ModuleType("__main__")
    main_module.__file__ = args.script
    try:
        exec(code, vars(main_module))  # not runpy, which reads the script again: it may be a pipe
    except (InputError, ExtraMissing) as error:
        stop(f"{args.script}: {error}")
