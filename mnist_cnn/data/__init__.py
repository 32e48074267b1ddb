"""MNIST's files and arrays: find, download, verify, split, batch and augment them."""
