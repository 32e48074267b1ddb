"""Data-parallel training of one run on several machines, with TensorFlow's own runtime (tf.train.Server).

The chief has the dataset, the training loop and the run directory. It builds one graph, in which each replica (the
chief and every worker) computes its shard of each batch with the same weights. Workers and parameter servers only run
a server, which executes their part of this graph, and wait until the chief is done.

The chief and each other task communicate through two variables, which are placed on that other task:

* `heartbeat`, an integer. The chief increments it every HEARTBEAT_SECS. A task that sees it change knows that the
  chief is alive; a chief whose increment succeeds knows that the task is alive. At the end of the run the chief
  assigns a negative value, DONE or FAILED, and the task exits.
* `fingerprint`, a JSON string with the task's versions and cluster, which the chief compares with its own.

No task waits forever for another. A training step may take a quarter of the timeout, a heartbeat a tenth. TensorFlow
has no timeout for the creation of a session with a task that does not respond: the chief creates the sessions for the
heartbeats in daemon threads, and a watchdog ends the process if the main thread blocks in such a call.
"""

import contextlib
import json
import logging
import math
import os
import socket
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, TextIO, Tuple

from mnist_cnn import __version__
from mnist_cnn.cluster.tf_config import Task
from mnist_cnn.data.mnist import Dataset
from mnist_cnn.errors import InputError, Stopped, TrainingFailed
from mnist_cnn.model import Model, inference
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.run_dir.config import RunConfig
from mnist_cnn.run_dir.signals import GracefulShutdown
from mnist_cnn.tf1 import new_session, tf
from mnist_cnn.trainer import Trainer

HEARTBEAT_SECS = 0.5
SAVE_SECS = 8  # a scheduler stops all tasks at once: so long, the chief still needs the others for its step
DONE, FAILED = -1, -2  # final values of the heartbeat variable
SESSION_CLOSE_SECS = 31  # TensorFlow takes 30 s to close a session with a task that does not respond
MAX_LOSSES_WITHOUT_PROGRESS = 3  # consecutive lost connections without a new checkpoint between them

# The errors that TensorFlow raises when another task exited, was restarted or does not respond.
_CONNECTION_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
)

logger = logging.getLogger(__name__)


def run_worker(task: Task, timeout: float) -> None:
    """Runs a worker or parameter server task until the chief is done or stopped.

    Args:
      task: any task of the cluster except the chief.
      timeout: how many seconds to wait for a heartbeat of the chief.

    Raises:
      InputError: the task's port is in use.
      TrainingFailed: the chief sent no heartbeat for `timeout` seconds, or ended with an error.
      Stopped: SIGINT, SIGTERM or SIGHUP was received, and the chief did not end within SAVE_SECS.
    """
    server = _start_server(task, timeout)
    with tf.Graph().as_default(), _heartbeat_session(server, task) as session, GracefulShutdown() as shutdown:
        fingerprint, heartbeat = _heartbeat_variables(task)
        session.run(fingerprint.initializer)
        session.run(heartbeat.initializer)
        latest, changed_at, stop_at = 0, time.monotonic(), math.inf
        while latest != DONE:
            time.sleep(HEARTBEAT_SECS)
            if shutdown.signum:
                stop_at = min(stop_at, time.monotonic() + SAVE_SECS)
            if time.monotonic() > stop_at:
                raise Stopped(shutdown.signum)
            value = session.run(heartbeat)
            if value == FAILED:
                raise TrainingFailed(f"{task.chief} ended with an error")
            if value != latest:
                latest, changed_at = value, time.monotonic()
            elif time.monotonic() - changed_at > timeout:
                raise TrainingFailed(f"no heartbeat from {task.chief} for {timeout:g} s")


