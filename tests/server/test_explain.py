"""The routes under /v1/explain: their numbers are the graph's, and what they refuse."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from helpers import one_line_error
from server_process import JSON, Server

from mnist_cnn import Classifier, Recipe, evaluate, restore_run, train
from mnist_cnn.server.app import create_app

BLOCKS = {"conv1": "images", "pool1": "images", "conv2": "pool1", "pool2": "pool1"}  # what each layer's windows are of


@pytest.fixture(scope="module")
def image(sample):
    return sample.test.images[3, ..., 0]


@pytest.fixture(scope="module")
def graph(run):
    """Computes tensors of the run's graph for an image, uint8 [28, 28]."""
    with restore_run(run) as (session, model):

        def compute(image, feeds=()):
            fetches = {**model.activations, "logits": model.logits, "probabilities": model.probabilities}
            images = image[None, ..., None] / 255
            values = session.run(fetches, {model.images: images, **dict(feeds)})
            return {"images": images[0], **{name: batch[0] for name, batch in values.items()}}

        compute.weights = session.run(model.weights)
        yield compute


def ask(server, route, **content):
    status, response = server.request("POST", f"/v1/explain/{route}", json.dumps(content), JSON)
    assert status == 200, response
    return response


def test_200_random_cells_are_the_graphs_with_their_windows_kernels_and_products(server, graph, sample):
    chance = np.random.RandomState(1)
    for _ in range(200):
        image = sample.test.images[chance.randint(len(sample.test)), ..., 0]
        values = graph(image)
        layer = chance.choice(list(BLOCKS))
        row, column, channel = (int(chance.randint(size)) for size in values[layer].shape)
        cell = ask(server, "cell", image=image.tolist(), layer=layer, row=row, column=column, channel=channel)
        convolution, (y, x) = cell["layer"], (cell["row"], cell["column"])
        value = values[convolution][y, x, channel]
        assert convolution == layer.replace("pool", "conv")
        assert (y, x) == (row, column) if layer == convolution else (y // 2, x // 2) == (row, column)
        assert f"{cell['sum']:.5f}" == f"{value:.5f}"
        total = sum(np.sum(part["products"]) for part in cell["channels"]) + cell["others"]["sum"]
        assert total == pytest.approx(value, abs=1e-5)
        four = values[convolution][y - y % 2 :, x - x % 2 :, channel][:2, :2]
        np.testing.assert_allclose(cell["pooled"], four, atol=1e-6)
        assert np.max(cell["pooled"]) == cell["pooled"][cell["kept"][0]][cell["kept"][1]]
        pooled = values[convolution.replace("conv", "pool")][y // 2, x // 2, channel]
        assert cell["output"] == pytest.approx(pooled, abs=1e-6)
        padded = np.pad(values[BLOCKS[layer]], [(1, 1), (1, 1), (0, 0)], "constant")
        kernels = graph.weights["W1" if convolution == "conv1" else "W2"]
        for part in cell["channels"]:
            window = np.array([[value or 0 for value in row] for row in part["window"]])
            np.testing.assert_allclose(window, padded[y : y + 3, x : x + 3, part["channel"]], atol=1e-6)
            np.testing.assert_allclose(part["kernel"], kernels[:, :, part["channel"], channel], atol=1e-7)
            np.testing.assert_allclose(part["products"], window * part["kernel"], atol=1e-6)
        sums = [abs(part["sum"]) for part in cell["channels"]]
        assert sums == sorted(sums, reverse=True)


def test_a_window_at_the_border_has_no_values_outside_the_image(server, image):
    cell = ask(server, "cell", image=image.tolist(), layer="conv1", row=0, column=27, channel=5)
    (part,) = cell["channels"]
    outside = [[value is None for value in row] for row in part["window"]]
    assert outside == [[True, True, True], [False, False, True], [False, False, True]]


def test_what_units_maps_and_pixels_add_to_an_output_is_its_sum(server, graph, sample):
    for index in range(10):
        image = sample.test.images[index, ..., 0]
        values = graph(image)
        for output in range(10):
            unit = ask(server, "unit", image=image.tolist(), layer="logits", index=output)
            assert unit["sum"] == pytest.approx(values["logits"][output], abs=1e-5)
            for part in ("units", "maps", "pixels"):
                assert np.sum(unit[part]) == pytest.approx(unit["sum"], abs=1e-4), part
            assert not np.any(np.array(unit["pixels"])[image == 0])


def test_what_maps_and_pixels_add_to_a_dense_unit_is_its_sum_before_relu(server, graph, image):
    dense = graph(image)["dense"]
    for index in (int(dense.argmax()), int(dense.argmin())):
        unit = ask(server, "unit", image=image.tolist(), layer="dense", index=index)
        assert max(unit["sum"], 0) == pytest.approx(dense[index], abs=1e-5)
        assert np.sum(unit["maps"]) == pytest.approx(unit["sum"], abs=1e-4)
        assert np.sum(unit["pixels"]) == pytest.approx(unit["sum"], abs=1e-4)


def test_a_filter_that_is_off_changes_the_answer_as_zero_weights_do(server, graph, run, image):
    off = {"conv1": [0, 7], "conv2": [63]}
    with restore_run(run) as (session, model):
        weights = session.run(model.weights)
        weights["W1"][..., off["conv1"]] = weights["W2"][..., off["conv2"]] = 0
        session.run([model.weights[name].assign(array) for name, array in weights.items()])
        expected = session.run(model.probabilities, {model.images: image[None, ..., None] / 255})[0]
    response = ask(server, "network", image=image.tolist(), off=off)
    np.testing.assert_allclose(response["probabilities"], expected, atol=1e-6)
    plain = ask(server, "network", image=image.tolist())  # the network of other requests is as it was
    np.testing.assert_allclose(plain["probabilities"], graph(image)["probabilities"], atol=1e-6)
    cell = ask(server, "cell", image=image.tolist(), layer="conv1", row=14, column=14, channel=7, off=off)
    assert cell["sum"] == 0


def test_the_accuracy_without_filters_is_that_of_evaluate_with_zero_weights(server, run, sample):
    off = {"conv1": [1, 2, 3], "conv2": list(range(20))}

    def measure(**network):
        correct, start, mistakes = 0, 0, []
        while True:
            part = ask(server, "test", start=start, **network)
            correct, start = correct + part["correct"], part["end"]
            mistakes += part["mistakes"]
            if start == part["total"]:
                return correct / start, mistakes

    with restore_run(run) as (session, model):
        before = evaluate(session, model, sample.test)
        weights = session.run(model.weights)
        weights["W1"][..., off["conv1"]] = weights["W2"][..., off["conv2"]] = 0
        session.run([model.weights[name].assign(array) for name, array in weights.items()])
        after = evaluate(session, model, sample.test)
    accuracy, mistakes = measure()
    assert accuracy == before.accuracy and measure(off=off)[0] == after.accuracy != before.accuracy
    for mistake in mistakes:
        index = mistake["index"]
        assert mistake["image"] == sample.test.images[index, ..., 0].tolist()
        assert mistake["label"] == sample.test.labels[index] != mistake["class"] == before.predictions[index]
    probabilities = [mistake["probability"] for mistake in mistakes]
    assert probabilities == sorted(probabilities, reverse=True) and mistakes


def test_each_snapshot_is_the_network_after_its_step(server, run, graph, image):
    status, response = server.request("GET", "/v1/explain")
    assert status == 200
    steps = [snapshot["step"] for snapshot in response["snapshots"]]
    assert steps[0] == 0 and steps[-1] == 20 and len(steps) == 5
    assert all(0 <= snapshot["accuracy"] <= 1 < snapshot["cost"] * 10 for snapshot in response["snapshots"])
    first, last = (ask(server, "network", image=image.tolist(), step=step) for step in (0, 20))
    np.testing.assert_allclose(last["probabilities"], graph(image)["probabilities"], atol=0.01)  # float16
    np.testing.assert_allclose(last["kernels"], graph.weights["W1"][:, :, 0], atol=0.001)
    assert np.abs(np.subtract(first["kernels"], last["kernels"])).max() > 0.01


def make_request(**changes):
    content = {"image": [[0] * 28] * 28, "layer": "pool1", "row": 0, "column": 0, "channel": 0, **changes}
    return {name: value for name, value in content.items() if value is not Ellipsis}


@pytest.mark.parametrize(
    "content, reason",
    [
        ([], "must be a JSON object"),
        (make_request(image=...), "the body has no 'image'"),
        (make_request(image=None), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27 + [[0] * 27]), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27 + [[256] + [0] * 27]), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27 + [[0.5] + [0] * 27]), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27 + [["0"] + [0] * 27]), "28 rows of 28 whole numbers in 0..255"),
        (make_request(image=[[0] * 28] * 27 + [[float("nan")] + [0] * 27]), "28 rows of 28 whole numbers in 0..255"),
        (make_request(layer=3), "'layer' must be a string"),
        (make_request(layer="pool3"), "there is no cell 0, 0 of channel 0 in the layer pool3"),
        (make_request(layer="dense"), "there is no cell 0, 0 of channel 0 in the layer dense"),
        (make_request(layer="images"), "there is no cell 0, 0 of channel 0 in the layer images"),
        (make_request(row=14), "there is no cell 14, 0 of channel 0 in the layer pool1"),
        (make_request(channel=32), "there is no cell 0, 0 of channel 32 in the layer pool1"),
        (make_request(column=-1), "'column' must be a whole number, 0 or more"),
        (make_request(column=1.5), "'column' must be a whole number, 0 or more"),
        (make_request(column=1e300), "'column' must be a whole number, 0 or more"),
        (make_request(row=True), "'row' must be a whole number, 0 or more"),
        (make_request(step=3.5), "'step' must be a whole number, 0 or more"),
        (make_request(step=7777), "there is no snapshot of step 7777"),
        (make_request(off=[]), "'off' must be an object with the keys 'conv1' and 'conv2'"),
        (make_request(off={"conv3": []}), "'off' must be an object with the keys 'conv1' and 'conv2'"),
        (make_request(off={"conv1": 1}), "must be a list of whole numbers"),
        (make_request(off={"conv1": [None]}), "must be a list of whole numbers"),
        (make_request(off={"conv1": [32]}), "conv1 has the filters 0..31"),
        (make_request(off={"conv2": [-1]}), "conv2 has the filters 0..63"),
        (make_request(off={"conv1": list(range(65))}), "must be a list of whole numbers"),
        (make_request(colour=1), "the body has the unknown key 'colour'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_request_gets_status_400_and_the_reason(server, content, reason):
    status, response = server.request("POST", "/v1/explain/cell", json.dumps(content), JSON)
    assert status == 400 and list(response) == ["error"] and reason in response["error"], response


def test_other_invalid_requests_are_refused(server, image):
    def post(route, content):
        body = content if isinstance(content, str) else json.dumps(content)
        return server.request("POST", f"/v1/explain/{route}", body, JSON)

    picture = image.tolist()
    assert post("unit", {"image": picture, "layer": "dense", "index": 256})[0] == 400
    assert post("unit", {"image": picture, "layer": "pool1", "index": 0})[0] == 400
    assert post("test", {"start": 500}) == (400, {"error": "start is 500: there are 500 test images"})
    assert post("network", "{")[0] == post("network", "")[0] == 400
    assert post("network", " " * 100_001) == (413, {"error": "the body has over 100,000 bytes"})
    assert post("nothing", {})[0] == 404
    assert server.request("GET", "/v1/explain/network")[0] == 405


@pytest.mark.slow
def test_a_damaged_snapshot_is_left_out_and_refused(run, image, tmp_path):
    shutil.copytree(str(run), str(tmp_path / "run"))
    path = tmp_path / "run" / "replay" / "step-0.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with Server(tmp_path / "run") as server:
        _, response = server.request("GET", "/v1/explain")
        assert len(response["snapshots"]) == 4 and response["snapshots"][0]["step"] > 0
        content = json.dumps({"image": image.tolist(), "step": 0})
        status, response = server.request("POST", "/v1/explain/network", content, JSON)
        assert status == 400 and "step-0.npz is damaged" in response["error"]


def test_the_test_images_are_loaded_once_however_long_that_takes(run, sample):
    loads, is_loading, may_end = [], Event(), Event()

    def load():
        loads.append(1)
        is_loading.set()
        assert may_end.wait(60)
        return sample.test

    with Classifier.load(run) as classifier, ThreadPoolExecutor(1) as executor:
        app = create_app(classifier, load_test_split=load)

        def post():
            return app.test_client().post("/v1/explain/test", json={"start": 0})

        first = executor.submit(post)
        assert is_loading.wait(60)
        second = post()
        may_end.set()
        assert second.status_code == 503 and "being loaded" in second.json["error"]
        assert first.result().json["total"] == post().json["total"] == len(sample.test) and loads == [1]


@pytest.mark.slow
def test_a_network_without_convolutions_has_no_explanation(sample, image, tmp_path):
    recipe = Recipe(1, 100, 0.003, 0.8, initial_weights="he")
    train(sample, tmp_path / "run", recipe, model="mlp", max_steps=5)
    with Server(tmp_path / "run") as server:
        assert server.request("GET", "/v1/explain")[0] == 404
        content = json.dumps({"image": image.tolist()})
        assert server.request("POST", "/v1/explain/network", content, JSON)[0] == 404


@pytest.mark.slow
def test_an_exported_model_is_explained_without_a_replay(run, graph, image, script, tmp_path):
    assert script("export.py", "--run-dir", run, "--export-dir", "model").returncode == 0
    with Server(tmp_path / "model") as server:
        assert server.request("GET", "/v1/explain") == (200, {"snapshots": []})
        response = ask(server, "network", image=image.tolist())
        np.testing.assert_allclose(response["probabilities"], graph(image)["probabilities"], atol=1e-6)
        assert ask(server, "test", start=0) == {"missing": True}  # MNIST is not there
        content = json.dumps({"image": image.tolist(), "step": 0})
        assert server.request("POST", "/v1/explain/network", content, JSON)[0] == 400


@pytest.mark.slow
def test_a_folder_without_the_data_is_an_error_before_the_server_starts(sample, script, tmp_path, mnist_dir):
    train(sample, tmp_path / "run", Recipe(1, 100, 0.003, 0.8), max_steps=2)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"sample"', '"mnist"'))
    done = script("serve.py", "--run-dir", "run", "--data-dir", "nowhere")
    line = one_line_error(done, 2)
    assert "MNIST is not in nowhere" in line and "--data-dir" in line
