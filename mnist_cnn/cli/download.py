"""Downloads MNIST's four files, unless they are there, verifies them, and prints the folder they are in."""

from mnist_cnn.cli.command import Parser


def main():
    parser = Parser(__doc__)
    parser.add_data_arguments()
    parser.run(work)


def work(args):
    from mnist_cnn.data.mnist import get_data_dir, load_mnist

    load_mnist(args.data_dir, args.mirror)
    print(get_data_dir(args.data_dir))


if __name__ == "__main__":
    main()
