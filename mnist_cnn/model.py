"""The tutorial's network. Nothing in this file runs it; it only adds to the current graph.

    images     [N, 28, 28, 1]
    conv1      3x3 window, 32 filters, ReLU, 2x2 max-pool   -> [N, 14, 14, 32]   W1 [3, 3, 1, 32]
    conv2      3x3 window, 64 filters, ReLU, 2x2 max-pool   -> [N, 7, 7, 64]     W2 [3, 3, 32, 64]
    dense      every feature to 256 units, ReLU, dropout    -> [N, 256]          W3 [3136, 256]
    output     one score for each digit                     -> [N, 10]           W4 [256, 10]

There are no biases: 824,096 parameters.
"""

from typing import Any, NamedTuple

from mnist_cnn.tf1 import tf

SHAPES = {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [7 * 7 * 64, 256], "W4": [256, 10]}
STDDEV = 0.01  # of the initial weights, as published


def inference(images, weights, keep_prob=1.0, noise=None):
    """The network from images to scores.

    Args:
      images: float32 [N, 28, 28, 1] in [0, 1].
      weights: the four variables of `create_weights`.
      keep_prob: float32 in (0, 1], the share of the dense layer's units that dropout keeps.
      noise: float32 [N, 256] in [0, 1), which decides what is kept (see `dropout_noise`);
        without it nothing is dropped.

    Returns:
      logits: float32 [N, 10].
    """
    W1, W2, W3, W4 = weights
    with tf.name_scope("conv1"):
        L1 = tf.nn.conv2d(images, W1, strides=[1, 1, 1, 1], padding="SAME")
        L1 = tf.nn.relu(L1)
        L1 = tf.nn.max_pool(L1, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    with tf.name_scope("conv2"):
        L2 = tf.nn.conv2d(L1, W2, strides=[1, 1, 1, 1], padding="SAME")
        L2 = tf.nn.relu(L2)
        L2 = tf.nn.max_pool(L2, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    with tf.name_scope("dense"):
        L3 = tf.reshape(L2, [-1, 7 * 7 * 64])
        L3 = tf.nn.relu(tf.matmul(L3, W3))
        if noise is not None:
            # Inverted dropout: what is kept is scaled up, so that evaluation needs no scaling.
            L3 = L3 / keep_prob * tf.cast(noise < keep_prob, tf.float32)
    with tf.name_scope("output"):
        return tf.matmul(L3, W4, name="logits")


def loss(logits, labels):
    """Softmax cross-entropy, averaged over the batch.

    Args:
      logits: float32 [N, 10].
      labels: float32 [N, 10], one-hot.

    Returns:
      cost: float32 [], in nats.
    """
    with tf.name_scope("loss"):
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
        return tf.reduce_mean(cross_entropy, name="cost")


def training(cost, learning_rate, global_step):
    """One step of Adam, with TensorFlow's defaults for the rest.

    Args:
      cost: float32 [].
      learning_rate: a float, or float32 [].
      global_step: the int64 [] variable that counts the steps.

    Returns:
      train_op: the operation that takes the step.
    """
    with tf.name_scope("train"):
        return tf.train.AdamOptimizer(learning_rate).minimize(cost, global_step=global_step)


def create_weights(seed):
    """The four weights as variables, drawn from N(0, 0.01²) as a function of `seed` alone.

    Stateless random numbers are the same on TensorFlow 1.15 and 2. Reference variables,
    since TensorFlow 1.15 cannot read a SavedModel that has 2.x's resource variables.

    Args:
      seed: an int in 0..2³²-1.

    Returns:
      [W1, W2, W3, W4], float32, of the shapes in SHAPES.
    """
    # Dropout draws with [seed, step], so weights take the negative numbers.
    return [
        tf.Variable(
            STDDEV * tf.random.stateless_normal(shape, seed=tf.constant([seed, -number], tf.int64)),
            name=name,
            use_resource=False,
        )
        for number, (name, shape) in enumerate(SHAPES.items(), start=1)
    ]


def dropout_noise(batch_size, seed, step):
    """What decides which of the dense layer's units dropout keeps: a function of (seed, step) alone.

    Args:
      batch_size: an int, or int32 [].
      seed: an int in 0..2³²-1.
      step: int64 [], zero or more.

    Returns:
      noise: float32 [batch_size, 256], uniform in [0, 1).
    """
    with tf.name_scope("dropout_noise"):
        seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        return tf.random.stateless_uniform([batch_size, 256], seed=seed)


class Model(NamedTuple):
    """What `build_model` adds to a graph."""

    images: Any  # placeholder, float32 [None, 28, 28, 1] in [0, 1]
    labels: Any  # placeholder, float32 [None, 10], one-hot
    keep_prob: Any  # float32 [] in (0, 1], the share of units that dropout keeps; 1 unless it is fed
    logits: Any  # float32 [None, 10]
    cost: Any  # float32 [], mean cross-entropy in nats
    train_op: Any  # operation that takes one step of Adam
    predictions: Any  # int64 [None] in 0..9
    probabilities: Any  # float32 [None, 10] in [0, 1]
    accuracy: Any  # float32 [] in [0, 1], of the images and labels that are fed
    global_step: Any  # variable, int64 [], the steps taken


def build_model(learning_rate=0.001, seed=1):
    """Adds the network and its training to the current graph.

    Args:
      learning_rate: Adam's; a float, or a float32 [] tensor.
      seed: an int in 0..2³²-1, which alone decides the initial weights and, with the step, dropout.

    Returns:
      A Model.

    Raises:
      RuntimeError: there is no graph to add to (TensorFlow 2 outside `tf.Graph().as_default()`),
        or the graph has the network already.
    """
    if tf.executing_eagerly():
        raise RuntimeError(
            "build_model() adds to a graph, and TensorFlow 2 has none here; write "
            "`with tf.Graph().as_default(), tf.Session() as sess:` above it, with tf from `from mnist_cnn.tf1 import tf`"
        )
    if tf.get_collection("mnist_cnn"):
        raise RuntimeError(
            "this graph has the network already (was the cell run twice?); write "
            "`with tf.Graph().as_default(), tf.Session() as sess:` above build_model() to begin a new graph"
        )
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf.placeholder(tf.float32, [None, 10], name="labels")
    keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")
    global_step = tf.Variable(
        0,
        trainable=False,
        name="global_step",
        dtype=tf.int64,
        use_resource=False,
        collections=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP],
    )
    noise = dropout_noise(tf.shape(images)[0], seed, global_step)
    logits = inference(images, create_weights(seed), keep_prob, noise)
    cost = loss(logits, labels)
    predictions = tf.argmax(logits, 1, name="predictions")
    correct = tf.equal(predictions, tf.argmax(labels, 1))
    model = Model(
        images=images,
        labels=labels,
        keep_prob=keep_prob,
        logits=logits,
        cost=cost,
        train_op=training(cost, learning_rate, global_step),
        predictions=predictions,
        probabilities=tf.nn.softmax(logits, name="probabilities"),
        accuracy=tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy"),
        global_step=global_step,
    )
    tf.add_to_collection("mnist_cnn", model.logits)
    return model
