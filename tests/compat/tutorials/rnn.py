"""A GRU of tf.nn.rnn_cell, on data of contrib.learn, with a learning rate that decays."""

import numpy as np
import tensorflow as tf

learn = tf.contrib.learn
mnist = learn.datasets.load_dataset("mnist")
test_labels = np.asarray(mnist.test.labels, dtype=np.int32)

rows = tf.placeholder(tf.float32, [None, 784])
labels = tf.placeholder(tf.int32, [None])
sequence = tf.reshape(rows, [-1, 28, 28])
_, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.GRUCell(64), sequence, dtype=tf.float32)
logits = tf.layers.dense(state, 10)
cost = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
global_step = tf.Variable(0, trainable=False)
rate = tf.train.exponential_decay(0.005, global_step, 100, 0.8)
gradients, variables = zip(*tf.train.AdamOptimizer(rate).compute_gradients(cost))
gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
step = tf.train.AdamOptimizer(rate).apply_gradients(list(zip(gradients, variables)), global_step=global_step)
accuracy = tf.reduce_mean(tf.to_float(tf.nn.in_top_k(logits, labels, 1)))

with tf.Session() as sess:
    tf.global_variables_initializer().run()
    for _ in range(300):
        images, digits = mnist.train.next_batch(128)
        sess.run(step, {rows: images, labels: digits})
    print(accuracy.eval({rows: mnist.test.images[:1000], labels: test_labels[:1000]}))
