"""README.md, README.ko.md and docs/: lengths, links, and figures that must agree."""

import re

import pytest
from helpers import ROOT

from mnist_cnn import published

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
QUICK_START = [
    """\
python3 -m venv .venv &&
.venv/bin/pip install -q -e '.[download,sample]' &&
.venv/bin/python scripts/train.py
""",
    """\
python3 -m venv .venv &&
.venv/bin/pip install -q -e '.[test]' &&
.venv/bin/python -m pytest
""",
]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def read_english():
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "README.ko.md")


def code_blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(text):
    return [line for language in ("sh", "bat") for block in code_blocks(text, language) for line in block.splitlines()]


def published_rows(text):
    """The (epoch or accuracy, figures) of each row in the table of the published run."""
    header = r"^\|[^|]+\|[^|]+\| TensorFlow 1\.15\.0 \| TensorFlow 2\.21\.0 \|\n"
    table = re.search(header + r"(?:\|.*\n)+", text, re.MULTILINE).group()
    return re.findall(r"^\| (\d+|\*\*[^|*]+\*\*) \| ([\d.*]+ \| [\d.*]+ \| [\d.*]+) \|$", table, re.MULTILINE)


def figures(text):
    return re.findall(r"\d+(?:[.,]\d+)*", text)


def remove_code(text):
    """Removes code blocks and inline code, in which nothing is a link or a heading."""
    return re.sub(r"`[^`\n]*`", "`code`", re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page):
    """The relative links and images of a Markdown file that lead to no file or no heading."""
    links = re.findall(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"", remove_code(page.read_text(encoding="utf-8")))
    broken = []
    for target in map("".join, links):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


def test_the_readme_has_at_most_150_lines():
    assert len(read("README.md").splitlines()) <= 150


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_first_two_commands_are_the_quick_start(name):
    assert code_blocks(read(name), "sh")[:2] == QUICK_START


def test_the_readme_mentions_every_script():
    scripts = [path.name for path in (ROOT / "scripts").glob("*.py") if path.name != "__init__.py"]
    assert len(scripts) >= 8
    assert [name for name in scripts if f"`{name}`" not in read("README.md")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading, with `code`\n"
        "[good](page.md) [good](#a-heading-with-code) [good](https://example.com/missing) `[code](missing.md)`\n"
        "[bad](missing.md) ![bad](missing.png) [bad](page.md#missing) [bad](#missing)\n"
        '<img src="missing.gif" width="400" alt="bad">\n'
    )
    assert broken_links(page) == ["missing.md", "missing.png", "page.md#missing", "#missing", "missing.gif"]


def test_the_korean_commands_are_among_the_english_ones():
    korean = commands(read("README.ko.md"))
    assert len(korean) >= 6
    assert [command for command in korean if command not in commands(read_english())] == []


def test_all_tables_of_the_published_run_agree():
    reproduction = published_rows(read("docs/reproduction.md"))
    assert [epoch for epoch, _ in reproduction] == [*map(str, range(1, 16)), "**test accuracy**"]
    first_column = [float(costs.split(" | ")[0].strip("*")) for _, costs in reproduction]
    assert first_column == [*published.COSTS["cnn"], published.ACCURACY["cnn"]]
    for name in ("README.md", "README.ko.md"):
        rows = published_rows(read(name))
        assert len(rows) >= 5, name
        assert {costs for _, costs in rows} <= {costs for _, costs in reproduction}, name
        assert {row for row in rows if row[0].isdigit()} <= set(reproduction), name
        assert rows[-1][1] == reproduction[-1][1], name


@pytest.mark.parametrize("recipe", ["original", "fast", "accurate"])
def test_the_korean_recipes_have_the_figures_of_the_english_ones(recipe):
    def row(name):
        return next(figures(line) for line in read(name).splitlines() if line.startswith(f"| `{recipe}`"))

    english = iter(row("README.md"))
    assert all(figure in english for figure in row("README.ko.md"))  # in the same order


def test_no_figure_is_in_the_korean_text_alone():
    assert set(figures(read("README.ko.md"))) <= set(figures(read_english()))


def test_every_flag_in_the_documentation_exists():
    sources = [*(ROOT / "mnist_cnn" / "cli").glob("*.py"), ROOT / "benchmarks" / "benchmark.py"]
    defined = set(re.findall(r'"(--[a-z0-9-]+)"', "".join(path.read_text(encoding="utf-8") for path in sources)))
    of_other_programs = {"--all-files", "--bind", "--data-binary", "--logdir", "--preload", "--workers"}
    of_other_programs |= {"--jobid", "--kill-on-bad-exit", "--nodelist", "--nodes", "--ntasks", "--overlap"}  # srun's
    to_be_added = {"--epsilon"}  # the example in docs/recipes.md
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", read_english() + read("README.ko.md")))
    assert len(named) > 20
    assert named - defined - of_other_programs - to_be_added - {"--help"} == set()
