"""The session loop. It can be killed at any instant, and goes on from its newest checkpoint to the same bits."""

import contextlib
import math
import sys
import time

from tqdm import tqdm

from mnist_cnn import checkpoints, runs
from mnist_cnn.data import batch_indices
from mnist_cnn.errors import InputError, Stopped, TrainingFailed
from mnist_cnn.evaluation import evaluate
from mnist_cnn.model import build_model
from mnist_cnn.recipes import MAX_SEED, PUBLISHED, check_whole, recorded
from mnist_cnn.stopping import StopRequests
from mnist_cnn.tf1 import tf


def train(
    dataset, run_dir=None, recipe=None, seed=None, max_steps=None, model=None, resume=False, checkpoint_secs=30
):
    """Trains a network on a Dataset and writes a run directory.

    Prints the tutorial's lines to stdout: the average cost of each epoch and at last the test accuracy.
    A progress bar shows on stderr where that is a terminal. As in the tutorial, an epoch is
    len(dataset.train) // recipe.batch_size steps.

    Args:
      dataset: a Dataset, from `load_mnist()` or `load_sample()`.
      run_dir: a new or empty folder, by default runs/<date-time>; to resume, a run's folder, by default
        that of the newest unfinished run in runs/.
      recipe: a Recipe; by default what a resumed run had, else the one published for the model.
      seed: an int in 0..2³²-1, which alone decides all that is random; by default what a resumed run had, else 1.
      max_steps: where to stop if the recipe would take more steps; the run is then not "completed".
      model: "cnn" or "mlp"; by default what a resumed run had, else "cnn".
      resume: go on from the newest good checkpoint, to the same bits as if the run had not been stopped.
      checkpoint_secs: seconds from one checkpoint to the next; there is one at each epoch's end, too.

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
    if not 0 < checkpoint_secs < math.inf:
        raise InputError(f"checkpoint_secs is {checkpoint_secs}: it must be finite and above 0")
    if resume:
        run_dir, config = runs.to_resume(run_dir)
        if config:
            its_model, its_recipe, its_seed = recorded(config)
            model, recipe = model or its_model, recipe or its_recipe
            seed = its_seed if seed is None else seed
    model = model or "cnn"
    if model not in PUBLISHED:
        raise InputError(f"model is {model!r}: it must be one of {', '.join(PUBLISHED)}")
    recipe = recipe or PUBLISHED[model]
    seed = 1 if seed is None else seed
    check_whole("seed", seed, 0, MAX_SEED)
    check_whole("batch_size", recipe.batch_size, 1, len(dataset.train))
    if max_steps is not None:
        check_whole("max_steps", max_steps, 1)
    steps_per_epoch = len(dataset.train) // recipe.batch_size
    all_steps = steps_per_epoch * recipe.epochs
    last_step = min(all_steps, max_steps or all_steps)

    with runs.opened(run_dir, resume) as run, tf.Graph().as_default(), tf.Session() as session:
        network = build_model(model, recipe.learning_rate, seed)
        saver = checkpoints.saver()
        finite = tf.reduce_all([tf.reduce_all(tf.is_finite(weights)) for weights in tf.trainable_variables()])
        prefix, state = checkpoints.newest(run, _notice) if resume else (None, None)
        config = runs.describe(model, recipe, seed, dataset, tf.__version__)
        if state is None:
            if resume:
                _notice(f"{run} has no checkpoint yet: training begins at step 0")
            session.run(tf.global_variables_initializer())
            # Beside the variables, this is all there is to a run's state.
            state = {"step": 0, "epoch_cost": 0.0, "epoch_seconds": 0.0, "history": [], "config": config}
        else:
            for line in runs.differences(run, state["config"], config):
                _notice(line)
            state["config"] = config
            if not state["step"] <= last_step:
                raise InputError(f"{run} has taken {state['step']} steps already, and was asked for {last_step}")
            checkpoints.restore(session, saver, prefix)
        history = state["history"]
        checkpoint_seconds, saved_step, saved_at = 0.0, state["step"], time.monotonic()

        def save():
            nonlocal checkpoint_seconds, saved_step, saved_at
            started = saved_at = time.monotonic()
            if not session.run(finite):
                raise _not_finite("a weight", state["step"], saved_step)
            best = max(history, key=lambda row: row["validation_accuracy"], default={"epoch": 0})
            checkpoints.save(run, session, saver, state, best["epoch"] * steps_per_epoch)
            runs.write_history(run, history)
            saved_step, saved_at = state["step"], time.monotonic()
            checkpoint_seconds += saved_at - started

        try:
            with contextlib.suppress(FileNotFoundError):
                (run / "result.json").unlink()
            runs.write_json(run, "config.json", config)
            runs.write_history(run, history)
            if prefix is None:
                save()
        except OSError as error:
            raise TrainingFailed(f"the run cannot be saved, so it does not start: {error}") from error
        for row in history:
            _print(_epoch_line(row))

        with StopRequests() as stop, tqdm(
            total=last_step * recipe.batch_size,
            initial=state["step"] * recipe.batch_size,
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,  # where stderr is no terminal
        ) as bar:
            while state["step"] < last_step and not stop.signum:
                started = time.perf_counter()
                images, labels = dataset.train.batch(
                    batch_indices(len(dataset.train), recipe.batch_size, seed, state["step"])
                )
                _, cost = session.run(
                    [network.train_op, network.cost],
                    feed_dict={network.images: images, network.labels: labels, network.keep_prob: recipe.keep_prob},
                )
                if not math.isfinite(cost):
                    raise _not_finite("the cost", state["step"] + 1, saved_step)
                state["step"] += 1
                state["epoch_cost"] += float(cost)
                state["epoch_seconds"] += time.perf_counter() - started
                bar.update(recipe.batch_size)
                epoch_ends = state["step"] % steps_per_epoch == 0
                if epoch_ends:
                    seconds = state["epoch_seconds"]
                    history.append(
                        {
                            "epoch": len(history) + 1,
                            "avg_cost": state["epoch_cost"] / steps_per_epoch,
                            "validation_accuracy": evaluate(session, network, dataset.validation).accuracy,
                            "learning_rate": recipe.learning_rate,
                            "seconds": seconds,
                            "images_per_second": steps_per_epoch * recipe.batch_size / seconds,
                        }
                    )
                    state["epoch_cost"], state["epoch_seconds"] = 0.0, 0.0
                if epoch_ends or time.monotonic() - saved_at >= checkpoint_secs:
                    try:
                        save()
                    except OSError as error:
                        _notice(f"{error}; training goes on, and tries again at the next checkpoint")
                if epoch_ends:
                    _print(_epoch_line(history[-1]))
            unsaved = None
            if saved_step != state["step"]:
                try:
                    save()
                except OSError as error:
                    unsaved = error
            if stop.signum:
                raise Stopped(
                    stop.signum,
                    f"stopped after step {state['step']} of {last_step}, "
                    + (f"of which {saved_step} are saved ({unsaved})" if unsaved else "and saved")
                    + f"; to go on: --resume --run-dir {run}",
                )

        test_accuracy = float(evaluate(session, network, dataset.test).accuracy)
        result = {
            "completed": last_step == all_steps,
            "dataset": dataset.name,
            "model": model,
            "steps": last_step,
            "test_accuracy": test_accuracy,
            "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
            "train_seconds": sum(row["seconds"] for row in history) + state["epoch_seconds"],
            "checkpoint_seconds": checkpoint_seconds,
            "run_dir": str(run),
        }
        _print(f"Accuracy: {test_accuracy:.4f}")
        try:
            runs.write_json(run, "result.json", result)
        except OSError as error:
            unsaved = unsaved or error
        if unsaved:
            raise TrainingFailed(f"the run is done, but cannot be saved: {unsaved}") from unsaved
    return result


def _not_finite(what, step, saved_step):
    return TrainingFailed(
        f"{what} is no longer finite at step {step}: try a lower --learning-rate; "
        f"the checkpoint of step {saved_step} is kept"
    )


def _epoch_line(row):
    return f"Epoch: {row['epoch']:04d} Avg. cost = {row['avg_cost']:.3f}"


def _print(line, file=None):
    # Past the bar, and at once, so that a pipe shows it too.
    tqdm.write(line, file=file or sys.stdout)
    (file or sys.stdout).flush()


def _notice(line):
    _print(f"NOTICE: {line}", sys.stderr)
