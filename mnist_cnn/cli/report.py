"""Draws a trained run: its pictures and a page that shows them, into RUN/report/. Prints where the page is."""

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
    from mnist_cnn import draw_report

    print(draw_report(run, dataset, report=notice))


if __name__ == "__main__":
    main()
