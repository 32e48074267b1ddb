"""The tutorial's network, and the MLP baseline. Builds graph ops only; no session code here.

cnn, 824,096 parameters:

    images     [N, 28, 28, 1]
    conv1      3x3 window, 32 filters, stride 1, SAME       -> [N, 28, 28, 32]   W1 [3, 3, 1, 32]
    pool1      2x2 max-pooling, ReLU                        -> [N, 14, 14, 32]
    conv2      3x3 window, 64 filters, stride 1, SAME       -> [N, 14, 14, 64]   W2 [3, 3, 32, 64]
    pool2      2x2 max-pooling, ReLU                        -> [N, 7, 7, 64]
    dense      256 units, ReLU, dropout                     -> [N, 256]          W3 [3136, 256]
    logits     one per class                                -> [N, 10]           W4 [256, 10]

mlp, 268,800 parameters:

    images     [N, 28, 28, 1]
    dense1     256 units, ReLU, dropout                     -> [N, 256]          W1 [784, 256]
    dense2     256 units, ReLU, dropout                     -> [N, 256]          W2 [256, 256]
    logits     one per class                                -> [N, 10]           W3 [256, 10]

Neither has biases.
"""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from mnist_cnn.errors import InputError
from mnist_cnn.gradients import fast_convolution_gradients
from mnist_cnn.tf1 import tf

Tensor = Any  # tf.Tensor: TensorFlow 1.15 ships no type information
Activations = Dict[str, Tensor]


def _cnn_weight_shapes(num_classes: int) -> Dict[str, List[int]]:
    return {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [7 * 7 * 64, 256], "W4": [256, num_classes]}


def _cnn(images: Tensor, weights: List[Tensor], keep_prob: Any, noise: Optional[Tensor]) -> Tuple[Tensor, Activations]:
    W1, W2, W3, W4 = weights
    with tf.name_scope("conv1"):
        conv1 = tf.nn.conv2d(images, W1, strides=[1, 1, 1, 1], padding="SAME")
        pool1 = _max_pool_relu(conv1)
    with tf.name_scope("conv2"):
        conv2 = tf.nn.conv2d(pool1, W2, strides=[1, 1, 1, 1], padding="SAME")
        pool2 = _max_pool_relu(conv2)
    with tf.name_scope("dense"):
        flat = tf.reshape(pool2, [-1, 7 * 7 * 64])
        dense = tf.nn.relu(tf.matmul(flat, W3))
        dropped = _dropout(dense, keep_prob, noise)
    with tf.name_scope("output"):
        logits = tf.matmul(dropped, W4, name="logits")
    return logits, {"conv1": conv1, "pool1": pool1, "conv2": conv2, "pool2": pool2, "dense": dense}


