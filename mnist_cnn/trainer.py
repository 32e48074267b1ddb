"""The session loop. It can be killed at any instant, and goes on from its newest checkpoint to the same bits."""

import contextlib
import math
import sys
import time

from tqdm import tqdm

from mnist_cnn.data.mnist import iterate_batches
from mnist_cnn.errors import InputError, Stopped, TrainingFailed
from mnist_cnn.evaluation import evaluate
from mnist_cnn.model import build_model
from mnist_cnn.recipes import check_int, check_positive, resolve_config
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.run_dir.signals import GracefulShutdown
from mnist_cnn.run_dir.summaries import Summaries
from mnist_cnn.tf1 import new_session, tf


def train(
    dataset,
    run_dir=None,
    recipe=None,
    seed=None,
    max_steps=None,
    model=None,
    resume=False,
    checkpoint_secs=30,
    mixed_precision=False,
    after_step=None,
    target="",
    build=build_model,
):
    """Trains a network on a Dataset and writes a run directory.

    Prints the tutorial's lines to stdout: the average cost of each epoch and at last the test accuracy.
    A progress bar shows on stderr where that is a terminal. As in the tutorial, an epoch is
    len(dataset.train) // recipe.batch_size steps.

    Args:
      dataset: a Dataset, from `load_mnist()` or `load_sample()`.
      run_dir: a new or empty folder, by default runs/<date-time>; to resume, a run's folder, by default
        that of the newest unfinished run in runs/.
      recipe: "original", "fast", "accurate" or a Recipe; by default what a resumed run had, else the one
        published for the model.
      seed: an int in 0..2³²-1, which alone decides all that is random; by default what a resumed run had, else 1.
      max_steps: where to stop if the recipe would take more steps; the run is then not "completed".
      model: "cnn" or "mlp"; by default what a resumed run had, else "cnn".
      resume: go on from the newest good checkpoint, to the same bits as if the run had not been stopped.
      checkpoint_secs: seconds from one checkpoint to the next; there is one at each epoch's end, too.
      mixed_precision: let convolutions and products be computed in bfloat16.
      after_step: called with nothing after each step.
      target, build: on a cluster, the target of its sessions, and what is called in place of `build_model`.

    Returns:
      A dict, as in the run's result.json: completed, dataset, model, steps, test_accuracy,
      validation_accuracy (the newest epoch's, or None), train_seconds and checkpoint_seconds
      (of steps and of checkpoints alone; the latter of this process), run_dir.

    Raises:
      InputError: an argument is out of its range, or differs from what a resumed run had,
        or `run_dir` cannot be used, or all its checkpoints are damaged.
      TrainingFailed: the cost is no longer finite, or the run's first or last checkpoint cannot be written.
      Stopped: Ctrl-C, SIGTERM or SIGHUP came; the step was finished and saved. A second one stops at once.
    """
    config = None
    if resume:
        run_dir, config = directory.find_run_to_resume(run_dir)
    model, recipe, seed = resolve_config(config, model, recipe, seed)
    check_int("batch_size", recipe.batch_size, 1, len(dataset.train))
    if max_steps is not None:
        check_int("max_steps", max_steps, 1)
    check_positive("checkpoint_secs", checkpoint_secs)

    with tf.Graph().as_default(), new_session(mixed_precision, target) as session, directory.open_run_dir(run_dir, resume) as run:
        training = _Training(run, session, dataset, model, recipe, seed, mixed_precision, build)
        last_step = min(training.steps, max_steps or training.steps)
        training.begin(resume, last_step)
        unsaved = training.go_on(last_step, checkpoint_secs, after_step)
        result = {
            "completed": last_step == training.steps,
            "dataset": dataset.name,
            "model": model,
            "steps": last_step,
            **training.figures(),
            "run_dir": str(run),
        }
        _print(f"Accuracy: {result['test_accuracy']:.4f}")
        try:
            directory.write_json(run, "result.json", result)
        except OSError as error:
            unsaved = unsaved or error
        if unsaved:
            raise TrainingFailed(f"the run is done, but cannot be saved: {unsaved}") from unsaved
    return result


