"""Drop-in imports for unmodified TensorFlow 1.x scripts. They replace the imports of tensorflow and input_data:

    from mnist_cnn.tutorial import input_data, tf

This is the only module whose import changes the process: such scripts call `tf.placeholder` at their top level,
which TensorFlow 2 allows only after `tf.disable_v2_behavior()`.
"""

from mnist_cnn import input_data
from mnist_cnn.tf1 import tf

if tf.executing_eagerly():
    tf.disable_v2_behavior()

__all__ = ["input_data", "tf"]
