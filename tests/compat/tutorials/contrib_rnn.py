"""tf.contrib.rnn: an image is a sequence of 28 rows. Two stacked LSTMs, then another network with a block LSTM."""

import tensorflow as tf
import tensorflow.examples.tutorials.mnist.input_data as input_data
from tensorflow.contrib import rnn

mnist = input_data.read_data_sets("MNIST_data/", one_hot=True)

X = tf.placeholder(tf.float32, [None, 28, 28])
Y = tf.placeholder(tf.float32, [None, 10])


def stacked():
    cells = [rnn.DropoutWrapper(rnn.BasicLSTMCell(48, forget_bias=1.0), output_keep_prob=0.95) for _ in range(2)]
    outputs, _ = rnn.static_rnn(rnn.MultiRNNCell(cells), tf.unstack(X, 28, 1), dtype=tf.float32)
    return outputs[-1]


def block():
    outputs, _ = tf.nn.dynamic_rnn(rnn.LSTMBlockCell(64), X, dtype=tf.float32)
    return outputs[:, -1]


accuracies = []
for build in (stacked, block):
    with tf.variable_scope(build.__name__):
        weights = tf.get_variable("weights", [build == stacked and 48 or 64, 10])
        prediction = tf.matmul(build(), weights) + tf.get_variable("biases", [10])
        cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=prediction, labels=Y))
        optimizer = tf.train.AdamOptimizer(0.005).minimize(cost)
    correct = tf.equal(tf.argmax(prediction, 1), tf.argmax(Y, 1))
    accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(300):
            batch_x, batch_y = mnist.train.next_batch(128)
            sess.run(optimizer, feed_dict={X: batch_x.reshape((128, 28, 28)), Y: batch_y})
        test = mnist.test.images[:1000].reshape((-1, 28, 28))
        accuracies.append(sess.run(accuracy, feed_dict={X: test, Y: mnist.test.labels[:1000]}))
print(min(accuracies))
