"""Distributed training on a TensorFlow cluster that TF_CONFIG describes."""
