"""Run directories: files, checkpoints, TensorBoard summaries, and graceful shutdown on signals."""
