"""TensorBoard summaries: event files in the run directory. Training does not depend on them."""

import logging
import socket
import time
from pathlib import Path
from typing import Any

from mnist_cnn.files import tensorflow_path
from mnist_cnn.model import Model
from mnist_cnn.run_dir.checkpoints import describe_os_error
from mnist_cnn.tf1 import tf

logger = logging.getLogger(__name__)

INTERVAL = 10  # steps between two points of a curve


class Summaries:
    """Writes the TensorBoard summaries of one run.

    Curves: every INTERVAL steps the step's cost, learning_rate and images_per_second; at the end of each epoch
    validation_accuracy. At step 0 and at the end of each epoch: histograms of the weights and, for a network whose
    first layer is a convolution, an image of its filters. Once: the graph.
    """

    def __init__(self, run_dir: Path, session: Any, model: Model):
        self._run_dir, self._session = run_dir, session
        self._writer: Any = None  # opened by `start`
        self._images, self._seconds = 0, 0.0  # since the latest point
        with tf.name_scope("summaries"):
            self._weights = [tf.summary.histogram(name, weight) for name, weight in model.weights.items()]
            if "conv1" in model.activations:
                filters = next(iter(model.weights.values()))
                self._weights.append(tf.summary.image("filters", _filter_grid(filters)))

    def start(self, step: int) -> None:
        """Opens the event file. On resume, TensorBoard purges the points of later steps."""
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        try:
            # tf.summary.FileWriter has a thread, which a full disk ends on TensorFlow 2, and with it the training.
            self._writer = tf.io.TFRecordWriter(tensorflow_path(self._run_dir / name))
        except tf.errors.OpError as error:
            self._stop(error)
        self._write(0, file_version="brain.Event:2")
        self._write(0, graph_def=self._session.graph.as_graph_def(add_shapes=True).SerializeToString())
        self._write(step, session_log=tf.SessionLog(status=tf.SessionLog.START))
        if step == 0:
            self._add_weights(step)

    def add_step(self, step: int, cost: float, learning_rate: float, images: int, seconds: float) -> None:
        """Adds a step, which took `seconds` for its `images`."""
        self._images += images
        self._seconds += seconds
        if step % INTERVAL == 0:
            speed = self._images / self._seconds
            self._add_scalars(step, cost=cost, learning_rate=learning_rate, images_per_second=speed)
            self._images, self._seconds = 0, 0.0

    def add_epoch(self, step: int, validation_accuracy: float) -> None:
        """Adds the end of an epoch."""
        self._add_scalars(step, validation_accuracy=validation_accuracy)
        self._add_weights(step)

    def close(self) -> None:
        if self._writer:
            try:
                self._writer.close()
            except tf.errors.OpError as error:
                self._stop(error)

    def _add_scalars(self, step: int, **values: float) -> None:
        points = [tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step, summary=tf.Summary(value=points))

    def _add_weights(self, step: int) -> None:
        for summary in self._session.run(self._weights):
            self._write(step, summary=tf.Summary.FromString(summary))

    def _write(self, step: int, **content: Any) -> None:
        """Writes an event, and flushes it: TensorBoard shows it at once, and a kill does not lose it."""
        if not self._writer:
            return
        try:
            self._writer.write(tf.Event(wall_time=time.time(), step=step, **content).SerializeToString())
            self._writer.flush()
        except tf.errors.OpError as error:
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        # The file may end with a part of an event, and nothing after that can be read.
        self._writer = None
        logger.warning("%s: no more summaries for TensorBoard (%s)", self._run_dir, describe_os_error(error))


def _filter_grid(filters: Any, columns: int = 8, zoom: int = 16) -> Any:
    """Arranges filters [size, size, channels, n] in a grid, as one image [1, height, width, 1].

    Shows the first input channel. Filters are separated by lines in the grey level of 0.
    """
    size, _, _, n = filters.shape.as_list()
    rows, cell = -(-n // columns), size + 1
    padded = tf.pad(tf.transpose(filters[:, :, 0], [2, 0, 1]), [[0, rows * columns - n], [0, 1], [0, 1]])
    grid = tf.transpose(tf.reshape(padded, [rows, columns, cell, cell]), [0, 2, 1, 3])
    image = tf.reshape(grid, [1, rows * cell, columns * cell, 1])
    return tf.image.resize_nearest_neighbor(image, [rows * cell * zoom, columns * cell * zoom])
