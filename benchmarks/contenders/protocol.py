"""How a side of the benchmark takes turns: it runs a block of steps whenever told to, and says how long each took."""

import argparse
import json
import os
import platform
import resource
import sys
import time


class Blocks:
    """Talks with benchmark.py, a line of JSON at a time. What the side itself prints goes to stderr."""

    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("data_dir")
        parser.add_argument("steps", type=int)
        parser.add_argument("block", type=int)
        parser.add_argument("variant", nargs="*")
        args = parser.parse_args()
        self.data_dir, self.steps, self.variant = args.data_dir, args.steps, args.variant
        self._block, self._taken, self._times = args.block, 0, []
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def after_step(self):
        """To be called after each step. Waits for its turn at the end of a block."""
        now = time.perf_counter()
        self._taken += 1
        if self._taken == 1:
            self._say(first_step_at=time.time())
            self._wait()
        else:
            self._times.append(now - self._started)
        if len(self._times) == self._block:
            self._say(seconds=self._times)
            self._times = []
            self._wait()
        self._started = time.perf_counter()

    def done(self, versions):
        """To be called after the test accuracy is computed, since that is part of a run."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._say(
            peak_bytes=peak * (1 if sys.platform == "darwin" else 1024),
            versions=f"{versions}, Python {platform.python_version()}",
        )

    def _wait(self):
        if not sys.stdin.readline():
            sys.exit("benchmark.py is gone")

    def _say(self, **what):
        print(json.dumps(what), file=self._out, flush=True)
