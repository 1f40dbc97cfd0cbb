"""The documentation: its blocks run, its outputs, paths and claims are right."""

import ast
import builtins
import importlib.util
import math
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from project import ROOT
from test_architecture import FLOORS


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load("make")

PAGE = make.PAGE.read_text(encoding="utf-8")
QUESTIONS = make.QUESTIONS.read_text(encoding="utf-8")
MAP = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
CORE = re.findall(r"^\d+\. `(seq2seq/[^`]+)`: ", MAP, re.MULTILINE)
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page as it comes out now, and the folder in which it ran."""
    folder = tmp_path_factory.mktemp("docs")
    return make.run_page(PAGE, folder), folder


def outputs(page):
    found = re.findall(r"^```(text|text varies)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found
    return found


def table(page, header):
    """Rows of the printed table with this beginning of a header: first cell → other cells."""
    lines = iter(page.splitlines())
    while not next(lines).strip().startswith(header):
        pass
    next(lines)
    rows = {}
    while (line := next(lines).strip()) and not line.startswith("`"):
        first, *others = re.split(r" {2,}", line)
        rows[first] = others
    return rows


def test_the_page_prints_what_it_shows(made):
    compare_outputs(PAGE, made[0])


def compare_outputs(page, page_now):
    for (kind, shown), (_, printed) in zip(outputs(page), outputs(page_now), strict=True):
        if kind == "text varies":
            words = r"[^\W\d_]+"
            assert re.findall(words, shown) == re.findall(words, printed)
            continue
        assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
        numbers = [[float(n.group()) for n in NUMBER.finditer(text)] for text in (shown, printed)]
        np.testing.assert_allclose(*numbers, atol=1e-6)


@pytest.mark.parametrize("which", ["shown", "made"])
def test_what_is_said_of_the_state_is_true(made, which):
    page = PAGE if which == "shown" else made[0]
    rows = table(page, "the state that is handed over  exact")
    exact, for_next, errors = (
        {name: float(cells[i].rstrip("%")) for name, cells in rows.items()} for i in range(3)
    )
    chance = "(one answer for all: chance)"
    assert exact["its own"] >= 95
    assert exact["all zeros"] <= exact[chance] < 2
    assert abs(errors["all zeros"] - errors[chance]) < 10
    assert for_next["that of the next source"] >= 95 > 5 > exact["that of the next source"]
    assert exact["25% of the next"] > 50 < for_next["75% of the next"]
    assert max(exact["50% of the next"], for_next["50% of the next"]) < 20
    left = table(page, "principal components left")
    assert float(left["0"][1].rstrip("%")) <= exact[chance]
    assert float(left["256"][1].rstrip("%")) == exact["its own"]
    answers = table(page, "the state that is handed over  what is written")
    assert answers["that of state.json"] == ["5 5 5 5"]
    assert answers["its own"] == ["4 3 2 1"]
    assert answers["100% that of '9 8 7 6'"] == ["6 7 8 9"]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def hand_calculation():
    """Steps of the page's calculation: name → sides of its equation."""
    [text] = re.findall(r"^```\n(t = 1.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    steps = []
    for part in text.strip().split("\n\n"):
        _, *equations = part.splitlines()
        sides = [line.split(" = ") for line in equations]
        steps.append({name: parts for name, *parts in sides})
    return steps


def test_the_calculation_by_hand_is_right():
    """Compared with plain Python, with the weights of the page's command."""
    kernel, recurrent, bias = weights_of_the_page()
    h = c = 0.0
    steps = hand_calculation()
    assert len(steps) == 3
    for step, x in zip(steps, (0.1, 0.2, 0.3), strict=True):
        z = [k * x + r * h + b for k, r, b in zip(kernel, recurrent, bias, strict=True)]
        i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), math.tanh(z[2]), sigmoid(z[3])
        c = f * c + i * g
        h = o * math.tanh(c)
        expected = {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}
        assert {name: sides[-1] for name, sides in step.items()} == {
            name: f"{value:.6f}" for name, value in expected.items()
        }
        for name, sides in step.items():
            for side in sides:
                value = evaluate(side)
                assert value == pytest.approx(expected[name], abs=2e-6), side


def weights_of_the_page():
    kernel, recurrent, bias = ast.literal_eval(re.search(r"'weights=(.*)'", PAGE).group(1))
    return kernel[0], recurrent[0], bias


def evaluate(formula):
    formula = formula.replace("σ", "sigmoid").replace("·", "*").replace("−", "-")
    return eval(formula, {"sigmoid": sigmoid, "tanh": math.tanh})


@pytest.mark.parametrize("which", ["shown", "made"])
def test_the_command_writes_the_digits_of_the_calculation(made, which):
    rows = table(PAGE if which == "shown" else made[0], "t  unit")
    names = ("i", "f", "g", "o", "c", "h")
    for step, (t, cells) in zip(hand_calculation(), rows.items(), strict=True):
        assert cells == ["0", *(step[name][-1] for name in names)], t


def test_the_answers_are_printed_and_right(made):
    page = make.run_page(QUESTIONS, made[1], left_out={make.SLOW})
    compare_outputs(QUESTIONS, page)
    check_answers(page)


@pytest.mark.slow
def test_the_slow_answers_are_printed_and_right(made):
    page = make.run_page(QUESTIONS, made[1])
    compare_outputs(QUESTIONS, page)
    check_answers(page)