def train_on_cluster(task: Task, timeout: float, dataset: Dataset, config: RunConfig) -> Dict[str, Any]:
    """Trains on a cluster, of which this process is the chief.

    After a lost connection it waits for the task, then resumes from the latest checkpoint.

    Args:
      task: the chief.
      timeout: how many seconds to wait for a task that has not started or does not respond. A single operation,
        such as a training step, may take a quarter of this.
      dataset: as for `mnist_cnn.train`.
      config: the resolved arguments of the run.

    Returns:
      The result of the run, as `mnist_cnn.train` does.

    Raises:
      InputError: as for `mnist_cnn.train`; or the chief's port is in use, a task has other versions or another
        cluster than the chief, or a batch has fewer images than the cluster has replicas.
      TrainingFailed: as for `mnist_cnn.train`; or a task did not start or no longer responds.
      Stopped: as for `mnist_cnn.train`.
    """
    num_replicas = len(task.replicas)
    if config.recipe.batch_size < num_replicas:
        raise InputError(
            f"batch_size is {config.recipe.batch_size}: with {num_replicas} replicas it must be {num_replicas} or more"
        )
    server = _start_server(task, timeout)
    # Without this, TensorFlow logs an "undefined state" whenever it closes a session with a lost task.
    logging.getLogger("tensorflow").addFilter(lambda record: "failed to close" not in record.getMessage())
    checkpoint, losses = None, 0  # losses of the connection since the latest new checkpoint
    with _PeerMonitor(task, server, timeout) as peers, contextlib.redirect_stdout(_DeduplicatingStream(sys.stdout)):
        peers.wait_for_all()
        with directory.open_run_dir(config.run_dir, config.resume) as run_dir:
            pass  # creates the run directory, which all attempts below share
        config = replace(config, run_dir=run_dir)
        while True:
            try:
                return _ClusterTrainer(dataset, config, task, server).run()
            except (tf.errors.OpError, InputError, OSError, TrainingFailed) as error:
                cause = _find_connection_error(error)
                if not cause:
                    raise
                previous, checkpoint = checkpoint, checkpoints.latest_checkpoint(run_dir)[0]
                losses = losses + 1 if checkpoint == previous else 1
                if losses == MAX_LOSSES_WITHOUT_PROGRESS:
                    raise TrainingFailed(
                        f"lost connection to a task {MAX_LOSSES_WITHOUT_PROGRESS} times in a row without a new "
                        f"checkpoint ({type(cause).__name__}): if a step takes more than {timeout / 4:g} s, raise the "
                        "cluster timeout",
                        run_dir=run_dir,
                    ) from error
                logger.warning(
                    "lost connection to a task (%s): waiting up to %g s for it; the run can also be resumed later "
                    "from %s",
                    type(cause).__name__,
                    timeout,
                    run_dir,
                )
            peers.wait_for_all(run_dir)
            config = replace(config, resume=True)


class _ClusterTrainer(Trainer):
    """A Trainer whose graph is spread over the tasks of a cluster."""

    def __init__(self, dataset: Dataset, config: RunConfig, task: Task, server: Any):
        self._task, self._server = task, server
        super().__init__(dataset, config)

    def new_session(self) -> Any:
        return new_session(self.config.mixed_precision, self._server.target)

    def build_model(self, inference: Callable[..., Any] = inference) -> Model:
        # Variables are placed on the parameter servers. The setter is None if there are none.
        setter = tf.train.replica_device_setter(
            cluster=self._task.cluster, worker_device=self._task.device, ps_device="/job:ps"
        )
        with tf.device(setter or self._task.device):
            return super().build_model(partial(_sharded_inference, self._task.replicas))


