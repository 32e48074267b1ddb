"""Modules that have their own members and, beyond these, those of another module."""

import importlib.util
import types
from typing import Any

from mnist_cnn.tf1 import tf

EXTRA_HINT = "pip install '.[tutorials]'"


class ExtraMissing(ImportError):
    """The extra `tutorials` is not installed."""


class Namespace(types.ModuleType):
    """A module that has its own members and, beyond these, those of another module.

    Args:
      name: its name, such as tensorflow.contrib.layers.
      fallback: the other module, or None.
      members: its own members.

    Attribute access raises:
      AttributeError: neither has the attribute.
      ImportError: TensorFlow has it for Keras 2 alone, and Keras 3 is in use.
    """

    def __init__(self, name: str, fallback: Any = None, **members: Any):
        super().__init__(name)
        self.__dict__.update(members, _fallback=fallback, __path__=[])  # a module with a path can have submodules

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._fallback, name)
        except AttributeError as error:
            if name == "__all__":  # otherwise `from ... import *` would import this module's own members alone
                return [member for member in dir(self) if not member.startswith("_")]
            if name.startswith("__"):
                raise
            full_name = f"{self.__name__}.{name}"
            if "Keras 3" in str(error):
                raise ImportError(f"{full_name} needs Keras 2, {_explain_keras()}") from error
            raise AttributeError(
                f"{full_name} is not available with TensorFlow {tf.__version__}; mnist_cnn's docs/tf1-compatibility.md "
                "lists what is"
            ) from error

    def __dir__(self) -> Any:
        return sorted({*vars(self), *dir(self._fallback)})


def has_tf_keras() -> bool:
    """Returns whether tf_keras is installed, which is Keras 2 for TensorFlow 2.16 and later."""
    return importlib.util.find_spec("tf_keras") is not None


def _explain_keras() -> str:
    if not has_tf_keras():
        return f"which is not installed: {EXTRA_HINT}"
    return "and Keras 3 is in use in this process: import mnist_cnn.tutorial before anything that imports keras"
