"""Contender: the same network and run in plain Keras, on TensorFlow."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]  # protocol.py, and the package of this clone
from protocol import BlockTimer  # noqa: E402

timer = BlockTimer()

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras  # noqa: E402
from keras import layers  # noqa: E402

from mnist_cnn import load_mnist  # noqa: E402


class AfterStep(keras.callbacks.Callback):
    """Calls `after_step` after each batch."""

    def on_train_batch_end(self, batch, logs=None):
        timer.after_step()


mnist = load_mnist(timer.data_dir)
model = keras.Sequential(
    [
        keras.Input([28, 28, 1]),
        layers.Conv2D(32, 3, padding="same", activation="relu", use_bias=False),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu", use_bias=False),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(256, activation="relu", use_bias=False),
        layers.Dropout(0.2),
        layers.Dense(10, use_bias=False),
    ]
)
model.compile(keras.optimizers.Adam(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
images = mnist.train.images[: timer.steps * 100].astype("float32") / 255
model.fit(images, mnist.train.labels[: len(images)], batch_size=100, epochs=1, verbose=0, callbacks=[AfterStep()])
predictions = model.predict(mnist.test.images.astype("float32") / 255, batch_size=1000, verbose=0).argmax(1)
print("Accuracy:", (predictions == mnist.test.labels).mean())
timer.finish(f"Keras {keras.__version__}")
