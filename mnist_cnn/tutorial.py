"""TensorFlow 1.x for unmodified scripts. Replace their imports of tensorflow and of input_data by

    from mnist_cnn.tutorial import input_data, tf

or run them as they are: `python -m mnist_cnn.tutorial SCRIPT.py`, and in a notebook `%load_ext mnist_cnn.tutorial`
before the first cell.

This is the only module whose import changes the process: such scripts call `tf.placeholder` at their top level,
which TensorFlow 2 allows only after `tf.disable_v2_behavior()`.
"""

import sys
from typing import Any

if __name__ == "__main__":  # above the other imports: a wrong argument is reported before TensorFlow is loaded
    from mnist_cnn.compat.runner import main

    main()
    sys.exit()

from mnist_cnn import input_data
from mnist_cnn.compat import mnist
from mnist_cnn.compat.tensorflow1 import load_tensorflow1, replace_tensorflow

__all__ = ["input_data", "mnist", "tf"]

tf = load_tensorflow1()


def load_ipython_extension(ipython: Any) -> None:
    """Called by `%load_ext mnist_cnn.tutorial`: from then on, `import tensorflow` gives TensorFlow 1.x."""
    replace_tensorflow()
