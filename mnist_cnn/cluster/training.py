"""One run on several machines, by TensorFlow's own runtime.

The chief has the run: the data, the loop, the run directory, and one graph, in which each replica (the chief and the
workers) computes its share of every batch with the same weights. The other tasks are servers that do what that graph
says; they run none of this loop, and wait for the chief to be done.

What the tasks tell each other stands in two variables on each of the others. The chief counts `beats` up twice a
second, by which either knows that the other is there, and at last sets it to what they shall do. `facts` is what must
be the same everywhere.

Nobody waits for ever: a step has a quarter of the timeout, a beat a tenth. What TensorFlow itself has no timeout for,
the creation of a session while a task is away, is left to threads, or ended by `_Peers._watch`.
"""

import contextlib
import json
import logging
import os
import socket
import sys
import threading
import time
from functools import partial

import mnist_cnn
from mnist_cnn import trainer
from mnist_cnn.errors import InputError, TrainingFailed
from mnist_cnn.model import build_model, inference
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.tf1 import tf

BEAT = 0.5  # seconds
DONE, FAILED = -1, -2  # instead of a count of beats: the chief needs the task no longer
CLOSING = 31  # seconds: TensorFlow gives up the session with a task that is gone only after 30
ATTEMPTS = 3  # in a row by which no more was saved, after which it is not a task's absence that is the trouble

# What TensorFlow says when another task is gone, was started anew, or does not answer.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError)


def serve(task, timeout):
    """Is one task of the cluster other than the chief, until that is done or stopped.

    Args:
      task: a Task.
      timeout: the seconds for which it waits for a chief that does not come, or answers no more.

    Raises:
      InputError: its port is taken.
      TrainingFailed: there was no chief for `timeout` seconds, or it ended with an error.
    """
    server = _start_server(task, timeout)
    with tf.Graph().as_default(), _session(server, task) as session:
        facts, beats = _letter_box(task)
        session.run(facts.initializer)
        session.run(beats.initializer)
        newest, heard_at = 0, time.monotonic()
        while newest != DONE:
            time.sleep(BEAT)
            beat = session.run(beats)
            if beat == FAILED:
                raise TrainingFailed(f"the {task.chief} ended with an error")
            if beat != newest:
                newest, heard_at = beat, time.monotonic()
            elif time.monotonic() - heard_at > timeout:
                raise TrainingFailed(f"nothing was heard from the {task.chief} for {timeout:g} s")


def train(task, timeout, dataset, run_dir, recipe, seed, resume=False, **options):
    """As `mnist_cnn.train`, on a cluster, of which this process is the chief.

    Args:
      task: a Task, the chief.
      timeout: the seconds for which it waits for a task that does not come, or answers no more. A single
        operation, such as a step, has a quarter of that.
      recipe: a Recipe.
      dataset, run_dir, seed, resume, options: those of `mnist_cnn.train`.

    Returns and raises what that does; and
      InputError: its port is taken, a task has other versions or another cluster, or there are less images in
        a batch than replicas.
      TrainingFailed: a task did not come, or answers no more.
    """
    if recipe.batch_size < len(task.replicas):
        raise InputError(
            f"--batch-size is {recipe.batch_size}: with {len(task.replicas)} tasks it must be that or more"
        )
    server = _start_server(task, timeout)
    # Else TensorFlow speaks of an "undefined state" where it gives up the session with a task that is gone.
    logging.getLogger("tensorflow").addFilter(lambda record: "failed to close" not in record.getMessage())
    saved, fruitless = None, 0
    with _Peers(task, server, timeout) as peers, contextlib.redirect_stdout(_EachLineOnce(sys.stdout)):
        peers.wait()
        with directory.open_run_dir(run_dir, resume) as run_dir:  # which has a name from here on
            pass
        while True:
            try:
                return trainer.train(
                    dataset,
                    run_dir,
                    recipe,
                    seed,
                    resume=resume,
                    target=server.target,
                    build=partial(_build, task),
                    **options,
                )
            except (tf.errors.OpError, InputError, OSError, TrainingFailed) as error:
                lost = _lost(error)
                if not lost:
                    raise
                before, saved = saved, checkpoints.latest_checkpoint(run_dir, _notice)[0]
                fruitless = fruitless + 1 if saved == before else 0
                if fruitless == ATTEMPTS:
                    raise TrainingFailed(
                        f"a task was lost {ATTEMPTS} times in a row before more was saved ({type(lost).__name__}): "
                        f"if a step takes more than {timeout / 4:g} s, raise --cluster-timeout; to go on: --resume "
                        f"--run-dir {run_dir}"
                    ) from error
                _notice(
                    f"a task answers no more ({type(lost).__name__}): the run waits for it for up to {timeout:g} s; "
                    f"to go on later: --resume --run-dir {run_dir}"
                )
            peers.wait()
            resume = True


def _build(task, model, learning_rate, seed, initial_weights):
    """As `build_model`: the weights on the parameter servers, if there are some, and a share for each replica."""
    setter = tf.train.replica_device_setter(cluster=task.cluster, worker_device=task.device, ps_device="/job:ps")
    with tf.device(setter or task.device):
        return build_model(model, learning_rate, seed, initial_weights, partial(_shared_inference, task.replicas))


