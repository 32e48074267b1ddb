"""A network of tf.contrib.slim, trained with slim's loss and training op."""

import tensorflow as tf
import tensorflow.contrib.slim as slim
from tensorflow.examples.tutorials.mnist import input_data


def lenet(images, is_training):
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected],
        weights_initializer=tf.truncated_normal_initializer(stddev=0.1),
        weights_regularizer=slim.l2_regularizer(0.0005),
        normalizer_fn=slim.batch_norm,
        normalizer_params={"is_training": is_training, "decay": 0.9, "updates_collections": None},
    ):
        net = slim.conv2d(images, 8, [5, 5], scope="conv1")
        net = slim.max_pool2d(net, [2, 2], 2, scope="pool1")
        net = slim.flatten(net, scope="flatten")
        net = slim.fully_connected(net, 64, scope="fc1")
    net = slim.dropout(net, 0.8, is_training=is_training, scope="dropout")
    return slim.fully_connected(net, 10, activation_fn=None, scope="fc2")


def main(_):
    data = input_data.read_data_sets("MNIST_data", one_hot=True, reshape=False)
    images = tf.placeholder(tf.float32, [None, 28, 28, 1])
    labels = tf.placeholder(tf.float32, [None, 10])
    is_training = tf.placeholder(tf.bool, [])
    logits = lenet(images, is_training)
    slim.losses.softmax_cross_entropy(logits, labels)
    train_op = slim.learning.create_train_op(slim.losses.get_total_loss(), tf.train.AdamOptimizer(0.002))
    accuracy = slim.metrics.accuracy(tf.argmax(logits, 1), tf.argmax(labels, 1))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(400):
            x, y = data.train.next_batch(50)
            sess.run(train_op, {images: x, labels: y, is_training: True})
        test = data.test.next_batch(2000)
        print(sess.run(accuracy, {images: test[0], labels: test[1], is_training: False}))


if __name__ == "__main__":
    tf.app.run()
