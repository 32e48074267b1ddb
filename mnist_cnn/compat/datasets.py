"""A replacement for `tf.contrib.learn.datasets`, with MNIST alone."""

from mnist_cnn import input_data
from mnist_cnn.compat.namespace import Namespace
from mnist_cnn.input_data import Datasets


def load_mnist(train_dir: str = "MNIST-data") -> Datasets:
    """Loads MNIST as `read_data_sets` does."""
    return input_data.read_data_sets(train_dir)


def load_dataset(name: str) -> Datasets:
    """Loads MNIST, by its name "mnist"; there is no other dataset.

    Raises:
      ValueError: another name.
    """
    if name != "mnist":
        raise ValueError(f"load_dataset({name!r}): there is only 'mnist'")
    return load_mnist()


base = Namespace("tensorflow.contrib.learn.datasets.base", Datasets=Datasets)
mnist = Namespace(
    "tensorflow.contrib.learn.datasets.mnist",
    input_data,
    __all__=[*input_data.__all__, "load_mnist"],
    load_mnist=load_mnist,
)
datasets = Namespace("tensorflow.contrib.learn.datasets", base=base, load_dataset=load_dataset, mnist=mnist)
