"""What TensorBoard shows of a run: event files in its directory. Nothing in training depends on them."""

from mnist_cnn.tf1 import tf

INTERVAL = 10  # steps from one point of a curve to the next


class Summaries:
    """Of the network in the current graph.

    Curves: every INTERVAL steps cost (that step's), learning_rate and images_per_second, at each epoch's end
    validation_accuracy. At the beginning and each epoch's end histograms of the weights and, where there are
    some, an image of the first layer's filters. And the graph.
    """

    def __init__(self, run, session):
        self._run, self._session, self._writer = run, session, None
        self._images, self._seconds = 0, 0.0  # since the newest point
        weights = tf.trainable_variables()
        with tf.name_scope("summaries"):
            self._weights = [tf.summary.histogram(variable.op.name, variable) for variable in weights]
            if weights[0].shape.ndims == 4:
                self._weights.append(tf.summary.image("filters", _side_by_side(weights[0])))

    def begin(self, step):
        """At step 0 or where a run goes on. Of later steps, TensorBoard then forgets what it has."""
        # Without a suffix, two files of one second would have one name.
        self._writer = tf.summary.FileWriter(str(self._run), self._session.graph, filename_suffix=f".{step}")
        self._writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START), step)
        if step == 0:
            self._add_weights(step)

    def step(self, step, cost, learning_rate, images, seconds):
        """After each step, which took `seconds` for its `images`."""
        self._images += images
        self._seconds += seconds
        if step % INTERVAL == 0:
            speed = self._images / self._seconds
            self._add_scalars(step, cost=cost, learning_rate=learning_rate, images_per_second=speed)
            self._images, self._seconds = 0, 0.0

    def epoch(self, step, validation_accuracy):
        self._add_scalars(step, validation_accuracy=validation_accuracy)
        self._add_weights(step)
        self._writer.flush()

    def close(self):
        if self._writer:
            self._writer.close()

    def _add_scalars(self, step, **values):
        summary = tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._writer.add_summary(summary, step)

    def _add_weights(self, step):
        for summary in self._session.run(self._weights):
            self._writer.add_summary(summary, step)


def _side_by_side(filters, across=8, zoom=16):
    """Filters [3, 3, 1, n] as one picture [1, height, width, 1], a grey level for 0 between them."""
    down = filters.shape.as_list()[3] // across
    framed = tf.pad(tf.transpose(filters[:, :, 0], [2, 0, 1]), [[0, 0], [0, 1], [0, 1]])
    rows = tf.transpose(tf.reshape(framed, [down, across, 4, 4]), [0, 2, 1, 3])
    picture = tf.reshape(rows, [1, down * 4, across * 4, 1])
    return tf.image.resize_nearest_neighbor(picture, [down * 4 * zoom, across * 4 * zoom])
