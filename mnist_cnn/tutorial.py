"""For whole scripts of TensorFlow 1.x's days. In place of their imports of TensorFlow and of `input_data`:

    from mnist_cnn.tutorial import input_data, tf

The one module whose import changes the process: such scripts call `tf.placeholder` at their top level,
which TensorFlow 2 allows only once its own behaviour is switched off.
"""

from mnist_cnn import input_data
from mnist_cnn.tf1 import tf

if tf.executing_eagerly():
    tf.disable_v2_behavior()

__all__ = ["input_data", "tf"]