def _sharded_inference(
    replicas: List[Task], model: str, images: Any, weights: List[Any], keep_prob: Any, noise: Any
) -> Tuple[Any, Dict[str, Any]]:
    """As `inference`, with each replica computing its shard of the images.

    Returns logits and activations of the whole batch. The cost is therefore one mean over the batch, in which each
    image counts the same even if shards differ in size. Gradients are summed where the weights are placed.
    """
    n = tf.shape(images)[0]
    bounds = [n * k // len(replicas) for k in range(len(replicas) + 1)]
    shards = [(images[start:end], noise[start:end]) for start, end in zip(bounds, bounds[1:])]
    outputs = []
    for replica, (shard_images, shard_noise) in zip(replicas, shards):
        with tf.device(replica.device):
            outputs.append(inference(model, shard_images, weights, keep_prob, shard_noise))
    all_logits, all_activations = zip(*outputs)
    activations = {
        name: tf.concat([activations[name] for activations in all_activations], axis=0) for name in all_activations[0]
    }
    return tf.concat(all_logits, axis=0), activations


class _PeerMonitor:
    """The chief's connections to the other tasks, with one heartbeat thread for each."""

    def __init__(self, task: Task, server: Any, timeout: float):
        self._chief, self._server, self._timeout = task, server, timeout
        self._peers = [peer for peer in task.all_tasks if peer != task]
        # Time of each peer's latest response; until the first one, the time from which it is waited for.
        self._responded_at = {str(peer): time.monotonic() for peer in self._peers}
        self._fingerprints: Dict[str, Dict[str, Any]] = {}
        self._run_ended = threading.Event()
        self._final_status = FAILED
        self._deadline: Optional[float] = None  # for delivering the final status
        self._threads = [
            threading.Thread(target=self._heartbeat_loop, args=[peer], daemon=True) for peer in self._peers
        ]
        self._watchdog = threading.Thread(target=self._watch_peers, daemon=True)

    def __enter__(self) -> "_PeerMonitor":
        for thread in self._threads:
            thread.start()
        self._watchdog.start()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        # A stopped run (Stopped is not an Exception) counts as done: the other tasks exit without an error.
        self._final_status = FAILED if kind is not None and issubclass(kind, Exception) else DONE
        self._deadline = time.monotonic() + max(5, self._timeout / 10)
        self._run_ended.set()
        for thread in self._threads:
            thread.join(max(0, self._deadline - time.monotonic()))
        # A thread that ends last drops the server while Python exits, and TensorFlow 2 then aborts the process.
        self._watchdog.join()

    def wait_for_all(self, run_dir: Optional[Path] = None) -> None:
        """Waits until every peer has responded after this call.

        Raises:
          InputError: the fingerprint of a peer is not that of the chief.
          TrainingFailed: a peer did not respond within the timeout; `run_dir` is the run that can be resumed.
        """
        called_at = time.monotonic()
        waiting_for = self._peers
        while waiting_for:
            time.sleep(HEARTBEAT_SECS / 5)
            waiting_for = [
                peer
                for peer in waiting_for
                if self._responded_at[str(peer)] <= called_at or str(peer) not in self._fingerprints
            ]
            self._check_peers(run_dir)

    def _check_peers(self, run_dir: Optional[Path]) -> None:
        for peer in self._peers:
            if time.monotonic() - self._responded_at[str(peer)] > self._timeout:
                raise TrainingFailed(
                    f"{peer} did not respond for {self._timeout:g} s: check that it is running, that it can be reached "
                    f"from here, and that it has TensorFlow {tf.__version__} too",
                    run_dir=run_dir,
                )
            for name, value in _fingerprint(self._chief).items():
                peer_value = self._fingerprints.get(str(peer), {}).get(name, value)
                if peer_value != value:
                    raise InputError(f"{peer} has {name} {peer_value}, and the chief {value}: they must be the same")

    def _heartbeat_loop(self, peer: Task) -> None:
        while self._deadline is None or time.monotonic() < self._deadline:
            with contextlib.suppress(tf.errors.OpError), tf.Graph().as_default():
                with _heartbeat_session(self._server, self._chief, peer, timeout=self._timeout / 10) as session:
                    fingerprint, heartbeat = _heartbeat_variables(peer)
                    final_status = tf.placeholder(tf.int64, [])
                    increment, assign = tf.assign_add(heartbeat, 1), tf.assign(heartbeat, final_status)
                    while not self._run_ended.wait(HEARTBEAT_SECS):
                        peer_fingerprint, _ = session.run([fingerprint, increment])
                        self._fingerprints[str(peer)] = json.loads(peer_fingerprint.decode())
                        self._responded_at[str(peer)] = time.monotonic()
                    session.run(assign.op, {final_status: self._final_status})
                    return
            time.sleep(HEARTBEAT_SECS)

    def _watch_peers(self) -> None:
        """Ends the process if the main thread is blocked inside TensorFlow because a peer does not respond."""
        # The main thread reports the error itself within this time, if it is not blocked.
        longest = self._timeout + SESSION_CLOSE_SECS
        while not self._run_ended.wait(HEARTBEAT_SECS):
            for peer in self._peers:
                if time.monotonic() - self._responded_at[str(peer)] > longest:
                    logger.critical("%s did not respond for %g s", peer, longest)
                    os._exit(1)  # nothing can interrupt the main thread


def _start_server(task: Task, timeout: float) -> Any:
    _bypass_proxies(task)
    try:
        # gRPC logs a message of its own if the port is in use, therefore it is checked first.
        with socket.socket() as probe:
            if os.name == "posix":  # on Windows, it lets two processes use one port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", int(task.address.rsplit(":", 1)[1])))
        config = tf.ConfigProto(operation_timeout_in_ms=int(1000 * timeout / 4))
        return tf.train.Server(task.cluster, task.job, task.index, config=config)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"{task} cannot listen on this port ({reason})") from error