def test_the_answers_shown_are_right():
    check_answers(QUESTIONS)


def check_answers(page):
    assert "[5, 0, 7, 11]" in page
    assert "as Predictor: 3 of 3" in page
    error, of_last_value = (
        float(re.search(rf"^{words} ([\d.]+)$", page, re.MULTILINE).group(1))
        for words in ("mean squared error", "repeating the last value")
    )
    assert error < of_last_value / 50
    rows = re.findall(r"^(lstm|lstm_zero_forget_bias|gru) +([\d.% ]+)$", page, re.MULTILINE)
    cells = {cell: np.array(row.replace("%", "").split(), float) for cell, row in rows}
    assert all(cells["lstm"] < cells["lstm_zero_forget_bias"])
    assert (cells["gru"] < cells["lstm"]).tolist() == [True, True, False, False]


def test_blocks_need_only_those_before_them_in_their_section():
    first, *sections = re.split(r"^## ", QUESTIONS, flags=re.MULTILINE)
    for section in sections:
        known = {*dir(builtins)}
        for block in re.findall(r"^```python.*?\n(.*?)^```$", first + section, re.M | re.S):
            nodes = [*ast.walk(ast.parse(block))]
            names = [node for node in nodes if isinstance(node, ast.Name)]
            known |= {node.id for node in names if not isinstance(node.ctx, ast.Load)}
            known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
            known |= {
                node.name.partition(".")[0] if node.asname is None else node.asname
                for node in nodes
                if isinstance(node, ast.alias)
            }
            known |= {
                node.name
                for node in nodes
                if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler)
            }
            assert {node.id for node in names} <= known, block


def test_the_contents_list_every_question():
    headings = re.findall(r"^##(#?) (.+)$", QUESTIONS, re.MULTILINE)
    listed = [f"{'  ' * len(deep)}- [{title}](#{anchor(title)})" for deep, title in headings]
    assert len(listed) > 25
    assert "\n" + "\n".join(listed) + "\n" in QUESTIONS


def anchor(title):
    """GitHub's name of a heading in links."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_figures_are_there_and_small():
    names = re.findall(r'src="figures/(\w+)\.png" width="(\d+)"', PAGE)
    assert {name for name, _ in names} == set(make.FIGURES)
    for name, width in names:
        path = make.PAGE.parent / "figures" / f"{name}.png"
        assert path.stat().st_size < 60_000
        assert Image.open(path).width == pytest.approx(2 * int(width), abs=2)


def test_the_readme_s_python_runs(made):
    """A comment that is a string literal shows the value of its line."""
    _, folder = made
    shutil.copytree(folder / "toy", folder / "outputs" / "reverse" / "toy")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names, compared = {}, 0
    for block in blocks:
        make.run_python(block, folder, names)
        for line in block.splitlines():
            shown = re.fullmatch(r"(.*?)  # ('.*')", line)
            if shown:
                assert eval(shown.group(1), names) == ast.literal_eval(shown.group(2))
                compared += 1
    assert (len(blocks) >= 1, compared >= 1) == (True, True)
    assert names["seen"].bridge_output[0]["state_h"].shape == (128,)
    assert names["seen"].decoder[0].gates["forget"].shape == (1, 5, 128)


def test_the_readme_s_picture_is_current_and_small(made, tmp_path):
    _, folder = made
    load("overview").draw_overview(folder / "toy", "1 2 3 4", tmp_path / "overview.png")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f'src="{make.OVERVIEW.relative_to(ROOT)}"' in readme
    assert make.OVERVIEW.stat().st_size < 60_000
    assert Image.open(make.OVERVIEW).size == Image.open(tmp_path / "overview.png").size


def test_the_drawing_is_current(tmp_path):
    load("unrolled").draw_unrolled(tmp_path / "unrolled.svg")
    shown = ROOT / "docs" / "figures" / "unrolled.svg"
    assert (tmp_path / "unrolled.svg").read_text() == shown.read_text()
    assert 'src="figures/unrolled.svg"' in PAGE


def test_the_map_s_rooms_and_floors_are_those_of_the_package():
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)` \| (\d) \| .+ \|$", MAP, re.MULTILINE)
    floors = {name: i for i, names in enumerate(FLOORS, start=1) for name in names}
    assert {name: int(number) for name, number in rows} == floors
    assert len(rows) == len(floors)


def test_the_map_s_files_exist():
    named = set(re.findall(r"`([\w/]+(?:\.py|\.yaml|/))`", MAP))
    named = {path for path in named if "NAME" not in path}
    assert len(named) > 40
    missing = {
        path
        for path in named
        if not any((base / path).exists() for base in (ROOT, ROOT / "seq2seq"))
    }
    assert not missing


def test_the_core_is_read_in_an_hour():
    lines = sum(len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in CORE)
    assert 16 <= len(CORE) <= 20
    assert lines <= 2_780


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "data/README.md"]
    + [
        f"docs/{name}.md"
        for name in (
            "ARCHITECTURE",
            "export",
            "questions",
            "reliability",
            "scale",
            "serve",
            "speed",
            "states",
        )
    ],
)
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        path, _, heading = link.partition("#")
        if link.startswith("https:"):
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [anchor(title) for title in titles], link
