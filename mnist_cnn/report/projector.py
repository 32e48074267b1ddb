"""Files for TensorBoard's Embedding Projector: what the last hidden layer makes of each test image."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Union

import numpy as np

from mnist_cnn.data.mnist import Dataset
from mnist_cnn.errors import InputError
from mnist_cnn.evaluation import evaluate, run_batches
from mnist_cnn.files import atomic_replace_dir, atomic_write
from mnist_cnn.report.draw import check_dataset
from mnist_cnn.run_dir.checkpoints import restore_run

try:
    from PIL import Image
except ImportError as error:
    raise ImportError("to draw a report, pip install '.[report]'") from error

MAX_IMAGES = 10_000  # the sprite has at most 100 x 100 of them: browsers show no image of over 8,192 pixels a side
_CONFIG = """embeddings {{
  tensor_name: "{layer}"
  tensor_path: "projector/units.tsv"
  metadata_path: "projector/metadata.tsv"
  sprite {{ image_path: "projector/sprite.png" single_image_dim: 28 single_image_dim: 28 }}
}}
"""


def write_projector(run_dir: Union[str, Path], dataset: Dataset) -> Path:
    """Writes projector/ and projector_config.pbtxt in a run directory, replacing earlier ones, for TensorBoard.

    It holds the units of the last hidden layer (float32 [N, 256], as text), each image's label and predicted class, and
    the images.

    Args:
      run_dir: the run directory.
      dataset: the Dataset that the run was trained on; its first MAX_IMAGES test images are used.

    Returns:
      The path of the folder.

    Raises:
      InputError: `run_dir` is not a run directory, the run was trained on another dataset, or the network has no hidden
        layer.
      OSError: the files cannot be written; an earlier folder is unchanged.
    """
    check_dataset(run_dir, dataset)
    test = dataset.test
    split = replace(test, images=test.images[:MAX_IMAGES], labels=test.labels[:MAX_IMAGES])
    with restore_run(run_dir) as (session, model):
        if not model.activations:
            raise InputError(f"{run_dir}: its network has no hidden layer to show")
        layer, units = list(model.activations.items())[-1]
        values = run_batches(session, model, units, split)
        predictions = evaluate(session, model, split).predictions
    tsv = io.BytesIO()
    np.savetxt(tsv, values, "%.4g", "\t")
    names = dataset.class_names
    rows = [f"{names[label]}\t{names[guess]}\t{i}" for i, (label, guess) in enumerate(zip(split.labels, predictions))]
    files = {
        "units.tsv": tsv.getvalue(),
        "metadata.tsv": "\n".join(["label\tpredicted\ttest image", *rows, ""]).encode(),
        "sprite.png": _draw_sprite(split.images[..., 0]),
    }
    folder = Path(run_dir) / "projector"
    atomic_replace_dir(folder, files)
    # TensorBoard looks for it beside a run's event files.
    atomic_write(folder.parent / "projector_config.pbtxt", _CONFIG.format(layer=layer).encode())
    return folder


def _draw_sprite(images: np.ndarray) -> bytes:
    """Draws uint8 [N, 28, 28] beside and below each other, in a square. Black on white, which the projector tints."""
    side = int(np.ceil(np.sqrt(len(images))))
    tiles = np.zeros([side * side, 28, 28], np.uint8)
    tiles[: len(images)] = images
    pixels = 255 - tiles.reshape(side, side, 28, 28).swapaxes(1, 2).reshape(side * 28, side * 28)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
