"""README.ko.md says what README.md says."""

import re

import pytest
from conftest import ROOT


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def commands(text):
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]


def figures(text):
    return re.findall(r"\d+(?:[.,]\d+)*", text)


def test_the_korean_commands_are_the_english_ones():
    assert len(commands(read("README.ko.md"))) >= 3
    assert set(commands(read("README.ko.md"))) <= set(commands(read("README.md")))


def test_the_korean_table_of_the_published_run_is_the_english_one():
    def published_run(text):
        return re.findall(r"^\| (\d+|\*\*\w+\*\*) (\| .*\d\.\d{3}.*)$", text, re.MULTILINE)

    korean, english = published_run(read("README.ko.md")), published_run(read("README.md"))
    assert len(korean) == 15 + 1
    assert [row for _, row in korean] == [row for _, row in english]


@pytest.mark.parametrize("recipe", ["original", "fast", "accurate"])
def test_each_korean_recipe_has_the_english_figures(recipe):
    def row(text):
        return next(figures(line) for line in text.splitlines() if line.startswith(f"| `{recipe}`"))

    english = iter(row(read("README.md")))
    assert all(figure in english for figure in row(read("README.ko.md")))  # in this order


def test_no_figure_is_in_the_korean_text_alone():
    assert set(figures(read("README.ko.md"))) <= set(figures(read("README.md")))
