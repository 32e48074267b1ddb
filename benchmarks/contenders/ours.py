"""This project: what train.py does, by the recipe that is named."""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from _blocks import Blocks

blocks = Blocks()
recipe, *mixed_precision = blocks.variant

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from _command import load_tensorflow  # noqa: E402

from mnist_cnn import load_mnist  # noqa: E402

with ThreadPoolExecutor(1) as background:
    reading = background.submit(load_mnist, blocks.data_dir)
    load_tensorflow(debug=False)
    mnist = reading.result()

from mnist_cnn import train  # noqa: E402
from mnist_cnn.recipes import get_recipe  # noqa: E402
from mnist_cnn.tf1 import tf  # noqa: E402

with tempfile.TemporaryDirectory() as folder:
    train(
        mnist,
        folder,
        get_recipe(recipe, "cnn"),
        max_steps=blocks.steps,
        mixed_precision=bool(mixed_precision),
        after_step=blocks.after_step,
    )
blocks.done(f"TensorFlow {tf.__version__}")
