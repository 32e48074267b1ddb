"""Progress bars on stderr."""

import sys
from typing import Any

from tqdm import tqdm


def make_bar(**options: Any) -> tqdm:
    """Returns a tqdm progress bar that is shown only on a terminal, and removed at its end.

    Args:
      options: arguments of tqdm, such as `total` and `unit`.
    """
    # pythonw has no stderr.
    return tqdm(unit_scale=True, leave=False, disable=None if sys.stderr else True, **options)