class _Training:
    """A run under way: its session, and what is saved of it."""

    def __init__(self, run, session, dataset, model, recipe, seed, mixed_precision, build):
        self.run, self.session, self.dataset, self.recipe, self.seed = run, session, dataset, recipe, seed
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        self.steps = self.steps_per_epoch * recipe.epochs
        self.learning_rate = tf.placeholder(tf.float32, [], "learning_rate")
        self.network = network = build(model, self.learning_rate, seed, recipe.initial_weights)
        # Quicker than session.run.
        self.take_step = session.make_callable(
            [network.train_op, network.cost],
            feed_list=[network.images, network.labels, network.keep_prob, self.learning_rate],
        )
        with tf.device(network.images.device):  # of a cluster the host where the run is
            self.saver = checkpoints.saver()
            self.summaries = Summaries(run, session)
            self.finite = tf.reduce_all([tf.reduce_all(tf.is_finite(weights)) for weights in tf.trainable_variables()])
        # Beside the variables, this is all there is to a run's state.
        config = directory.describe_run(model, recipe, seed, dataset, tf.__version__, mixed_precision)
        self.state = {"step": 0, "epoch_cost": 0.0, "epoch_seconds": 0.0, "history": [], "config": config}
        self.saved_step, self.saved_at, self.checkpoint_seconds = None, time.monotonic(), 0.0

    def begin(self, resume, last_step):
        """At step 0, or where the newest good checkpoint is; all that can be written anew is."""
        prefix, state = checkpoints.latest_checkpoint(self.run, _notice) if resume else (None, None)
        if state is not None:
            config = self.state["config"]
            for line in directory.check_resume_compatible(self.run, state["config"], config):
                _notice(line)
            if state["step"] > last_step:
                raise InputError(f"{self.run} has taken {state['step']} steps already, and was asked for {last_step}")
            checkpoints.restore(self.session, self.saver, prefix)
            self.state, self.saved_step = {**state, "config": config}, state["step"]
        else:
            if resume:
                _notice(f"{self.run} has no checkpoint yet: training begins at step 0")
            self.session.run(tf.global_variables_initializer())
        try:
            with contextlib.suppress(FileNotFoundError):
                (self.run / "result.json").unlink()
            directory.write_json(self.run, "config.json", self.state["config"])
            directory.write_history(self.run, self.state["history"])
            if self.saved_step is None:
                self.save()
            self.summaries.begin(self.state["step"])
        except OSError as error:
            raise TrainingFailed(f"the run cannot be saved, so it does not start: {error}") from error
        for row in self.state["history"]:
            _print(_epoch_line(row))

    def go_on(self, last_step, checkpoint_secs, after_step):
        """Takes the steps that are left, and saves. Returns the error if in the end that failed, else None."""
        state, batch_size = self.state, self.recipe.batch_size
        bar = tqdm(
            total=last_step * batch_size,
            initial=state["step"] * batch_size,
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,  # where stderr is no terminal
        )
        feeding = contextlib.closing(iterate_batches(self.dataset.train, self.recipe, self.seed, state["step"]))
        with GracefulShutdown() as stop, bar, feeding as batch, contextlib.closing(self.summaries):
            while state["step"] < last_step and not stop.signum:
                self.step(batch)
                bar.update(batch_size)
                if after_step:
                    after_step()
                epoch_ends = state["step"] % self.steps_per_epoch == 0
                if epoch_ends:
                    self.end_epoch()
                if epoch_ends or time.monotonic() - self.saved_at >= checkpoint_secs:
                    error = self.try_to_save()
                    if error:
                        _notice(f"{error}; training goes on, and tries again at the next checkpoint")
                if epoch_ends:
                    _print(_epoch_line(state["history"][-1]))
            unsaved = self.try_to_save() if self.saved_step != state["step"] else None
            if stop.signum:
                saved = f"saved up to step {self.saved_step} ({unsaved})" if unsaved else "saved"
                done = f"stopped after step {state['step']} of {last_step}, {saved}"
                raise Stopped(stop.signum, f"{done}; to go on: --resume --run-dir {self.run}")
        return unsaved

    def step(self, batches):
        started = time.perf_counter()
        images, labels = next(batches)
        learning_rate = self.recipe.learning_rate_at(self.state["step"], self.steps)
        _, cost = self.take_step(images, labels, self.recipe.keep_prob, learning_rate)
        self.state["step"] += 1
        if not math.isfinite(cost):
            raise self.not_finite("the cost")
        self.state["epoch_cost"] += float(cost)
        seconds = time.perf_counter() - started
        self.state["epoch_seconds"] += seconds
        self.summaries.step(self.state["step"], cost, learning_rate, len(labels), seconds)

    def end_epoch(self):
        state = self.state
        state["history"].append(
            {
                "epoch": len(state["history"]) + 1,
                "avg_cost": state["epoch_cost"] / self.steps_per_epoch,
                "validation_accuracy": evaluate(self.session, self.network, self.dataset.validation).accuracy,
                "learning_rate": self.recipe.learning_rate_at(state["step"] - 1, self.steps),
                "seconds": state["epoch_seconds"],
                "images_per_second": self.steps_per_epoch * self.recipe.batch_size / state["epoch_seconds"],
            }
        )
        state["epoch_cost"] = state["epoch_seconds"] = 0.0
        self.summaries.epoch(state["step"], state["history"][-1]["validation_accuracy"])

    def save(self):
        started = self.saved_at = time.monotonic()  # a failure, too, is tried again only after a while
        if not self.session.run(self.finite):
            raise self.not_finite("a weight")
        history = self.state["history"]
        best = max(history, key=lambda row: row["validation_accuracy"], default={"epoch": 0})
        checkpoints.save(self.run, self.session, self.saver, self.state, best["epoch"] * self.steps_per_epoch)
        directory.write_history(self.run, history)
        self.saved_step, self.saved_at = self.state["step"], time.monotonic()
        self.checkpoint_seconds += self.saved_at - started

    def try_to_save(self):
        try:
            self.save()
        except OSError as error:
            return error

    def figures(self):
        history = self.state["history"]
        return {
            "test_accuracy": float(evaluate(self.session, self.network, self.dataset.test).accuracy),
            "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
            "train_seconds": sum(row["seconds"] for row in history) + self.state["epoch_seconds"],
            "checkpoint_seconds": self.checkpoint_seconds,
        }

    def not_finite(self, what):
        return TrainingFailed(
            f"{what} is no longer finite at step {self.state['step']}: try a lower --learning-rate; "
            f"the checkpoint of step {self.saved_step} is kept"
        )


def _epoch_line(row):
    return f"Epoch: {row['epoch']:04d} Avg. cost = {row['avg_cost']:.3f}"


def _print(line, file=None):
    # Past the bar, and at once, so that a pipe shows it too.
    tqdm.write(line, file=file or sys.stdout)
    (file or sys.stdout).flush()


def _notice(line):
    _print(f"NOTICE: {line}", sys.stderr)
