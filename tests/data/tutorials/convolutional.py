"""A convolutional network with biases, as people wrote it for TensorFlow 1.x."""

import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data

mnist = input_data.read_data_sets("MNIST_data/", one_hot=True)


def weight_variable(shape):
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias_variable(shape):
    return tf.Variable(tf.constant(0.1, shape=shape))


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


x = tf.placeholder(tf.float32, shape=[None, 784])
y_ = tf.placeholder(tf.float32, shape=[None, 10])
keep_prob = tf.placeholder(tf.float32)
x_image = tf.reshape(x, [-1, 28, 28, 1])
h_conv = tf.nn.relu(
    tf.nn.conv2d(x_image, weight_variable([5, 5, 1, 8]), strides=[1, 1, 1, 1], padding="SAME") + bias_variable([8])
)
h_flat = tf.reshape(max_pool_2x2(h_conv), [-1, 14 * 14 * 8])
h_fc = tf.nn.relu(tf.matmul(h_flat, weight_variable([14 * 14 * 8, 64])) + bias_variable([64]))
h_drop = tf.nn.dropout(h_fc, keep_prob)
y_conv = tf.matmul(h_drop, weight_variable([64, 10])) + bias_variable([10])
cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y_, logits=y_conv))
train_step = tf.train.AdamOptimizer(1e-3).minimize(cross_entropy)
correct_prediction = tf.equal(tf.argmax(y_conv, 1), tf.argmax(y_, 1))
accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for i in range(300):
        batch = mnist.train.next_batch(50)
        train_step.run(feed_dict={x: batch[0], y_: batch[1], keep_prob: 0.5})
    batch = mnist.test.next_batch(1000, shuffle=False)
    print(accuracy.eval(feed_dict={x: batch[0], y_: batch[1], keep_prob: 1.0}))
