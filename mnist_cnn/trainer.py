"""The session loop."""

import platform
import sys
import time
from dataclasses import asdict

import numpy as np
from tqdm import tqdm

import mnist_cnn
from mnist_cnn import runs
from mnist_cnn.data import batch_indices
from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import evaluate
from mnist_cnn.model import build_model
from mnist_cnn.recipes import MAX_SEED, PUBLISHED, check_whole
from mnist_cnn.tf1 import tf


def train(dataset, run_dir=None, recipe=None, seed=1, max_steps=None, model="cnn"):
    """Trains a network on a Dataset and writes a run directory.

    Prints the tutorial's lines to stdout: the average cost of each epoch and at last the test accuracy.
    A progress bar shows on stderr where that is a terminal. As in the tutorial, an epoch is
    len(dataset.train) // recipe.batch_size steps.

    Args:
      dataset: a Dataset, from `load_mnist()` or `load_sample()`.
      run_dir: a new or empty folder; by default runs/<date-time>.
      recipe: a Recipe; by default the one published for the model.
      seed: an int in 0..2³²-1, which alone decides all that is random.
      max_steps: where to stop if the recipe would take more steps; the run is then not "completed".
      model: "cnn" or "mlp".

    Returns:
      A dict, as in the run's result.json: completed, dataset, model, steps, test_accuracy,
      validation_accuracy (the newest epoch's, or None), train_seconds (steps alone), run_dir.

    Raises:
      InputError: an argument is out of its range, or `run_dir` cannot be used.
    """
    if model not in PUBLISHED:
        raise InputError(f"model is {model!r}: it must be one of {', '.join(PUBLISHED)}")
    recipe = recipe or PUBLISHED[model]
    check_whole("batch_size", recipe.batch_size, 1, len(dataset.train))
    check_whole("seed", seed, 0, MAX_SEED)
    if max_steps is not None:
        check_whole("max_steps", max_steps, 1)
    steps_per_epoch = len(dataset.train) // recipe.batch_size
    all_steps = steps_per_epoch * recipe.epochs
    last_step = min(all_steps, max_steps or all_steps)

    run = runs.create(run_dir)
    runs.write_json(run, "config.json", _config(model, dataset, recipe, seed))
    with tf.Graph().as_default(), tf.Session() as session:
        network = build_model(model, recipe.learning_rate, seed)
        saver = tf.train.Saver(max_to_keep=3, save_relative_paths=True)
        session.run(tf.global_variables_initializer())
        # Beside the variables, these three are all there is to a run's state.
        history, epoch_cost, epoch_seconds = [], 0.0, 0.0
        with tqdm(
            total=last_step * recipe.batch_size,
            unit=" images",
            unit_scale=True,
            leave=False,
            disable=None,  # where stderr is no terminal
        ) as bar:
            for step in range(last_step):
                started = time.perf_counter()
                images, labels = dataset.train.batch(
                    batch_indices(len(dataset.train), recipe.batch_size, seed, step)
                )
                _, cost = session.run(
                    [network.train_op, network.cost],
                    feed_dict={network.images: images, network.labels: labels, network.keep_prob: recipe.keep_prob},
                )
                epoch_cost += float(cost)
                epoch_seconds += time.perf_counter() - started
                bar.update(recipe.batch_size)
                if (step + 1) % steps_per_epoch == 0:
                    history.append(
                        {
                            "epoch": len(history) + 1,
                            "avg_cost": epoch_cost / steps_per_epoch,
                            "validation_accuracy": evaluate(session, network, dataset.validation).accuracy,
                            "learning_rate": recipe.learning_rate,
                            "seconds": epoch_seconds,
                            "images_per_second": steps_per_epoch * recipe.batch_size / epoch_seconds,
                        }
                    )
                    epoch_cost, epoch_seconds = 0.0, 0.0
                    runs.save(run, session, saver, step + 1)
                    runs.write_history(run, history)
                    _print("Epoch: {epoch:04d} Avg. cost = {avg_cost:.3f}".format(**history[-1]))
        if last_step % steps_per_epoch:
            runs.save(run, session, saver, last_step)
        test_accuracy = evaluate(session, network, dataset.test).accuracy
    result = {
        "completed": last_step == all_steps,
        "dataset": dataset.name,
        "model": model,
        "steps": last_step,
        "test_accuracy": test_accuracy,
        "validation_accuracy": history[-1]["validation_accuracy"] if history else None,
        "train_seconds": sum(row["seconds"] for row in history) + epoch_seconds,
        "run_dir": str(run),
    }
    runs.write_json(run, "result.json", result)
    _print(f"Accuracy: {test_accuracy:.4f}")
    return result


def _config(model, dataset, recipe, seed):
    return {
        "model": model,
        "recipe": asdict(recipe),
        "seed": seed,
        "dataset": {"name": dataset.name, "sha256": dataset.digest()},
        "versions": {
            "mnist_cnn": mnist_cnn.__version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
    }


def _print(line):
    # Past the bar, and at once, so that a pipe shows it too.
    tqdm.write(line)
    sys.stdout.flush()
