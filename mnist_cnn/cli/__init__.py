"""Commands: one module per verb, and their shared code in `command`."""
