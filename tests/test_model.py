import numpy as np
import pytest

from mnist_cnn import InputError, build_model
from mnist_cnn.model import create_weights, inference
from mnist_cnn.tf1 import tf


def weight_values(session):
    return {name: session.run(name + ":0") for name in ("W1", "W2", "W3", "W4")}


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


def test_it_has_the_published_parameters_and_no_others(session):
    build_model()
    shapes = {variable.op.name: variable.shape.as_list() for variable in tf.trainable_variables()}
    assert shapes == {"W1": [3, 3, 1, 32], "W2": [3, 3, 32, 64], "W3": [3136, 256], "W4": [256, 10]}
    assert sum(np.prod(shape) for shape in shapes.values()) == 824096


def test_the_dense_network_has_three_weights_and_learns_from_its_own_noise(session, batch):
    model = build_model("mlp")
    shapes = {variable.op.name: variable.shape.as_list() for variable in tf.trainable_variables()}
    assert shapes == {"W1": [784, 256], "W2": [256, 256], "W3": [256, 10]}
    session.run(tf.global_variables_initializer())
    feed = {model.images: batch[0], model.labels: batch[1], model.keep_prob: 0.8}
    costs = [session.run([model.cost, model.train_op], feed)[0] for _ in range(30)]
    assert costs[-1] < costs[0] / 2
    kept = []
    for layer, below in (("dense2", "MatMul"), ("output", "logits")):
        (units,) = [op.inputs[0] for op in session.graph.get_operations() if op.name == f"{layer}/{below}"]
        kept.append((session.run(units, feed) > 0)[session.run(units, {**feed, model.keep_prob: 1.0}) > 0].mean())
    assert 0.7 < kept[0] < 0.9 and 0.5 < kept[1] < 0.9


def test_a_model_that_does_not_exist_is_refused_with_those_that_do(session):
    with pytest.raises(InputError, match="cnn, mlp"):
        build_model("resnet")


def test_its_tensors_have_the_documented_shapes_and_types(session):
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


def test_logits_and_gradients_are_the_tutorials(session, batch):
    images, labels = batch
    model = build_model()
    # Random signs of full size, so that every unit is used: N(0, 0.01²) would leave logits near 0.
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
    for mine, plain_value in zip(ours, theirs):
        assert np.abs(plain_value).max() > 0
        np.testing.assert_allclose(mine, plain_value, rtol=1e-4, atol=1e-5 * np.abs(plain_value).max())


def test_initial_weights_are_small_and_a_function_of_the_seed(session):
    values = {}
    for seed in (1, 1, 2):
        with tf.Graph().as_default(), tf.Session() as sess:
            build_model(seed=seed)
            sess.run(tf.global_variables_initializer())
            values.setdefault(seed, []).append(weight_values(sess))
    first, again, other = *values[1], *values[2]
    for name in first:
        assert (first[name] == again[name]).all() and (first[name] != other[name]).all()
    everything = np.concatenate([value.ravel() for value in first.values()])
    assert abs(everything.mean()) < 1e-4 and abs(everything.std() - 0.01) < 1e-4


def test_dropout_drops_the_share_it_is_told_afresh_at_every_step(session, batch):
    images, labels = batch
    model = build_model()
    session.run(tf.global_variables_initializer())
    (dense,) = [op.inputs[0] for op in session.graph.get_operations() if op.name == "output/logits"]
    feed = {model.images: images, model.labels: labels}
    whole = session.run(dense, feed)
    dropped = session.run(dense, {**feed, model.keep_prob: 0.8})
    active = whole > 0
    kept = dropped[active] > 0
    assert abs(kept.mean() - 0.8) < 0.02
    np.testing.assert_allclose(dropped[active][kept], whole[active][kept] / 0.8, rtol=1e-5)
    assert (session.run(dense, {**feed, model.keep_prob: 0.8}) == dropped).all()
    session.run(tf.assign_add(model.global_step, 1))
    assert ((session.run(dense, {**feed, model.keep_prob: 0.8}) > 0) != (dropped > 0)).any()


def test_without_a_keep_prob_nothing_is_dropped(session, batch):
    model = build_model()
    session.run(tf.global_variables_initializer())
    feed = {model.images: batch[0]}
    logits, probabilities, predictions = session.run([model.logits, model.probabilities, model.predictions], feed)
    assert (logits == session.run(model.logits, {**feed, model.keep_prob: 1.0})).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (predictions == logits.argmax(axis=1)).all()


def test_several_copies_share_the_same_weights(session, batch):
    weights = create_weights(seed=1)
    copies = [inference(tf.constant(half), weights) for half in np.split(batch[0], 2)]
    whole = inference(tf.constant(batch[0]), weights)
    assert len(tf.global_variables()) == 4  # no optimizer either
    session.run(tf.global_variables_initializer())
    np.testing.assert_allclose(np.concatenate(session.run(copies)), session.run(whole), rtol=1e-4, atol=1e-9)


def test_a_second_network_in_one_graph_is_refused_with_what_to_write(session):
    build_model()
    with pytest.raises(RuntimeError, match="with tf.Graph"):
        build_model()
    with tf.Graph().as_default():
        build_model()


def test_outside_a_graph_tensorflow_2_is_told_what_to_write():
    if not tf.executing_eagerly():
        pytest.skip("TensorFlow 1.15 always has a graph")
    with pytest.raises(RuntimeError, match="with tf.Graph"):
        build_model()
