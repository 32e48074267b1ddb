"""Progress bars on stderr, or in a notebook, and lines on stdout above them."""

import sys
import warnings
from typing import Any, Optional

from tqdm import TqdmWarning, tqdm


def make_bar(**options: Any) -> tqdm:
    """Returns a tqdm progress bar that is shown only on a terminal or in a notebook, and removed at its end.

    Args:
      options: arguments of tqdm, such as `total` and `unit`.
    """
    # pythonw has no stderr.
    bar, disable = tqdm, None if sys.stderr else True
    if _is_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TqdmWarning)  # without the package ipywidgets, the bar is plain text
            from tqdm.auto import tqdm as bar  # type: ignore[no-redef]
        disable = False
    return bar(unit_scale=True, leave=False, disable=disable, **options)


def print_line(line: str) -> Optional[Exception]:
    """Prints a line to stdout, above the progress bar and flushed for pipes. Returns the error if that failed."""
    if not sys.stdout:  # as under pythonw
        return None
    try:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
    except (OSError, ValueError) as error:  # its reader is gone, the disk is full, or it is closed
        return error
    return None


def _is_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
