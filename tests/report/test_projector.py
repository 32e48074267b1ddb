"""report.py --projector, in the real TensorBoard."""

import importlib.util
import io
import re
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from helpers import environment, wait_for
from PIL import Image

from mnist_cnn import Recipe, restore_run, train
from mnist_cnn.evaluation import run_batches

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs pip install -e '.[tensorboard]'"),
]


@pytest.mark.parametrize("model, layer", [("cnn", "dense"), ("mlp", "dense2")])
def test_tensorboard_shows_the_units_of_each_test_image(sample, script, tmp_path, model, layer):
    run = tmp_path / "runs" / "first"
    train(sample, run, Recipe(1, 100, 0.003, 0.8, initial_weights="he"), model=model, max_steps=20)
    done = script("report.py", "--run-dir", "runs/first", "--projector")
    assert done.stdout == "runs/first/report/index.html\nruns/first/projector\n", done.stderr
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs", "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=str(tmp_path), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as tensorboard:
        try:
            url = next(
                match.group() for match in (re.search(r"http://[\d.:]+/", line) for line in tensorboard.stderr) if match
            )

            def get(path):
                with urllib.request.urlopen(f"{url}data/plugin/projector/{path}", timeout=60) as response:
                    return response.read()

            wait_for(lambda: b"first" in get("runs"), tensorboard)  # it searches the folder in the background
            query = f"run=first&name={layer}"
            shown = np.frombuffer(get(f"tensor?{query}&num_rows=10000"), np.float32).reshape(len(sample.test), 256)
            metadata = [row.split("\t") for row in get(f"metadata?{query}&num_rows=10001").decode().splitlines()]
            sprite = np.asarray(Image.open(io.BytesIO(get(f"sprite_image?{query}"))))
        finally:
            tensorboard.kill()
    with restore_run(run) as (session, network):
        units = run_batches(session, network, network.activations[layer], sample.test)
        predictions = run_batches(session, network, network.predictions, sample.test)
    np.testing.assert_allclose(shown, units, rtol=1e-3, atol=1e-5)  # the command may use other kernels, of oneDNN
    assert metadata[0] == ["label", "predicted", "test image"]
    rows = zip(sample.test.labels, predictions, range(len(units)))
    assert metadata[1:] == [list(map(str, row)) for row in rows]
    np.testing.assert_array_equal(sprite[28:56, :28], 255 - sample.test.images[23, ..., 0])  # 23 images in a row
