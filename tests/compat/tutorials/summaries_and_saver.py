"""Flags, summaries for TensorBoard, and a checkpoint that is restored into a new session."""

import os

import tensorflow as tf
from tensorflow.examples.tutorials import mnist

flags = tf.app.flags
flags.DEFINE_string("log_dir", "logs", "Where the summaries and the checkpoint are written.")
flags.DEFINE_integer("steps", 300, "The number of steps.")
FLAGS = flags.FLAGS


def main(unused_argv):
    data = mnist.input_data.read_data_sets("MNIST_data/", one_hot=True)
    with tf.name_scope("input"):
        x = tf.placeholder(tf.float32, [None, 784], name="x")
        y_ = tf.placeholder(tf.float32, [None, 10], name="y")
        tf.summary.image("images", tf.reshape(x, [-1, 28, 28, 1]), 3)
    with tf.name_scope("layer"):
        W = tf.Variable(tf.zeros([784, 10]), name="W")
        b = tf.Variable(tf.zeros([10]), name="b")
        tf.summary.histogram("weights", W)
        y = tf.matmul(x, W) + b
    with tf.name_scope("train"):
        cross_entropy = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(y_, y))
        tf.summary.scalar("cross_entropy", cross_entropy)
        train_step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(cross_entropy)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.arg_max(y, 1), tf.arg_max(y_, 1)), tf.float32))

    merged, saver = tf.summary.merge_all(), tf.train.Saver(max_to_keep=2)
    writer = tf.summary.FileWriter(FLAGS.log_dir, tf.get_default_graph())
    with tf.Session(config=tf.ConfigProto(log_device_placement=False)) as sess:
        sess.run(tf.initialize_all_variables())
        for step in range(FLAGS.steps):
            xs, ys = data.train.next_batch(100)
            summary, _ = sess.run([merged, train_step], {x: xs, y_: ys})
            if step % 100 == 0:
                writer.add_summary(summary, step)
        saver.save(sess, os.path.join(FLAGS.log_dir, "model.ckpt"), global_step=FLAGS.steps)
    writer.close()
    assert any("tfevents" in name for name in os.listdir(FLAGS.log_dir))

    with tf.Session() as sess:
        saver.restore(sess, tf.train.latest_checkpoint(FLAGS.log_dir))
        print(sess.run(accuracy, {x: data.test.images, y_: data.test.labels}))


if __name__ == "__main__":
    tf.app.run(main=main)
