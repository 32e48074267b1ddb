from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# mlxtend 0.24 and later need a newer SciPy than Python 3.7 has.
SAMPLE = ["mlxtend>=0.23,<0.24"]

DOWNLOAD = ["requests"]
IMAGES = ["pillow>=9.5", "scipy"]
REPORT = ["matplotlib>=3.5"]
SERVE = IMAGES + ["flask>=2.2", "waitress>=2.1.2"]

setup(
    name="mnist_cnn",
    version="0.1.0",
    description="The tutorial's MNIST network in TensorFlow's 1.x style, installable anywhere",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["mnist_cnn", "mnist_cnn.*"]),
    package_data={"mnist_cnn": ["report.html"], "mnist_cnn.server": ["static/*"]},
    python_requires=">=3.7",
    install_requires=[
        line
        for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ],
    extras_require={
        "download": DOWNLOAD,
        "images": IMAGES,
        "notebook": REPORT + ["notebook"],
        "report": REPORT,
        "sample": SAMPLE,
        "serve": SERVE,
        "tensorboard": ["tensorboard"],
        "test": DOWNLOAD
        + REPORT
        + SAMPLE
        + SERVE
        + ["hypothesis", "ipykernel", "nbclient", "pytest", "pytest-xdist"]
        + ["playwright; python_version >= '3.9'"],
    },
)
