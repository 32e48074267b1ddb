"""A convolutional network of tf.layers, with batch normalisation."""

import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data

mnist = input_data.read_data_sets("MNIST_data/", reshape=False)

images = tf.placeholder(tf.float32, [None, 28, 28, 1])
labels = tf.placeholder(tf.int64, [None])
training = tf.placeholder_with_default(False, [])

units = tf.layers.conv2d(images, filters=8, kernel_size=3, padding="same", use_bias=False)
units = tf.nn.relu(tf.layers.batch_normalization(units, training=training))
units = tf.layers.max_pooling2d(units, pool_size=2, strides=2)
units = tf.layers.flatten(units)
units = tf.layers.dense(units, 64, activation=tf.nn.relu, kernel_initializer=tf.variance_scaling_initializer())
units = tf.layers.dropout(units, rate=0.2, training=training)
logits = tf.layers.dense(units, 10)
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
    train_op = tf.train.AdamOptimizer(0.002).minimize(loss)
accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(800):
        x, y = mnist.train.next_batch(50)
        session.run(train_op, {images: x, labels: y, training: True})
    print(session.run(accuracy, {images: mnist.test.images[:2000], labels: mnist.test.labels[:2000]}))