def _bypass_proxies(task: Task) -> None:
    """Makes gRPC connect to the other tasks directly where an environment variable such as http_proxy is set."""
    hosts = {peer.address.rsplit(":", 1)[0].strip("[]") for peer in task.all_tasks}
    for name in ("no_grpc_proxy", "no_proxy"):  # gRPC reads the second one if the first one is not set
        before = os.environ.get(name) or os.environ.get(name.upper())
        os.environ[name] = ",".join(sorted(hosts) + ([before] if before else []))


def _heartbeat_session(server: Any, *tasks: Task, timeout: float = 0.0) -> Any:
    """Creates a session with these tasks only, which works while others do not respond; timeout 0 means none."""
    filters = [task.device for task in tasks]
    return tf.Session(
        server.target, config=tf.ConfigProto(device_filters=filters, operation_timeout_in_ms=int(1000 * timeout))
    )


def _heartbeat_variables(task: Task) -> Tuple[Any, Any]:
    """Creates the variables `fingerprint` and `heartbeat` of a task, as the module's docstring describes."""
    with tf.device(task.device):
        return (
            tf.Variable(json.dumps(_fingerprint(task)), name="fingerprint", use_resource=False),
            tf.Variable(0, name="heartbeat", dtype=tf.int64, use_resource=False),
        )


def _fingerprint(task: Task) -> Dict[str, Any]:
    """The properties that all tasks of a cluster must have in common."""
    return {"TensorFlow": tf.__version__, "mnist_cnn": __version__, "the cluster": task.cluster}


def _find_connection_error(error: Optional[BaseException]) -> Optional[BaseException]:
    """Returns the first of _CONNECTION_ERRORS in the error's chain of causes, or None."""
    while error is not None and not isinstance(error, _CONNECTION_ERRORS):
        error = error.__cause__
    return error


class _DeduplicatingStream:
    """A text stream that drops lines which it has written before.

    Each attempt to resume prints the lines of the finished epochs again.
    """

    def __init__(self, stream: TextIO):
        self._stream, self._incomplete_line = stream, ""
        self._written: Set[str] = set()

    def write(self, text: str) -> int:
        *lines, self._incomplete_line = (self._incomplete_line + text).split("\n")
        for line in lines:
            if line not in self._written:
                self._written.add(line)
                self._stream.write(line + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
