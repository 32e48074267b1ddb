"""A generative adversarial network of tf.layers. Prints 1 minus the difference of the mean images."""

import numpy as np
import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data


def generator(z, reuse=False):
    with tf.variable_scope("generator", reuse=reuse):
        h = tf.layers.dense(z, 128, activation=tf.nn.leaky_relu)
        return tf.layers.dense(h, 784, activation=tf.nn.sigmoid)


def discriminator(x, reuse=False):
    with tf.variable_scope("discriminator", reuse=reuse):
        h = tf.layers.dense(x, 128, activation=tf.nn.leaky_relu)
        return tf.layers.dense(h, 1)


def bce(logits, target):
    labels = target * tf.ones_like(logits)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=labels))


x = tf.placeholder(tf.float32, [None, 784])
z = tf.placeholder(tf.float32, [None, 64])
fake = generator(z)
real_logits, fake_logits = discriminator(x), discriminator(fake, reuse=True)
d_loss = bce(real_logits, 0.9) + bce(fake_logits, 0.0)
g_loss = bce(fake_logits, 1.0)
variables = {name: [v for v in tf.trainable_variables() if v.name.startswith(name)] for name in ("gen", "dis")}
d_step = tf.train.AdamOptimizer(2e-4, beta1=0.5).minimize(d_loss, var_list=variables["dis"])
g_step = tf.train.AdamOptimizer(1e-3, beta1=0.5).minimize(g_loss, var_list=variables["gen"])

data = input_data.read_data_sets("MNIST_data").train
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(600):
        images, _ = data.next_batch(64)
        sess.run(d_step, {x: images, z: np.random.uniform(-1, 1, [64, 64])})
        sess.run(g_step, {z: np.random.uniform(-1, 1, [64, 64])})
    samples = sess.run(generator(z, reuse=True), {z: np.random.uniform(-1, 1, [1000, 64])})
print(1 - np.abs(samples.mean(0) - data.images.mean(0)).mean())
