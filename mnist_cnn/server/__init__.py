"""The page on which one draws a digit, and TensorFlow Serving's REST form. Needs the extra `serve`."""
