import numpy as np
import pytest

from mnist_cnn import InputError, build_model
from mnist_cnn.model import MODELS, create_weights, inference
from mnist_cnn.recipes import DEFAULT_RECIPES
from mnist_cnn.tf1 import tf


@pytest.fixture
def session():
    with tf.Graph().as_default(), tf.Session() as session:
        yield session


@pytest.fixture
def batch(sample):
    return sample.train.batch(slice(0, 100))


def tutorial_network(W1, W2, W3, W4):
    """The network as the tutorial writes it, op by op."""
    X = tf.placeholder(tf.float32, [None, 28, 28, 1])
    Y = tf.placeholder(tf.float32, [None, 10])
    L1 = tf.nn.conv2d(X, W1, strides=[1, 1, 1, 1], padding="SAME")
    L1 = tf.nn.relu(L1)
    L1 = tf.nn.max_pool(L1, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    L2 = tf.nn.conv2d(L1, W2, strides=[1, 1, 1, 1], padding="SAME")
    L2 = tf.nn.relu(L2)
    L2 = tf.nn.max_pool(L2, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    L3 = tf.reshape(L2, [-1, 7 * 7 * 64])
    L3 = tf.matmul(L3, W3)
    L3 = tf.nn.relu(L3)
    model = tf.matmul(L3, W4)
    cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=model, labels=Y))
    return X, Y, model, tf.gradients(cost, [W1, W2, W3, W4])


def trainable_shapes():
    return {variable.op.name: variable.shape.as_list() for variable in tf.trainable_variables()}


def test_every_model_has_a_default_recipe():
    assert list(MODELS) == list(DEFAULT_RECIPES)


def test_the_cnn_has_the_published_parameters_and_no_others(session):
    model = build_model()
    assert trainable_shapes() == {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [3136, 256], "W4": [256, 10]}
    assert sum(np.prod(shape) for shape in trainable_shapes().values()) == 824096
    assert list(model.weights.values()) == tf.trainable_variables()


def test_the_mlp_has_three_weights_and_learns_with_dropout_in_both_hidden_layers(session, batch):
    model = build_model("mlp")
    assert trainable_shapes() == {"W1": [784, 256], "W2": [256, 256], "W3": [256, 10]}
    session.run(tf.global_variables_initializer())
    feed = {model.images: batch[0], model.labels: batch[1], model.keep_prob: 0.8}
    costs = [session.run([model.cost, model.train_op], feed)[0] for _ in range(30)]
    assert costs[-1] < costs[0] / 2
    kept = []
    for layer, below in (("dense2", "MatMul"), ("output", "logits")):
        (units,) = [op.inputs[0] for op in session.graph.get_operations() if op.name == f"{layer}/{below}"]
        kept.append((session.run(units, feed) > 0)[session.run(units, {**feed, model.keep_prob: 1.0}) > 0].mean())
    assert 0.7 < kept[0] < 0.9 and 0.5 < kept[1] < 0.9


def test_an_unknown_model_is_an_error_that_lists_the_models(session):
    with pytest.raises(InputError, match="unknown model 'resnet'; choose from cnn, mlp"):
        build_model("resnet")


def test_tensors_have_the_documented_shapes_and_types(session):
    model = build_model()
    documented = {
        "images": ([None, 28, 28, 1], tf.float32),
        "labels": ([None, 10], tf.float32),
        "keep_prob": ([], tf.float32),
        "logits": ([None, 10], tf.float32),
        "cost": ([], tf.float32),
        "predictions": ([None], tf.int64),
        "probabilities": ([None, 10], tf.float32),
        "accuracy": ([], tf.float32),
        "global_step": ([], tf.int64),
    }
    for name, (shape, dtype) in documented.items():
        tensor = getattr(model, name)
        assert (tensor.shape.as_list(), tensor.dtype.base_dtype) == (shape, dtype), name


def test_activations_have_the_documented_shapes_and_feed_each_other(session, batch):
    model = build_model()
    assert {name: tensor.shape.as_list()[1:] for name, tensor in model.activations.items()} == {
        "conv1": [28, 28, 32],
        "pool1": [14, 14, 32],
        "conv2": [14, 14, 64],
        "pool2": [7, 7, 64],
        "dense": [256],
    }
    session.run(tf.global_variables_initializer())
    values = session.run(model.activations, {model.images: batch[0]})
    assert values["conv1"].min() < 0  # before ReLU
    pooled = np.maximum(values["conv1"].reshape(100, 14, 2, 14, 2, 32).max(axis=(2, 4)), 0)
    np.testing.assert_array_equal(values["pool1"], pooled)


