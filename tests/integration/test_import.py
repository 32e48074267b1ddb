"""Imports: what they leave unchanged in a notebook's process, what they need, and who imports whom."""

import ast
import json
from collections import defaultdict

import pytest
from helpers import ROOT

from mnist_cnn import _LAZY_EXPORTS

PROCESS = """
import json, logging, os, warnings
import tensorflow

def state():
    return {
        "eager": tensorflow.executing_eagerly() if tensorflow.__version__[0] == "2" else None,
        "v2": tensorflow.__version__[0] == "2" and tensorflow.compat.v1.resource_variables_enabled(),
        "environment": dict(os.environ),
        "filters": [str(rule) for rule in warnings.filters],
        "levels": [logging.getLogger(name).level for name in (None, "tensorflow", "absl")],
        "folder": os.getcwd(),
    }
"""

BY_HAND = """
before = state()
from mnist_cnn import build_model, load_sample
from mnist_cnn.tf1 import tf
after_import = state()
train = load_sample().train
with tf.Graph().as_default(), tf.Session() as sess:
    model = build_model()
    sess.run(tf.global_variables_initializer())
    costs = []
    for i in range(20):
        batch_xs, batch_ys = train.batch(slice(i * 100, i * 100 + 100))
        _, cost_val = sess.run(
            [model.train_op, model.cost],
            feed_dict={model.images: batch_xs, model.labels: batch_ys, model.keep_prob: 0.8},
        )
        costs.append(float(cost_val))
    steps = int(sess.run(model.global_step))
print(json.dumps({"before": before, "after_import": after_import, "after": state(), "costs": costs, "steps": steps}))
"""


@pytest.mark.slow
def test_training_in_a_notebook_changes_nothing_else_in_its_process(python):
    result = json.loads(python(PROCESS + BY_HAND).splitlines()[-1])
    assert result["after_import"] == result["before"]
    assert result["after"] == result["before"]
    assert result["steps"] == 20
    assert result["costs"][-1] < result["costs"][0] - 0.3


def test_loading_data_does_not_import_tensorflow(python):
    assert python("import sys; from mnist_cnn import load_sample; print('tensorflow' in sys.modules)") == "False\n"


def test_every_public_name_can_be_imported(python):
    python("import mnist_cnn; [getattr(mnist_cnn, name) for name in mnist_cnn.__all__]; from mnist_cnn import *")


# Without requests, which is optional too: TensorFlow 2 needs it.
OPTIONAL = ["PIL", "flask", "matplotlib", "mlxtend", "scipy", "waitress", "werkzeug"]


def test_the_core_works_without_the_optional_dependencies(python):
    hide_optional = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"
    assert python(hide_optional + "from mnist_cnn import *; import mnist_cnn.trainer") == ""


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, modules):
    """The modules of the package that a file imports, anywhere but for type checkers: (module, at its top level)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_type_checkers = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    skipped = {id(child) for node in for_type_checkers for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if id(node) in skipped or not name.startswith("mnist_cnn"):
                continue
            public = name[len("mnist_cnn.") :]
            if public in _LAZY_EXPORTS:
                name = f"mnist_cnn.{_LAZY_EXPORTS[public]}"
            yield name if name in modules else name.rpartition(".")[0]


def import_graph():
    """For each module of the package the modules of the package that it imports."""
    paths = {module_name(path): path for path in (ROOT / "mnist_cnn").rglob("*.py")}
    graph = {name: set(imports(path, paths)) - {"mnist_cnn"} for name, path in paths.items()}
    assert all(targets <= set(paths) for targets in graph.values()), graph
    return graph


def test_no_module_imports_itself_through_others():
    graph = import_graph()
    visited, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name not in visited:
            path.append(name)
            for target in sorted(graph[name]):
                visit(target)
            path.pop()
            visited.add(name)

    for name in sorted(graph):
        visit(name)
    assert "mnist_cnn.model" in graph["mnist_cnn.trainer"]  # the graph has edges


def test_the_core_has_fewer_than_900_lines():
    core = ["model.py", "trainer.py", "recipes.py", "evaluation.py", "tf1.py"]
    assert sum(len((ROOT / "mnist_cnn" / name).read_text(encoding="utf-8").splitlines()) for name in core) < 900


ABOVE_ALL = {"mnist_cnn.__main__": "cli", "mnist_cnn.tutorial": "compat"}  # what people start, and its folder


def test_folders_import_only_the_core_and_the_folders_above_them():
    order = ["data", "run_dir", "inference", "report", "server", "cluster", "compat", "cli"]
    wrong = defaultdict(set)

    def get_room(module):
        return module.split(".")[1] if module.count(".") > 1 or module.split(".")[-1] in order else ""

    for name, targets in import_graph().items():
        room = get_room(name)
        for target in targets:
            target_room = get_room(target)
            if room == "" and target_room in order[2:] and target_room != ABOVE_ALL.get(name):
                wrong[name].add(target)  # the core and the modules beside it import data/ and run_dir/ alone
            elif room in order and target_room in order and order.index(target_room) > order.index(room):
                wrong[name].add(target)
    assert not wrong
