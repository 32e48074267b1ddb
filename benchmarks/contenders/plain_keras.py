"""The same network and run, plainly in Keras on TensorFlow."""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras  # noqa: E402
from _blocks import Blocks  # noqa: E402
from keras import layers  # noqa: E402

blocks = Blocks()

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from mnist_cnn import load_mnist  # noqa: E402


class Turns(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        blocks.after_step()


mnist = load_mnist(blocks.data_dir)
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
images = mnist.train.images[: blocks.steps * 100].astype("float32") / 255
model.fit(images, mnist.train.labels[: len(images)], batch_size=100, epochs=1, verbose=0, callbacks=[Turns()])
predictions = model.predict(mnist.test.images.astype("float32") / 255, batch_size=1000, verbose=0).argmax(1)
print("Accuracy:", (predictions == mnist.test.labels).mean())
blocks.done(f"Keras {keras.__version__}")
