"""tf.contrib.layers: convolution, pooling, batch normalisation as normalizer_fn, regularisation."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.layers import apply_regularization, flatten, fully_connected, l2_regularizer
from tensorflow.contrib.layers.python.layers.initializers import xavier_initializer
from tensorflow.contrib.learn.python.learn.datasets.mnist import read_data_sets

layers = tf.contrib.layers
mnist = read_data_sets("MNIST_data", one_hot=True)

x = tf.placeholder(tf.float32, [None, 784])
y = tf.placeholder(tf.float32, [None, 10])
is_training = tf.placeholder(tf.bool)

normalizer_params = {"is_training": is_training, "decay": 0.9, "updates_collections": None}
with tf.contrib.framework.arg_scope(
    [layers.conv2d], normalizer_fn=layers.batch_norm, normalizer_params=normalizer_params
):
    net = layers.conv2d(tf.reshape(x, [-1, 28, 28, 1]), 8, [5, 5], weights_initializer=xavier_initializer())
net = layers.max_pool2d(net, 2)
net = fully_connected(flatten(net), 64, weights_initializer=layers.variance_scaling_initializer(), scope="hidden")
net = layers.dropout(net, keep_prob=0.9, is_training=is_training)
logits = fully_connected(net, 10, activation_fn=None, scope="output")

weights = [variable for variable in tf.trainable_variables() if "weights" in variable.name]
penalty = apply_regularization(l2_regularizer(1e-4), weights)
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits)) + penalty
train_op = layers.optimize_loss(loss, tf.train.get_or_create_global_step(), 0.002, optimizer="Adam")

session = tf.InteractiveSession()
tf.global_variables_initializer().run()
for step in range(600):
    images, labels = mnist.train.next_batch(50)
    train_op.eval({x: images, y: labels, is_training: True})
predictions = tf.argmax(logits, 1).eval({x: mnist.test.images[:2000], is_training: False})
print(np.mean(predictions == mnist.test.labels[:2000].argmax(1)))
