"""`tensorflow` as scripts for 1.x know it, on TensorFlow 2; and their imports of modules that it no longer has."""

import functools
import importlib
import importlib.abc
import importlib.machinery
import logging
import os
import re
import sys
import types
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from mnist_cnn import input_data
from mnist_cnn.compat.namespace import Namespace, has_tf_keras
from mnist_cnn.tf1 import tf

IS_TENSORFLOW_2 = not tf.__version__.startswith("1.")


@functools.lru_cache(maxsize=None)
def load_tensorflow1() -> Any:
    """Returns `tf` for a script written for TensorFlow 1.x, and prepares this process for it.

    On 1.15 this is `tensorflow`. On TensorFlow 2 it is `tensorflow.compat.v1` with a part of `tf.contrib`, after
    `disable_v2_behavior()` and, if tf_keras is installed, with Keras 2. On both, the imports of
    `tensorflow.examples.tutorials.mnist` and of contrib.learn's MNIST give `mnist_cnn.input_data`.
    """
    # TensorFlow's dependency absl defines a flag of its own that many scripts define too.
    if "log_dir" in tf.flags.FLAGS:
        delattr(tf.flags.FLAGS, "log_dir")
    if not IS_TENSORFLOW_2:
        import tensorflow

        from mnist_cnn.compat import datasets

        sys.modules["tensorflow.examples.tutorials.mnist.input_data"] = input_data
        sys.modules["tensorflow.contrib.learn.python.learn.datasets.mnist"] = datasets.mnist
        # 1.15 does not set this attribute, which makes `import tensorflow.examples.tutorials.mnist as name` fail.
        importlib.import_module("tensorflow.examples.tutorials.mnist")
        tensorflow.examples.tutorials = sys.modules["tensorflow.examples.tutorials"]
        return tensorflow
    if has_tf_keras():
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # read when TensorFlow first uses Keras
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)  # disable_v2_behavior warns that it is deprecated
    tf.disable_v2_behavior()
    logger.setLevel(level)
    tensorflow1 = _TensorFlow1()
    # Before Python's own finders, which would find TensorFlow 2's modules, and Keras 3.
    sys.meta_path.insert(0, _Finder(tensorflow1))
    return tensorflow1


# Removed by NumPy 1.24, 2.0 and later.
_OLD_NUMPY_NAMES = {
    "bool": bool,
    "complex": complex,
    "float": float,
    "int": int,
    "object": object,
    "str": str,
    "Inf": np.inf,
    "NaN": np.nan,
    "float_": np.float64,
    "infty": np.inf,
    "alltrue": np.all,
    "cumproduct": np.cumprod,
    "product": np.prod,
    "sometrue": np.any,
}


def replace_tensorflow() -> None:
    """Makes `import tensorflow` give TensorFlow 1.x in this process, and gives NumPy the names that it had then."""
    sys.modules["tensorflow"] = load_tensorflow1()
    for name, value in _OLD_NUMPY_NAMES.items():
        if name not in vars(np):  # not hasattr: NumPy warns when it is asked for a removed name
            setattr(np, name, value)


class _TensorFlow1(Namespace):
    """tensorflow.compat.v1 with `contrib` and `examples`."""

    def __init__(self) -> None:
        import tensorflow

        super().__init__(
            "tensorflow",
            tf,
            compat=tensorflow.compat,
            python=sys.modules["tensorflow.python"],
            layers=Namespace("tensorflow.layers", tf.layers),
            nn=Namespace(
                "tensorflow.nn",
                tf.nn,
                rnn_cell=Namespace("tensorflow.nn.rnn_cell", tf.nn.rnn_cell),
                **{name: _only_named(getattr(tf.nn, name)) for name in _WITH_NAMED_ARGUMENTS},
            ),
        )
        self.__path__ = tensorflow.__path__  # where the import system finds tensorflow.python, for example
        self.__file__, self.__spec__ = tensorflow.__file__, tensorflow.__spec__

    def __getattr__(self, name: str) -> Any:
        # Imported on first use: contrib needs an extra, and `mnist` this module.
        if name == "contrib":
            from mnist_cnn.compat.contrib import contrib

            return contrib
        if name == "examples":
            from mnist_cnn.compat import mnist

            package = Namespace("tensorflow.examples.tutorials.mnist", mnist)
            return Namespace("tensorflow.examples", tutorials=Namespace("tensorflow.examples.tutorials", mnist=package))
        return super().__getattr__(name)


_WITH_NAMED_ARGUMENTS = (
    "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits",
    "sparse_softmax_cross_entropy_with_logits",
)


def _only_named(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function refuse arguments by position, as TensorFlow 1.x did. TensorFlow 2 takes them for others."""

    @functools.wraps(function)
    def refuse_positions(*args: Any, **named: Any) -> Any:
        if args:
            raise ValueError(
                f"{function.__name__}(...): before TensorFlow 1.0 its arguments had no names; write labels=..., "
                "logits=... (the predictions are the logits)"
            )
        return function(**named)

    return refuse_positions


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of TensorFlow 1.x, such as tensorflow.contrib.slim and tensorflow.train."""

    def __init__(self, tensorflow1: _TensorFlow1):
        self._tensorflow1 = tensorflow1

    def find_spec(self, name: str, path: Any, target: Any = None) -> Optional[importlib.machinery.ModuleSpec]:
        package, _, submodule = name.partition(".")
        if package != "tensorflow" or not self._may_find(submodule.split(".")[0]) or self._find(name) is None:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def _may_find(self, child: str) -> bool:
        """Returns whether tensorflow.CHILD is to be TensorFlow 1.x's, if that has it."""
        if sys.modules.get("tensorflow") is not self._tensorflow1:  # `tensorflow` is TensorFlow 2, for other packages
            return child in ("contrib", "examples", "keras")
        # TensorFlow 2's own files import those of the same folder.
        return child != "compat" and not Path(self._tensorflow1.__file__).with_name(child).is_dir()

    def exec_module(self, module: types.ModuleType) -> None:
        sys.modules[module.__name__] = self._find(module.__name__)  # in place of the empty module

    def _find(self, name: str) -> Any:
        # contrib's own files, such as contrib/layers/python/layers/initializers.py, are all found in contrib.layers.
        is_contrib = name.startswith("tensorflow.contrib.")
        public_name = re.sub(r"\.python\b(\.\w+)?", "", name) if is_contrib else name
        module: Any = self._tensorflow1
        for part in public_name.split(".")[1:]:
            child = getattr(module, part, None)
            if not isinstance(child, types.ModuleType):
                return module if public_name != name else None
            module = child
        return module
