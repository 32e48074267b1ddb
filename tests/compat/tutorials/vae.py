"""A variational autoencoder of tf.contrib.layers. Prints the fraction of pixels that it reconstructs."""

import numpy as np
import tensorflow as tf

layers = tf.contrib.layers
mnist = tf.contrib.learn.datasets.mnist.read_data_sets("MNIST_data")

x = tf.placeholder(tf.float32, [None, 784])
with tf.variable_scope("encoder"):
    h = layers.fully_connected(x, 128, activation_fn=tf.nn.elu)
    mean = layers.fully_connected(h, 10, activation_fn=None)
    log_variance = layers.fully_connected(h, 10, activation_fn=None)
code = mean + tf.exp(log_variance / 2) * tf.random_normal(tf.shape(mean))
with tf.variable_scope("decoder"):
    h = layers.fully_connected(code, 128, activation_fn=tf.nn.elu)
    logits = layers.fully_connected(h, 784, activation_fn=None, weights_initializer=layers.xavier_initializer())
reconstruction = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits), axis=1)
divergence = -0.5 * tf.reduce_sum(1 + log_variance - tf.square(mean) - tf.exp(log_variance), reduction_indices=[1])
train_op = tf.train.AdamOptimizer(0.002).minimize(tf.reduce_mean(reconstruction + divergence))

with tf.train.MonitoredTrainingSession() as session:
    for _ in range(800):
        session.run(train_op, {x: mnist.train.next_batch(100)[0]})
    outputs = session.run(logits, {x: mnist.test.images[:1000]})
print(np.mean((outputs > 0) == (mnist.test.images[:1000] > 0.5)))