def _max_pool_relu(units: Tensor) -> Tensor:
    # Same outputs and gradients as max_pool(relu(units)), as published, but the ReLU sees 1/4 of the values.
    return tf.nn.relu(tf.nn.max_pool(units, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"))


def _mlp_weight_shapes(num_classes: int) -> Dict[str, List[int]]:
    return {"W1": [28 * 28, 256], "W2": [256, 256], "W3": [256, num_classes]}


def _mlp(images: Tensor, weights: List[Tensor], keep_prob: Any, noise: Optional[Tensor]) -> Tuple[Tensor, Activations]:
    W1, W2, W3 = weights
    noise1, noise2 = (None, None) if noise is None else tf.split(noise, 2, axis=1)
    with tf.name_scope("dense1"):
        flat = tf.reshape(images, [-1, 28 * 28])
        dense1 = tf.nn.relu(tf.matmul(flat, W1))
        dropped1 = _dropout(dense1, keep_prob, noise1)
    with tf.name_scope("dense2"):
        dense2 = tf.nn.relu(tf.matmul(dropped1, W2))
        dropped2 = _dropout(dense2, keep_prob, noise2)
    with tf.name_scope("output"):
        logits = tf.matmul(dropped2, W3, name="logits")
    return logits, {"dense1": dense1, "dense2": dense2}


def _dropout(units: Tensor, keep_prob: Any, noise: Optional[Tensor]) -> Tensor:
    if noise is None:
        return units
    # Inverted dropout: scaled at training time, so that evaluation needs no scaling.
    return units / keep_prob * tf.cast(noise < keep_prob, tf.float32)


class Network(NamedTuple):
    """One entry of MODELS."""

    weight_shapes: Callable[[int], Dict[str, List[int]]]  # from the number of classes; in data-flow order
    dropout_units: int  # units subject to dropout, per example
    forward: Callable[..., Tuple[Tensor, Activations]]  # (images, weights, keep_prob, noise) -> logits, activations


# To add a network: an entry here, and its default recipe in recipes.DEFAULT_RECIPES.
MODELS: Dict[str, Network] = {
    "cnn": Network(_cnn_weight_shapes, 256, _cnn),
    "mlp": Network(_mlp_weight_shapes, 256 + 256, _mlp),
}


def inference(
    model: str, images: Tensor, weights: List[Tensor], keep_prob: Any = 1.0, noise: Optional[Tensor] = None
) -> Tuple[Tensor, Activations]:
    """Forward pass: images to logits.

    Args:
      model: a name in MODELS.
      images: float32 [N, 28, 28, 1] in [0, 1].
      weights: the variables of `create_weights`.
      keep_prob: float32 in (0, 1], the fraction of the dense layers' units that dropout keeps.
      noise: float32 [N, dropout_units] in [0, 1), from which the dropout mask is computed (see `dropout_noise`);
        None disables dropout.

    Returns:
      logits: float32 [N, number of classes].
      activations: float32 tensors by layer name, in data-flow order; for cnn conv1 [N, 28, 28, 32] after the
        convolution, pool1 [N, 14, 14, 32] after pooling and ReLU, conv2 [N, 14, 14, 64], pool2 [N, 7, 7, 64],
        dense [N, 256] after ReLU and before dropout.
    """
    return MODELS[model].forward(images, weights, keep_prob, noise)


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy, averaged over the batch.

    Args:
      logits: float32 [N, number of classes].
      labels: float32 [N, number of classes], one-hot.

    Returns:
      cost: float32 [], in nats.
    """
    with tf.name_scope("loss"):
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
        return tf.reduce_mean(cross_entropy, name="cost")


def make_train_op(
    cost: Tensor,
    learning_rate: Union[float, Tensor],
    global_step: Tensor,
    weight_decay: float = 0.0,
    betas: Tuple[float, float] = (0.9, 0.999),
) -> Any:
    """Adds one step of Adam.

    Args:
      cost: float32 [].
      learning_rate: a float, or float32 [].
      global_step: int64 [] variable, incremented by each step.
      weight_decay: each step multiplies the trainable variables by 1 - weight_decay * learning_rate, apart from
        Adam's update (Loshchilov and Hutter 2019, arXiv:1711.05101).
      betas: Adam's β₁ and β₂, the decay rates of its averages of the gradients and of their squares, each in [0, 1).

    Returns:
      train_op: the operation that takes the step.
    """
    with tf.name_scope("train"):
        adam = tf.train.AdamOptimizer(learning_rate, *betas)
        # Colocate gradients with the forward ops, so that each replica of a cluster computes its own.
        adam_step = adam.minimize(cost, global_step=global_step, colocate_gradients_with_ops=True)
        if not weight_decay:
            return adam_step
        with tf.control_dependencies([adam_step]):
            # read_value() reads after Adam's update; the variable itself could be read before it.
            decays = [
                tf.assign_sub(weight, weight_decay * learning_rate * weight.read_value())
                for weight in tf.trainable_variables()
            ]
        return tf.group(*decays)


def create_weights(seed: int, model: str = "cnn", initial: str = "published", classes: int = 10) -> List[Tensor]:
    """Creates the variables of a network, deterministic given `seed`.

    Args:
      seed: an int in 0..2³²-1.
      model: a name in MODELS.
      initial: "published", from N(0, 0.01²), or "he", from N(0, 2 / fan-in): He-normal keeps the activations'
        variance constant under ReLU (He et al. 2015, arXiv:1502.01852).
      classes: the number of classes.

    Returns:
      [W1, W2, ...], float32, with the shapes of the network's `weight_shapes`.
    """

    def stddev(shape: List[int]) -> float:
        return 0.01 if initial == "published" else math.sqrt(2 / np.prod(shape[:-1]))

    # Stateless random ops give the same numbers on TensorFlow 1.15 and 2. Weights use the seeds [seed, -i] and
    # dropout [seed, step]; the two must not collide.
    return [
        create_variable(
            stddev(shape) * tf.random.stateless_normal(shape, seed=tf.constant([seed, -number], tf.int64)), name
        )
        for number, (name, shape) in enumerate(MODELS[model].weight_shapes(classes).items(), start=1)
    ]


def create_variable(initial_value: Tensor, name: str, **options: Any) -> Tensor:
    """Creates a reference variable: TensorFlow 1.15 cannot read a SavedModel with 2.x's resource variables."""
    return tf.Variable(initial_value, name=name, use_resource=False, **options)


def dropout_noise(batch_size: Any, seed: int, step: Any, model: str = "cnn") -> Tensor:
    """Uniform noise for the dropout masks, deterministic in (seed, step).

    Args:
      batch_size: an int, or int32 [].
      seed: an int in 0..2³²-1.
      step: int64 [], zero or more.
      model: a name in MODELS.

    Returns:
      noise: float32 [batch_size, dropout_units], uniform in [0, 1).
    """
    with tf.name_scope("dropout_noise"):
        seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        return tf.random.stateless_uniform([batch_size, MODELS[model].dropout_units], seed=seed)


class Model(NamedTuple):
    """Tensors that `build_model` adds to a graph."""

    images: Tensor  # placeholder, float32 [None, 28, 28, 1] in [0, 1]
    labels: Tensor  # placeholder, float32 [None, classes], one-hot
    keep_prob: Tensor  # float32 [] in (0, 1], the fraction of units that dropout keeps; defaults to 1 (no dropout)
    logits: Tensor  # float32 [None, classes]
    cost: Tensor  # float32 [], mean cross-entropy in nats
    train_op: Any  # operation that takes one step of Adam
    predictions: Tensor  # int64 [None] in 0..classes - 1
    probabilities: Tensor  # float32 [None, classes] in [0, 1]
    accuracy: Tensor  # float32 [] in [0, 1], of the images and labels that are fed
    global_step: Tensor  # variable, int64 [], the number of steps taken
    weights: Dict[str, Tensor]  # variables by name, in data-flow order
    activations: Activations  # see `inference`


def build_model(
    model: str = "cnn",
    learning_rate: Union[float, Tensor] = 0.001,
    seed: int = 1,
    initial_weights: str = "published",
    weight_decay: float = 0.0,
    betas: Tuple[float, float] = (0.9, 0.999),
    inference: Callable[..., Tuple[Tensor, Activations]] = inference,
    classes: int = 10,
) -> Model:
    """Adds a network and its training to the current graph.

    Args:
      model: "cnn", the tutorial's network, "mlp", the baseline without convolution, or another name in MODELS.
      learning_rate: Adam's; a float, or a float32 [] tensor.
      seed: an int in 0..2³²-1, which determines the initial weights and, together with the step, dropout.
      initial_weights: "published" or "he", as in `create_weights`.
      weight_decay, betas: as in `make_train_op`.
      inference: callable with the signature of `inference`; the cluster passes a sharded one.
      classes: the number of classes, at least 2.

    Raises:
      InputError: there is no such model.
      RuntimeError: there is no graph to add to (TensorFlow 2 outside `tf.Graph().as_default()`),
        or the graph already contains a model.
    """
    if model not in MODELS:
        raise InputError(f"unknown model {model!r}; choose from {', '.join(MODELS)}")
    with_graph = "write `with tf.Graph().as_default(), tf.Session() as sess:` above build_model()"
    if tf.executing_eagerly():
        raise RuntimeError(f"TensorFlow 2 has no default graph; {with_graph}, with tf from mnist_cnn.tf1")
    if tf.get_collection("mnist_cnn"):
        raise RuntimeError(f"the default graph already contains a model (was the cell run twice?); {with_graph}")
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf.placeholder(tf.float32, [None, classes], name="labels")
    keep_prob = tf.placeholder_with_default(1.0, [], name="keep_prob")
    collections = [tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP]
    global_step = create_variable(0, "global_step", dtype=tf.int64, trainable=False, collections=collections)
    noise = dropout_noise(tf.shape(images)[0], seed, global_step, model)
    weights = create_weights(seed, model, initial_weights, classes)
    with fast_convolution_gradients():
        logits, activations = inference(model, images, weights, keep_prob, noise)
    cost = loss(logits, labels)
    predictions = tf.argmax(logits, 1, name="predictions")
    correct = tf.equal(predictions, tf.argmax(labels, 1))
    tf.add_to_collection("mnist_cnn", logits)
    return Model(
        images=images,
        labels=labels,
        keep_prob=keep_prob,
        logits=logits,
        cost=cost,
        train_op=make_train_op(cost, learning_rate, global_step, weight_decay, betas),
        predictions=predictions,
        probabilities=tf.nn.softmax(logits, name="probabilities"),
        accuracy=tf.reduce_mean(tf.cast(correct, tf.float32), name="accuracy"),
        global_step=global_step,
        weights=dict(zip(MODELS[model].weight_shapes(classes), weights)),
        activations=activations,
    )
