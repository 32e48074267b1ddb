"""Protocol between benchmark.py and a contender: JSON lines on stdout, an empty line on stdin for each turn.

A contender is a script that trains the network. benchmark.py starts it as
`python SCRIPT DATA_DIR STEPS BLOCK_SIZE [VARIANT...]`. The script creates a BlockTimer, calls its `after_step()` after
each training step and its `finish()` after the evaluation. The messages, in this order:

    {"first_step_at": SECONDS}               time.time() after the first step
    {"seconds": [SECONDS, ...]}              duration of each step, after each block of BLOCK_SIZE steps
    {"peak_bytes": N, "versions": "..."}     peak memory of the process (null on Windows), at the end

After each message but the last, the contender waits for an empty line on stdin, so that only one contender computes at
a time.

`python plain.py DATA_DIR --epochs 15` trains the tutorial's whole run instead, and prints its lines.
"""

import argparse
import json
import os
import platform
import sys
import time

try:
    import resource
except ImportError:  # Windows
    resource = None

STEPS_PER_EPOCH = 550


class BlockTimer:
    """Measures the duration of each training step, and pauses after each block of steps."""

    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("data_dir", help="folder of MNIST's gzip files")
        parser.add_argument("steps", type=int, nargs="?", default=0)
        parser.add_argument("block_size", type=int, nargs="?", default=0)
        parser.add_argument("variant", nargs="*")
        parser.add_argument("--epochs", type=int, default=0, help="train whole epochs, and measure nothing")
        parser.add_argument("--seed", type=int, default=1)
        args = parser.parse_args()
        self.data_dir = args.data_dir
        self.steps = args.steps or args.epochs * STEPS_PER_EPOCH
        self.seed = args.seed
        self.variant = args.variant
        self._block_size = args.block_size
        self._num_steps = 0
        self._seconds = []  # of each step of the current block
        if self._block_size:
            # Only messages may appear on stdout, so the contender's own output is redirected to stderr.
            self._messages = os.fdopen(os.dup(1), "w")
            os.dup2(2, 1)

    def after_step(self):
        """Records the duration of a step, and waits for the next turn at the end of a block."""
        if not self._block_size:
            return
        now = time.perf_counter()
        self._num_steps += 1
        if self._num_steps == 1:
            self._send(first_step_at=time.time())
            self._wait_for_turn()
        else:
            self._seconds.append(now - self._started_at)
        if len(self._seconds) == self._block_size:
            self._send(seconds=self._seconds)
            self._seconds = []
            self._wait_for_turn()
        self._started_at = time.perf_counter()

    def finish(self, versions):
        """Sends the peak memory. Called after the evaluation, which is part of a run and may need the most memory."""
        if self._block_size:
            self._send(peak_bytes=peak_memory(), versions=f"{versions}, Python {platform.python_version()}")

    def _send(self, **message):
        print(json.dumps(message), file=self._messages, flush=True)

    def _wait_for_turn(self):
        if not sys.stdin.readline():
            sys.exit("benchmark.py has closed the connection")


def peak_memory():
    """Returns the peak resident memory of this process in bytes, or None on Windows."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
