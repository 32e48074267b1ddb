"""The network of TensorFlow's examples, fed by a queue that threads fill, as in fully_connected_preloaded."""

import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data, mnist

data_sets = input_data.read_data_sets("MNIST_data", validation_size=0)

with tf.Graph().as_default():
    with tf.name_scope("input"):
        input_images = tf.constant(data_sets.train.images[:10000])
        input_labels = tf.constant(data_sets.train.labels[:10000].astype("int32"))
        image, label = tf.train.slice_input_producer([input_images, input_labels], num_epochs=3)
        images, labels = tf.train.batch([image, label], batch_size=100)
    loss = mnist.loss(mnist.inference(images, 64, 32), labels)
    train_op = mnist.training(loss, 0.1)

    test_images = tf.placeholder(tf.float32, shape=(1000, mnist.IMAGE_PIXELS))
    test_labels = tf.placeholder(tf.int32, shape=(1000,))
    tf.get_variable_scope().reuse_variables()
    saver = tf.train.Saver()
    init = tf.group(tf.global_variables_initializer(), tf.local_variables_initializer())
    with tf.Session() as sess:
        sess.run(init)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=sess, coord=coord)
        steps = 0
        try:
            while not coord.should_stop():
                sess.run(train_op)
                steps += 1
        except tf.errors.OutOfRangeError:
            assert steps == 300
        finally:
            coord.request_stop()
        coord.join(threads)
        saver.save(sess, "./model")

with tf.Graph().as_default(), tf.Session() as sess:
    images = tf.placeholder(tf.float32, shape=(1000, mnist.IMAGE_PIXELS))
    labels = tf.placeholder(tf.int32, shape=(1000,))
    eval_correct = mnist.evaluation(mnist.inference(images, 64, 32), labels)
    tf.train.Saver().restore(sess, "./model")
    batch = data_sets.test.next_batch(1000)
    print(sess.run(eval_correct, feed_dict={images: batch[0], labels: batch[1]}) / 1000.0)
