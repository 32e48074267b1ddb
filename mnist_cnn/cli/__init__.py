"""The commands: one module per verb, and what they share in `command`."""
