"""What scripts for TensorFlow 1.x import and TensorFlow 2 no longer has. Only `mnist_cnn.tutorial` imports it."""
