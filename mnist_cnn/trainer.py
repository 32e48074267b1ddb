"""The session loop. Crash-safe: a run resumes from its latest checkpoint with bit-identical results."""

import contextlib
import logging
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

import numpy as np

from mnist_cnn.data.batching import iterate_batches
from mnist_cnn.data.mnist import Dataset
from mnist_cnn.errors import InputError, Stopped, TrainingFailed
from mnist_cnn.evaluation import evaluate
from mnist_cnn.model import Model, build_model, inference
from mnist_cnn.progress import make_bar, print_line
from mnist_cnn.recipes import Recipe
from mnist_cnn.refusal import find_min_probability
from mnist_cnn.run_dir import checkpoints, directory
from mnist_cnn.run_dir.config import RunConfig, check_resume_compatible, describe_run, resolve_config
from mnist_cnn.run_dir.replay import Recorder
from mnist_cnn.run_dir.signals import GracefulShutdown
from mnist_cnn.run_dir.summaries import Summaries
from mnist_cnn.tf1 import get_gpus, new_session, tf, uses_onednn

logger = logging.getLogger(__name__)


def train(
    dataset: Dataset,
    run_dir: Union[str, Path, None] = None,
    recipe: Union[str, Recipe, None] = None,
    seed: Optional[int] = None,
    max_steps: Optional[int] = None,
    model: Optional[str] = None,
    resume: bool = False,
    checkpoint_secs: float = 30,
    mixed_precision: Optional[bool] = None,
    replay: Optional[int] = None,
) -> Dict[str, Any]:
    """Trains a network on a Dataset and writes a run directory.

    Prints the tutorial's lines to stdout: the average cost of each epoch, and finally the test accuracy.
    Shows a progress bar on stderr if that is a terminal. As in the tutorial, an epoch is
    len(dataset.train) // recipe.batch_size steps.

    Args:
      dataset: a Dataset, from `load_mnist()`, `load_folder()` or another function that loads data.
      run_dir: a new or empty directory; default: runs/<date-time>. With `resume`, the directory of the run; default:
        that of the latest unfinished run in runs/.
      recipe: "original", "fast", "accurate" or a Recipe; default: the resumed run's, otherwise the one that the
        model was published with.
      seed: an int in 0..2³²-1, which determines everything random; default: the resumed run's, otherwise 1.
      max_steps: upper limit on the number of steps. A run that it cuts short is not "completed".
      model: a name in MODELS; default: the resumed run's, otherwise "cnn".
      resume: continue from the latest undamaged checkpoint, bit-identical to an uninterrupted run.
      checkpoint_secs: seconds between checkpoints; a checkpoint is also written at the end of each epoch.
      mixed_precision: compute convolutions and matrix products in bfloat16; default: the resumed run's, or False.
      replay: the number of snapshots of the weights to keep, 3 to 100, for the page's replay of the training.

    Returns:
      The content of the run's result.json: completed, dataset, model, steps, test_accuracy,
      validation_accuracy (after the last finished epoch, or None), min_probability (see `refusal.py`), train_seconds
      (time in training steps), checkpoint_seconds (time in checkpointing, for this process only), run_dir.

    Raises:
      InputError: an argument is out of its range or differs from the resumed run's, or `run_dir` cannot be
        used, or all its checkpoints are damaged, or a split is empty.
      TrainingFailed: the cost became NaN or infinite, or the run's first or last checkpoint cannot be written.
      Stopped: SIGINT, SIGTERM or SIGHUP was received. The current step was finished and saved. A second signal
        stops immediately.
    """
    options = checkpoint_secs, mixed_precision
    config = resolve_config(run_dir, resume, model, recipe, seed, max_steps, *options, replay=replay)
    return Trainer(dataset, config).run()


@dataclass
class TrainingState:
    """Everything resumable that is not a TensorFlow variable."""

    config: Dict[str, Any]  # the content of config.json
    step: int = 0
    epoch_cost: float = 0.0  # sum of the costs since the start of the epoch
    epoch_seconds: float = 0.0  # time in training steps since the start of the epoch
    history: List[Dict[str, Any]] = field(default_factory=list)  # rows of history.csv


