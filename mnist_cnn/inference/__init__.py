"""Inference on a trained model. Reading image files needs the extra `images`."""