def test_logits_and_gradients_equal_the_tutorials(session, batch):
    images, labels = batch
    model = build_model()
    # Weights of full size, so that every unit is used: N(0, 0.01²) would leave logits near 0.
    random = np.random.RandomState(0)
    weights = [random.randn(*v.shape.as_list()) * 0.1 for v in tf.trainable_variables()]
    plain = [tf.constant(value, tf.float32) for value in weights]
    X, Y, plain_logits, plain_gradients = tutorial_network(*plain)
    for variable, value in zip(tf.trainable_variables(), weights):
        variable.load(value, session)
    gradients = tf.gradients(model.cost, tf.trainable_variables())
    session.run(model.global_step.initializer)
    ours = session.run([model.logits, *gradients], {model.images: images, model.labels: labels})
    theirs = session.run([plain_logits, *plain_gradients], {X: images, Y: labels})
    for our_value, plain_value in zip(ours, theirs):
        assert np.abs(plain_value).max() > 0
        np.testing.assert_allclose(our_value, plain_value, rtol=1e-4, atol=1e-5 * np.abs(plain_value).max())


def test_initial_weights_are_small_and_determined_by_the_seed(session):
    values = {}
    for seed in (1, 1, 2):
        with tf.Graph().as_default(), tf.Session() as sess:
            model = build_model(seed=seed)
            sess.run(tf.global_variables_initializer())
            values.setdefault(seed, []).append(sess.run(model.weights))
    first, again, other = *values[1], *values[2]
    for name in first:
        assert (first[name] == again[name]).all() and (first[name] != other[name]).all()
    everything = np.concatenate([value.ravel() for value in first.values()])
    assert abs(everything.mean()) < 1e-4 and abs(everything.std() - 0.01) < 1e-4


def test_dropout_drops_the_given_fraction_with_a_new_mask_at_every_step(session, batch):
    images, labels = batch
    model = build_model()
    session.run(tf.global_variables_initializer())
    (dropped_units,) = [op.inputs[0] for op in session.graph.get_operations() if op.name == "output/logits"]
    feed = {model.images: images, model.labels: labels}
    whole = session.run(dropped_units, feed)
    dropped = session.run(dropped_units, {**feed, model.keep_prob: 0.8})
    active = whole > 0
    kept = dropped[active] > 0
    assert abs(kept.mean() - 0.8) < 0.02
    np.testing.assert_allclose(dropped[active][kept], whole[active][kept] / 0.8, rtol=1e-5)
    assert (session.run(dropped_units, {**feed, model.keep_prob: 0.8}) == dropped).all()
    session.run(tf.assign_add(model.global_step, 1))
    assert ((session.run(dropped_units, {**feed, model.keep_prob: 0.8}) > 0) != (dropped > 0)).any()


def test_nothing_is_dropped_unless_keep_prob_is_fed(session, batch):
    model = build_model()
    session.run(tf.global_variables_initializer())
    feed = {model.images: batch[0]}
    logits, probabilities, predictions = session.run([model.logits, model.probabilities, model.predictions], feed)
    assert (logits == session.run(model.logits, {**feed, model.keep_prob: 1.0})).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (predictions == logits.argmax(axis=1)).all()


def test_several_forward_passes_can_share_the_same_weights(session, batch):
    weights = create_weights(seed=1)
    halves = [inference("cnn", tf.constant(half), weights)[0] for half in np.split(batch[0], 2)]
    whole, _ = inference("cnn", tf.constant(batch[0]), weights)
    assert len(tf.global_variables()) == 4  # no optimizer either
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(np.concatenate(session.run(halves)), session.run(whole), rtol=1e-4, atol=1e-9)


def test_a_second_model_in_one_graph_is_an_error_that_says_what_to_write(session):
    build_model()
    with pytest.raises(RuntimeError, match="with tf.Graph"):
        build_model()
    with tf.Graph().as_default():
        build_model()


def test_without_a_graph_tensorflow_2_gets_an_error_that_says_what_to_write():
    if not tf.executing_eagerly():
        pytest.skip("TensorFlow 1.15 always has a default graph")
    with pytest.raises(RuntimeError, match="with tf.Graph"):
        build_model()
