"""What a run writes: its directory, checkpoints, TensorBoard summaries; and how signals stop it."""
