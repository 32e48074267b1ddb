import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the package of this clone, not an installed one
from mnist_cnn.compat.runner import main

if __name__ == "__main__":
    main()
