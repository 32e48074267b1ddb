"""Contender: this project's training loop, as train.py runs it. Variants: the name of a recipe, then `mixed`."""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]  # protocol.py, and the package of this clone
from protocol import BlockTimer  # noqa: E402

from mnist_cnn import load_mnist  # noqa: E402
from mnist_cnn.cli.command import load_tensorflow  # noqa: E402
from mnist_cnn.run_dir.config import resolve_config  # noqa: E402

timer = BlockTimer()
recipe, *mixed_precision = timer.variant

with ThreadPoolExecutor(1) as background:
    loading = background.submit(load_mnist, timer.data_dir)
    load_tensorflow(debug=False)
    mnist = loading.result()

from mnist_cnn.tf1 import tf  # noqa: E402
from mnist_cnn.trainer import Trainer  # noqa: E402


class TimedTrainer(Trainer):
    """A Trainer whose steps are timed."""

    def record_step(self, cost, num_images, seconds):
        super().record_step(cost, num_images, seconds)
        timer.after_step()


with tempfile.TemporaryDirectory() as run_dir:
    config = resolve_config(
        run_dir, model="cnn", recipe=recipe, max_steps=timer.steps, mixed_precision=bool(mixed_precision)
    )
    TimedTrainer(mnist, config).run()
timer.finish(f"TensorFlow {tf.__version__}")
