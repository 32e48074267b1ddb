"""Contender: the tutorial's script, with feed_dict, TensorFlow's own reader and one evaluation of all test images."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]  # protocol.py, and the package of this clone
import numpy as np  # noqa: E402
from protocol import STEPS_PER_EPOCH, BlockTimer  # noqa: E402

timer = BlockTimer()

try:
    import tensorflow as tf
    from tensorflow.examples.tutorials.mnist import input_data
except ImportError:  # TensorFlow 2 has no reader for MNIST
    from mnist_cnn.tutorial import input_data, tf

tf.set_random_seed(timer.seed)
np.random.seed(timer.seed)  # shuffles the images
mnist = input_data.read_data_sets(timer.data_dir, one_hot=True)

X = tf.placeholder(tf.float32, [None, 28, 28, 1])
Y = tf.placeholder(tf.float32, [None, 10])
keep_prob = tf.placeholder(tf.float32)

W1 = tf.Variable(tf.random_normal([3, 3, 1, 32], stddev=0.01))
L1 = tf.nn.conv2d(X, W1, strides=[1, 1, 1, 1], padding="SAME")
L1 = tf.nn.relu(L1)
L1 = tf.nn.max_pool(L1, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")

W2 = tf.Variable(tf.random_normal([3, 3, 32, 64], stddev=0.01))
L2 = tf.nn.conv2d(L1, W2, strides=[1, 1, 1, 1], padding="SAME")
L2 = tf.nn.relu(L2)
L2 = tf.nn.max_pool(L2, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")

W3 = tf.Variable(tf.random_normal([7 * 7 * 64, 256], stddev=0.01))
L3 = tf.reshape(L2, [-1, 7 * 7 * 64])
L3 = tf.matmul(L3, W3)
L3 = tf.nn.relu(L3)
L3 = tf.nn.dropout(L3, keep_prob)

W4 = tf.Variable(tf.random_normal([256, 10], stddev=0.01))
model = tf.matmul(L3, W4)

cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=model, labels=Y))
optimizer = tf.train.AdamOptimizer(0.001).minimize(cost)

sess = tf.Session()
sess.run(tf.global_variables_initializer())

total_cost = 0
for step in range(1, timer.steps + 1):
    batch_xs, batch_ys = mnist.train.next_batch(100)
    batch_xs = batch_xs.reshape(-1, 28, 28, 1)
    _, cost_val = sess.run([optimizer, cost], feed_dict={X: batch_xs, Y: batch_ys, keep_prob: 0.8})
    total_cost += cost_val
    timer.after_step()
    if step % STEPS_PER_EPOCH == 0:
        print(f"Epoch: {step // STEPS_PER_EPOCH:04d} Avg. cost = {total_cost / STEPS_PER_EPOCH:.3f}", flush=True)
        total_cost = 0

is_correct = tf.equal(tf.argmax(model, 1), tf.argmax(Y, 1))
accuracy = tf.reduce_mean(tf.cast(is_correct, tf.float32))
print(
    "Accuracy:",
    sess.run(
        accuracy,
        feed_dict={X: mnist.test.images.reshape(-1, 28, 28, 1), Y: mnist.test.labels, keep_prob: 1},
    ),
)
timer.finish(f"TensorFlow {tf.__version__}")
