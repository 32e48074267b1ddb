"""Serves a page on which one draws a digit and sees the network think, and TensorFlow Serving's REST form.

Prints its address once it answers.
"""

from _command import Parser, load_tensorflow, notice


def main():
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--run-dir",
        metavar="DIR",
        help="a run, or the folder of an exported model (default: the newest completed run in runs/)",
    )
    add("--host", default="127.0.0.1", help="the address to listen at (default: %(default)s, this machine alone)")
    add(
        "--port",
        type=int,
        default=8501,
        metavar="N",
        help="default: %(default)s, TensorFlow Serving's for REST; 0 takes a free one",
    )
    parser.run(work)


def work(args):
    from mnist_cnn import runs

    folder = args.run_dir or runs.newest(completed=True)
    load_tensorflow(args.debug)
    from mnist_cnn import Classifier
    from mnist_cnn.server.app import create_app

    with Classifier.load(folder, report=notice) as classifier:
        from waitress import create_server

        server = create_server(create_app(classifier), host=args.host, port=args.port)
        print(f"http://{args.host}:{server.effective_port}/", flush=True)
        server.run()


if __name__ == "__main__":
    main()
