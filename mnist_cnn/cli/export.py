"""Writes a trained run as a SavedModel, for TensorFlow Serving and others, and prints the folder it is in."""

from mnist_cnn.cli.command import Parser, load_tensorflow, notice


def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--export-dir",
        metavar="DIR",
        required=True,
        help="where the model is written to, into a new folder: DIR/1, or the next number",
    )
    parser.add_argument("--run-dir", metavar="DIR", help="default: the newest completed run in runs/")
    parser.run(work)


def work(args):
    from mnist_cnn.run_dir import directory

    run = args.run_dir or directory.latest_run(completed=True)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier

    with Classifier.load(run, report=notice) as classifier:
        print(classifier.export(args.export_dir))


if __name__ == "__main__":
    main()