def _shared_inference(replicas, images, weights, keep_prob, noise):
    """As `inference`, which each replica does for its share of the images.

    The cost is computed from the logits of all of them, so that a share counts by its size, and the gradients are
    added up where the weights are.
    """
    n = tf.shape(images)[0]
    bounds = [n * k // len(replicas) for k in range(len(replicas) + 1)]
    shares = [(images[start:end], noise[start:end]) for start, end in zip(bounds, bounds[1:])]
    logits = []
    for replica, (its_images, its_noise) in zip(replicas, shares):
        with tf.device(replica.device):
            logits.append(inference(its_images, weights, keep_prob, its_noise))
    return tf.concat(logits, axis=0)


class _Peers:
    """The other tasks, as the chief sees them: each has a thread that keeps in touch with it."""

    def __init__(self, task, server, timeout):
        self._chief, self._server, self._timeout = task, server, timeout
        self._peers = [peer for peer in task.all_tasks if peer != task]
        self._heard_at = {str(peer): time.monotonic() for peer in self._peers}  # or expected from
        self._facts = {}
        self._ended, self._word, self._end_by = threading.Event(), FAILED, None
        self._threads = [threading.Thread(target=self._keep_in_touch, args=[peer], daemon=True) for peer in self._peers]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind, error, traceback):
        self._word = DONE if kind is None or not issubclass(kind, Exception) else FAILED
        self._end_by = time.monotonic() + max(5, self._timeout / 10)
        self._ended.set()
        for thread in self._threads:
            thread.join(max(0, self._end_by - time.monotonic()))

    def wait(self):
        """Until all of them have answered from now on. Raises as `train`."""
        now = time.monotonic()
        waiting = self._peers
        while waiting:
            time.sleep(BEAT / 5)
            waiting = [peer for peer in waiting if self._heard_at[str(peer)] <= now or str(peer) not in self._facts]
            self._check()

    def _check(self):
        for peer in self._peers:
            silent = time.monotonic() - self._heard_at[str(peer)]
            if silent > self._timeout:
                raise TrainingFailed(
                    f"the {peer} did not answer for {self._timeout:g} s: is it running, can it be "
                    f"reached from here, and has it TensorFlow {tf.__version__} too?"
                )
            for name, value in _facts(self._chief).items():
                its = self._facts.get(str(peer), {}).get(name, value)
                if its != value:
                    raise InputError(f"the {peer} has {name} {its}, and the chief {value}: they must be the same")

    def _keep_in_touch(self, peer):
        while self._end_by is None or time.monotonic() < self._end_by:
            with contextlib.suppress(tf.errors.OpError), tf.Graph().as_default():
                with _session(self._server, self._chief, peer, timeout=self._timeout / 10) as session:
                    facts, beats = _letter_box(peer)
                    word = tf.placeholder(tf.int64, [])
                    beat, say = tf.assign_add(beats, 1), tf.assign(beats, word)
                    while not self._ended.wait(BEAT):
                        its_facts, _ = session.run([facts, beat])
                        self._facts[str(peer)] = json.loads(its_facts.decode())
                        self._heard_at[str(peer)] = time.monotonic()
                    session.run(say.op, {word: self._word})
                    return
            time.sleep(BEAT)

    def _watch(self):
        # Of use only while the main thread is within TensorFlow, and hears of nothing.
        longest = self._timeout + CLOSING
        while not self._ended.wait(BEAT):
            for peer in self._peers:
                if time.monotonic() - self._heard_at[str(peer)] > longest:
                    program = os.path.basename(sys.argv[0])
                    print(f"{program}: error: the {peer} did not answer for {longest:g} s", file=sys.stderr, flush=True)
                    os._exit(1)


def _start_server(task, timeout):
    try:
        with socket.socket() as probe:  # of a port that is taken, gRPC speaks in its own way on stderr
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", int(task.address.rsplit(":", 1)[1])))
        config = tf.ConfigProto(operation_timeout_in_ms=int(1000 * timeout / 4))
        return tf.train.Server(task.cluster, task.job, task.index, config=config)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"the {task} cannot listen on that port ({reason})") from error


def _session(server, *tasks, timeout=0.0):
    """A Session with these tasks alone, so that it needs no others."""
    filters = [task.device for task in tasks]
    return tf.Session(
        server.target, config=tf.ConfigProto(device_filters=filters, operation_timeout_in_ms=int(1000 * timeout))
    )


def _letter_box(task):
    """The variables on a task by which the chief and it know of each other: facts, beats."""
    with tf.device(task.device):
        return (
            tf.Variable(json.dumps(_facts(task)), name="facts", use_resource=False),
            tf.Variable(0, name="beats", dtype=tf.int64, use_resource=False),
        )


def _facts(task):
    """What must be the same for all tasks."""
    return {"TensorFlow": tf.__version__, "mnist_cnn": mnist_cnn.__version__, "the cluster": task.cluster}


def _lost(error):
    """The error in its chain of causes that says that another task is lost, or None."""
    while error is not None and not isinstance(error, _LOST):
        error = error.__cause__
    return error


class _EachLineOnce:
    """A stream. A run that goes on prints the lines of its finished epochs again; here once is enough."""

    def __init__(self, stream):
        self._stream, self._said, self._line = stream, set(), ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                self._stream.write(line + "\n")

    def flush(self):
        self._stream.flush()


def _notice(line):
    print(f"NOTICE: {line}", file=sys.stderr, flush=True)
