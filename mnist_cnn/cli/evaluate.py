"""Prints a trained run's accuracy on the test images of the dataset it was trained on."""

from mnist_cnn.cli.command import Parser, load_tensorflow, notice, trained_on


def main():
    parser = Parser(__doc__)
    parser.add_argument("--run-dir", metavar="DIR", help="default: the newest completed run in runs/")
    parser.add_data_arguments()
    parser.run(work)


def work(args):
    from mnist_cnn.run_dir import directory

    run = args.run_dir or directory.latest_run(completed=True)
    dataset = trained_on(run, args)
    load_tensorflow(args.debug)
    from mnist_cnn import evaluate, restore_run

    with restore_run(run, report=notice) as (session, model):
        print(f"Accuracy: {evaluate(session, model, dataset.test).accuracy:.4f}")


if __name__ == "__main__":
    main()