class Trainer:
    """One training run. A subclass may replace the session and the graph, or observe the steps."""

    def __init__(self, dataset: Dataset, config: RunConfig):
        if config.recipe.batch_size > len(dataset.train):
            raise InputError(
                f"batch_size is {config.recipe.batch_size}, and there are only {len(dataset.train):,} training images: "
                "choose a smaller batch size"
            )
        for name, split in ("validation", dataset.validation), ("test", dataset.test):
            if not len(split):
                raise InputError(f"the dataset has no {name} images, on which a run is measured")
        self.dataset, self.config, self.recipe = dataset, config, config.recipe
        self.steps_per_epoch = len(dataset.train) // self.recipe.batch_size
        self.total_steps = self.steps_per_epoch * self.recipe.epochs
        self.last_step = min(self.total_steps, config.max_steps or self.total_steps)
        gpus = get_gpus()
        if gpus:
            logger.warning("training on %s", ", ".join(gpus))
        self.state = TrainingState(describe_run(config, dataset, tf.__version__, gpus, uses_onednn()))
        self.saved_step: Optional[int] = None
        self.saved_at = time.monotonic()
        self.checkpoint_seconds = 0.0
        self.save_error: Optional[OSError] = None  # of the latest attempt to save
        self.stdout_failed = False

    def run(self) -> Dict[str, Any]:
        """Trains, evaluates and writes the run directory; returns and raises as `train` does."""
        config = self.config
        with tf.Graph().as_default(), self.new_session() as self.session, directory.open_run_dir(
            config.run_dir, config.resume
        ) as self.run_dir:
            self.add_graph()
            self.initialize_or_restore()
            self.run_loop()
            return self.finish()

    def new_session(self) -> Any:
        """Creates the session."""
        return new_session(self.config.mixed_precision)

    def build_model(self, inference: Callable[..., Any] = inference) -> Model:
        """Adds the network and its training to the current graph."""
        config, recipe, classes = self.config, self.recipe, len(self.dataset.class_names)
        options = recipe.initial_weights, recipe.weight_decay, (recipe.beta1, recipe.beta2)
        return build_model(config.model, self.learning_rate, config.seed, *options, inference, classes)

    def add_graph(self) -> None:
        self.learning_rate = tf.placeholder(tf.float32, [], "learning_rate")
        self.model = model = self.build_model()
        # make_callable skips session.run's parsing of feeds and fetches at each call.
        self.run_train_op = self.session.make_callable(
            [model.train_op, model.cost],
            feed_list=[model.images, model.labels, model.keep_prob, self.learning_rate],
        )
        with tf.device(model.images.device):  # on a cluster, pin to the chief
            self.saver = checkpoints.make_saver()
            self.summaries = Summaries(self.run_dir, self.session, model)
            self.weights_are_finite = tf.reduce_all(
                [tf.reduce_all(tf.is_finite(weight)) for weight in model.weights.values()]
            )

    def initialize_or_restore(self) -> None:
        """Initialises at step 0 or restores the latest checkpoint; rewrites the run's text files."""
        run_dir, config = self.run_dir, self.state.config
        prefix, saved_state = checkpoints.latest_checkpoint(run_dir) if self.config.resume else (None, None)
        if prefix is not None and saved_state is not None:
            for warning in check_resume_compatible(run_dir, saved_state["config"], config):
                logger.warning(warning)
            if saved_state["step"] > self.last_step:
                raise InputError(f"{run_dir} is already at step {saved_state['step']}; requested only {self.last_step}")
            checkpoints.restore(self.session, self.saver, prefix)
            self.state = TrainingState(**{**saved_state, "config": config})
            self.saved_step = self.state.step
        else:
            if self.config.resume:
                logger.warning("%s has no checkpoint yet: training starts at step 0", run_dir)
            self.session.run(tf.global_variables_initializer())
            if self.config.init_from:
                checkpoints.restore_weights(self.session, self.model.weights, self.config.init_from, self.dataset)
        try:
            directory.write_json(run_dir, "config.json", config)
            directory.write_history(run_dir, self.state.history)
            if self.saved_step is None:
                self.save()
            if self.state.step < self.last_step:  # otherwise it is replaced by the same result
                with contextlib.suppress(FileNotFoundError):
                    (run_dir / "result.json").unlink()
            self.summaries.start(self.state.step)
        except OSError as error:
            raise TrainingFailed(f"the run cannot be saved, so it does not start: {error}") from error
        for row in self.state.history:
            self.print_line(format_epoch(row))

    def run_loop(self) -> None:
        """Trains until the last step, or until a signal asks to stop."""
        state = self.state
        # Among the drawn images are letters, which may be classes of other data.
        recipe = self.recipe if self.dataset.has_digits else replace(self.recipe, drawn_images=0.0)
        batch_size, validation = recipe.batch_size, self.dataset.validation
        batches = iterate_batches(self.dataset.train, recipe, self.config.seed, state.step)
        bar = make_bar(total=self.last_step * batch_size, initial=state.step * batch_size, unit=" images")
        recorder = Recorder(self.run_dir, self.config.replay, self.last_step, self.session, self.model, validation)
        recorder.record(state.step)
        with GracefulShutdown() as shutdown, bar, contextlib.closing(batches), contextlib.closing(self.summaries):
            while state.step < self.last_step and not shutdown.signum:
                started = time.perf_counter()
                images, labels = next(batches)
                cost = self.train_step(images, labels)
                self.record_step(cost, batch_size, time.perf_counter() - started)
                bar.update(batch_size)
                recorder.record(state.step)

                end_of_epoch = state.step % self.steps_per_epoch == 0
                if end_of_epoch:
                    self.end_epoch()
                if end_of_epoch or time.monotonic() - self.saved_at >= self.config.checkpoint_secs:
                    self.try_to_save()
                    if self.save_error:
                        logger.warning("%s; continuing, will retry at the next checkpoint", self.save_error)
                if end_of_epoch:
                    self.print_line(format_epoch(state.history[-1]))

            if self.saved_step != state.step:
                self.try_to_save()
            if shutdown.signum:
                saved = f"saved up to step {self.saved_step} ({self.save_error})" if self.save_error else "saved"
                message = f"stopped after step {state.step} of {self.last_step}, {saved}"
                raise Stopped(shutdown.signum, message, self.run_dir)

    def train_step(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Takes one step of Adam and returns the cost of the batch."""
        learning_rate = self.recipe.learning_rate_at(self.state.step, self.total_steps)
        _, cost = self.run_train_op(images, labels, self.recipe.keep_prob, learning_rate)
        self.state.step += 1
        if not math.isfinite(cost):
            raise self.not_finite_error("the cost")
        return cost

    def record_step(self, cost: float, num_images: int, seconds: float) -> None:
        """Called once after each step, which took `seconds`."""
        self.state.epoch_cost += float(cost)
        self.state.epoch_seconds += seconds
        learning_rate = self.recipe.learning_rate_at(self.state.step - 1, self.total_steps)
        self.summaries.add_step(self.state.step, cost, learning_rate, num_images, seconds)

    def end_epoch(self) -> None:
        """Evaluates on the validation split and adds a row to the history."""
        state = self.state
        validation_accuracy = evaluate(self.session, self.model, self.dataset.validation).accuracy
        state.history.append(
            {
                "epoch": len(state.history) + 1,
                "avg_cost": state.epoch_cost / self.steps_per_epoch,
                "validation_accuracy": validation_accuracy,
                "learning_rate": self.recipe.learning_rate_at(state.step - 1, self.total_steps),
                "seconds": state.epoch_seconds,
                "images_per_second": self.steps_per_epoch * self.recipe.batch_size / state.epoch_seconds,
            }
        )
        state.epoch_cost = state.epoch_seconds = 0.0
        self.summaries.add_epoch(state.step, validation_accuracy)

    def save(self) -> None:
        """Writes a checkpoint and history.csv.

        Raises:
          OSError: they cannot be written.
          TrainingFailed: a weight became NaN or infinite.
        """
        started = self.saved_at = time.monotonic()  # set before saving: also rate-limits retries after a failure
        if not self.session.run(self.weights_are_finite):
            raise self.not_finite_error("a weight")
        history = self.state.history
        best = max(history, key=lambda row: row["validation_accuracy"], default={"epoch": 0})
        best_step = best["epoch"] * self.steps_per_epoch
        checkpoints.save(self.run_dir, self.session, self.saver, asdict(self.state), best_step)
        directory.write_history(self.run_dir, history)
        self.saved_step, self.saved_at = self.state.step, time.monotonic()
        self.checkpoint_seconds += self.saved_at - started

    def try_to_save(self) -> None:
        """Saves; a full disk must not end the training, so that error is kept in `save_error`."""
        try:
            self.save()
            self.save_error = None
        except OSError as error:
            self.save_error = error

    def finish(self) -> Dict[str, Any]:
        """Evaluates on the test split, prints the accuracy and writes result.json."""
        history = self.state.history
        test_accuracy = float(evaluate(self.session, self.model, self.dataset.test).accuracy)
        result = {
            "completed": self.last_step == self.total_steps,
            "dataset": self.dataset.name,
            "model": self.config.model,
            "steps": self.last_step,
            "test_accuracy": test_accuracy,
            "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
            "min_probability": find_min_probability(self.session, self.model, self.dataset.validation),
            "train_seconds": sum(row["seconds"] for row in history) + self.state.epoch_seconds,
            "checkpoint_seconds": self.checkpoint_seconds,
            "run_dir": str(self.run_dir),
        }
        self.print_line(f"Accuracy: {test_accuracy:.4f}")
        try:
            directory.write_json(self.run_dir, "result.json", result)
        except OSError as error:
            self.save_error = self.save_error or error
        if self.save_error:
            message = f"the run is done, but cannot be saved: {self.save_error}"
            raise TrainingFailed(message, self.run_dir) from self.save_error
        return result

    def print_line(self, line: str) -> None:
        """Prints to stdout. If that fails, the run continues, with one warning."""
        error = print_line(line)
        if error and not self.stdout_failed:
            logger.warning("stdout cannot be written (%s); the run continues in %s", error, self.run_dir)
            self.stdout_failed = True

    def not_finite_error(self, name: str) -> TrainingFailed:
        return TrainingFailed(
            f"{name} became NaN or infinite at step {self.state.step}: try a lower learning rate; "
            f"the checkpoint of step {self.saved_step} is kept"
        )


def format_epoch(row: Dict[str, Any]) -> str:
    return f"Epoch: {row['epoch']:04d} Avg. cost = {row['avg_cost']:.3f}"
