"""Command `export`: the folder works where nothing of this package can be imported; mistakes."""

import ast
import json
import random
import re
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import yaml
from project import ROOT, compose_config, documented_python

from seq2seq import export as door
from seq2seq.config.choices import Normalization
from seq2seq.data.unicode_forms import normalize
from seq2seq.deploy import quantize
from seq2seq.deploy.export import export
from seq2seq.deploy.folder import example
from seq2seq.deploy.formats import numpy as formats_numpy
from seq2seq.deploy.standalone import program, request, text
from seq2seq.deploy.standalone.on_numpy import Transducer
from seq2seq.deploy.standalone.tensors import read_tensors
from seq2seq.errors import UserError

FIXTURES = ROOT / "tests" / "fixtures"
ANSWERS = [json.loads(line) for line in (FIXTURES / "run_0_1_answers.jsonl").open()]
# Only NumPy and the standard library can be imported.
ALONE = """
import runpy, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy", "transducer"}:
            raise ImportError(name + " is not for an exported model")
sys.meta_path.insert(0, Refused())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
WITHOUT = 'in {"seq2seq", "tensorflow", "keras", "jax", "torch"}'


def settings(*words):
    return compose_config(*words, name="export")


def run_alone(*arguments, cwd, stdin=b""):
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The export of a run with attention and beam search."""
    run = shutil.copytree(FIXTURES / "run_0_1", tmp_path_factory.mktemp("exported") / "run")
    (run / "predictions" / "dev.tsv").write_text(
        "source\tfeatures\tprediction\n0 1 2\t\tx\n5 4 3\t\tx\n", encoding="utf-8"
    )
    export(settings(f"run={run}", "license=cc0-1.0"))
    return run / "export" / "numpy"


def test_the_folder_has_these_files_and_no_others(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "example.py",
        "model.json",
        "model.safetensors",
        "model_card.md",
        "transducer.py",
    ]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) == 1


def test_the_answers_are_those_of_the_run(folder):
    predictions = Transducer.load(folder).predict([one["source"] for one in ANSWERS])
    for found, expected in zip(predictions, ANSWERS, strict=True):
        answers = expected["predictions"]
        assert [one.text for one in found.hypotheses] == [one["text"] for one in answers]
        scores = [[one.score for one in found.hypotheses], [one["score"] for one in answers]]
        np.testing.assert_allclose(*scores, atol=1e-4)


def test_the_program_answers_without_this_package(folder, tmp_path):
    lines = (FIXTURES / "run_0_1_input.txt").read_bytes()
    result = run_alone(folder / "transducer.py", cwd=tmp_path, stdin=lines + b"\n0 1 2\r\n5 4 3")
    texts = [one["predictions"][0]["text"] for one in ANSWERS]
    expected = [*texts, "", texts[0], texts[1]]
    assert result.stdout.decode().splitlines() == expected, result.stderr.decode()
    assert result.stderr == b"line 7: the source is empty\n"
    # A byte order mark, as editors on Windows begin a file, is no symbol of the first line.
    marked = run_alone(folder / "transducer.py", cwd=tmp_path, stdin=b"\xef\xbb\xbf" + lines)
    assert marked.stdout.decode().splitlines() == texts
    options = ["--kind", "beam", "--beam-size", "4", "--n-best", "2", "--table"]
    result = run_alone(folder / "transducer.py", *options, cwd=tmp_path, stdin=b"0 1 2\n\n")
    rows = [line.split("\t") for line in result.stdout.decode().splitlines()]
    assert [row[:2] for row in rows] == [["0 1 2", "1"], ["0 1 2", "2"], ["", "0"]]
    assert float(rows[0][3]) == pytest.approx(ANSWERS[0]["predictions"][0]["score"], abs=1e-4)


def test_the_example_runs_without_this_package(folder, tmp_path):
    assert len((folder / "example.py").read_text().splitlines()) <= 12
    result = run_alone(folder / "example.py", cwd=tmp_path)
    expected = "".join(f"{one['source']}\t{one['predictions'][0]['text']}\n" for one in ANSWERS[:2])
    assert result.stdout.decode() == expected, result.stderr.decode()


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_other_formats_answer_without_this_package_and_tensorflow(name, folder, tmp_path, capsys):
    run = folder.parent.parent
    [made] = export(settings(f"run={run}", f"format={name}", f"output={tmp_path / name}"))
    assert "2 of 2 answers to dev examples are those of the run" in capsys.readouterr().err
    refused = ALONE.replace('not in {*sys.stdlib_module_names, "numpy", "transducer"}', WITHOUT)
    result = subprocess.run(
        [sys.executable, "-c", refused, made / "example.py"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    expected = "".join(f"{one['source']}\t{one['predictions'][0]['text']}\n" for one in ANSWERS[:2])
    assert result.stdout.decode() == expected, result.stderr.decode()
    (tmp_path / "my_model").symlink_to(made)
    command = [sys.executable, "-c", documented_python(f"`{name}`")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout


def test_the_ten_lines_of_the_page_run(folder, tmp_path):
    (tmp_path / "my_model").symlink_to(folder)
    code = documented_python("`numpy`")
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    confidence, answers = result.stdout.decode().rstrip().split(" ", 1)
    assert 0 < float(confidence) <= 1, result.stderr.decode()
    assert len(ast.literal_eval(answers)) == 3


def test_lines_arrive_at_once_and_long_ones_are_cut(monkeypatch):
    monkeypatch.setattr(program, "MAX_LINE", 4)
    blocks = iter([b"a\nb\nc", b"d", b"efgh", b"ij\nk", b""])
    monkeypatch.setattr(program.os, "read", lambda *_: next(blocks))
    assert list(program.read_lines(0)) == [[b"a", b"b"], [b"cdefij"], [b"k"]]


@pytest.mark.parametrize("form", Normalization)
def test_text_has_the_unicode_form_that_the_package_gives_it(form):
    marks = "".join(random.Random(1).choices("\u0301\u0323\u0345\u05b0", k=300))
    for line in ("e\u0301 ﬁ 한국", f"a{marks}b\u0323\u0301"):
        if form is not Normalization.auto:
            assert text.normalize(line, str(form)) == normalize(line, form)


def test_columns_of_a_line():
    assert program.parse("ä\tV;P\tx\r".encode(), True) == ("ä", "V;P", None)
    assert program.parse(b"a\tV", False) == ("a", "", None)
    assert program.parse(b"a", True)[2] == "the line has no second column, for the features"
    assert program.parse(b"ab\xff", False)[2] == "not UTF-8: byte 0xff at position 3"


def test_an_example_has_features_if_the_model_has():
    for examples in ([("ä'", "V;P"), ("b", "")], []):
        code = example(examples, has_features=True, runtime="NumPy")
        compile(code, "example.py", "exec")
        assert ("model(lines, ['V;P', ''])" in code) == bool(examples)


def test_the_program_refuses_in_one_line(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    for words, message in (
        ([broken], "model.safetensors"),
        ([folder, "--n-best", "9", "--kind", "greedy"], "n_best=9 must be from 1 to the beam size"),
    ):
        result = run_alone(folder / "transducer.py", *words, cwd=tmp_path)
        assert result.returncode == 2
        assert re.fullmatch(f"error: .*{message}.*\n", result.stderr.decode())


def test_the_transducer_imports_numpy_and_the_standard_library_alone(folder):
    source = (folder / "transducer.py").read_text(encoding="utf-8")
    imported = re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE)
    assert {*imported} <= {*sys.stdlib_module_names, "numpy", "transducer"}


def test_its_reader_reads_what_the_library_writes(folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "ü": np.zeros(0, np.float32)}
    save_file(arrays, tmp_path / "x.safetensors")
    for path in (tmp_path / "x.safetensors", folder / "model.safetensors"):
        found, expected = read_tensors(path), load_file(path)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 20,
        b"\x02\0\0\0\0\0\0\0{]",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x08\0\0\0\0\0\0\0" + b'{"a":{}}',
    ],
    ids=range(5),
)
def test_what_is_no_safetensors_file_is_refused(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match=r"x: is not a file of safetensors: "):
        read_tensors(tmp_path / "x")


def test_other_numbers_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float64)}, tmp_path / "x")
    with pytest.raises(ValueError, match="safetensors: a is F64"):
        read_tensors(tmp_path / "x")


def test_another_version_is_refused(folder):
    description = json.loads((folder / "model.json").read_text())
    with pytest.raises(ValueError, match="version 2, not 1"):
        Transducer({**description, "version": request.VERSION + 1}, None)


def test_the_card_has_a_header_that_hubs_read_and_the_scores(folder):
    _, header, page = (folder / "model_card.md").read_text(encoding="utf-8").split("---\n", 2)
    metadata = yaml.safe_load(header)
    results = json.loads((FIXTURES / "run_0_1" / "results.json").read_text())
    assert metadata["license"] == "cc0-1.0"
    assert metadata["library_name"] == "seq2seq"
    [index] = metadata["model-index"]
    metrics = {one["type"]: one["value"] for one in index["results"][0]["metrics"]}
    assert metrics["sequence_accuracy"] == results["dev"]["sequence_accuracy"]
    for word in (
        "## Scores",
        "| test | sequence_accuracy |",
        "reverse",
        "bidirectional lstm",
        "MB",
    ):
        assert word in page
    assert str(ROOT) not in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run=nosuch"], "^run=nosuch is not a run folder"),
        (["run={run}", "output={run}"], "run already exists and is not an empty folder; name anot"),
        (["run={run}", "output={run}/config.yaml"], "already exists and is not an empty folder"),
        (
            ["run={run}", "decoding=sampling", "output=x"],
            "decoding.kind=sampling; it has greedy, b",
        ),
        (["run={run}", "decoding.n_best=9", "output=x"], "decoding.n_best=9 is more than"),
        (["run=[{run},{run}]"], "output is not set; an ensemble has no run folder"),
        (
            ["run={run}", "format=[numpy,numpy]"],
            "format=.* is not valid: it must be one of numpy, ",
        ),
        # Nothing is written for the first format, either.
        (
            ["run={run}", "format=[numpy,saved_model]", "quantize=int8", "output=x"],
            "format=saved_model has no quantize; use numpy, onnx or litert",
        ),
        (
            ["run=[{run},{run}]", "format=[numpy,onnx,litert]", "output=x"],
            "format=onnx has no ensembles; distill one into one model, or use numpy",
        ),
    ],
)
def test_mistakes(folder, tmp_path, words, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word.format(run=folder.parent.parent) for word in words]
    with pytest.raises(UserError, match=message):
        export(settings(*words))
    assert not any(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_command(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r'pip install "seq2seq\[export\]"'):
        export(settings(f"run={folder.parent.parent}", f"output={tmp_path / 'x'}"))


def test_nothing_is_left_of_an_export_that_fails(folder, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seq2seq.deploy.folder.model_card", fail)
    with pytest.raises(UserError, match="x: cannot be written: No space left"):
        export(settings(f"run={folder.parent.parent}", f"output={tmp_path / 'x'}"))
    assert not any(tmp_path.iterdir())


def test_the_command_prints_the_folder_or_one_line(folder, tmp_path, command, capsys):
    (tmp_path / "empty").mkdir()
    run = shutil.copytree(FIXTURES / "run_0_1", tmp_path / "unfinished")
    for name in ("record.json", "predictions/dev.tsv"):
        (run / name).unlink()
    hostile = {"dev": {"sequence_accuracy": "1", "intervals": 3}, "test": 7}
    (run / "results.json").write_text(json.dumps(hostile))
    assert command(door.main, "export", f"run={run}", "output=empty") == 0
    assert capsys.readouterr().out == "empty\n"
    assert "['a line', 'another line']" in (tmp_path / "empty" / "example.py").read_text()
    assert "there are none" in (tmp_path / "empty" / "model_card.md").read_text()
    assert command(door.main, "export", f"run={run}", "output=empty") == 2
    assert capsys.readouterr().err.startswith("error: output=empty already exists")


@pytest.mark.parametrize(("kind", "share"), [("float16", 0.6), ("int8", 0.5)])
def test_fewer_bits_make_a_smaller_folder_with_nearly_the_same_answers(
    folder, kind, share, tmp_path, capsys, monkeypatch
):
    from safetensors.numpy import load_file

    monkeypatch.setattr(quantize, "_MIN_NUMBERS", 1)
    export(settings(f"run={folder.parent.parent}", f"output={tmp_path / kind}", f"quantize={kind}"))
    assert capsys.readouterr().err == "2 of 2 answers to dev examples are those of the run\n"
    names = [where / "model.safetensors" for where in (folder, tmp_path / kind)]
    exact, rounded = map(read_tensors, names)
    sizes = [sum(array.nbytes for array in load_file(name).values()) for name in names]
    assert sizes[1] < share * sizes[0]
    assert exact.keys() == rounded.keys()
    for name, weight in exact.items():
        step = np.abs(weight).max(axis=0) / (127 if kind == "int8" else 2**10)
        assert rounded[name].dtype == np.float32
        assert np.all(np.abs(rounded[name] - weight) <= 0.51 * step)
    lines = [one["source"] for one in ANSWERS]
    found = Transducer.load(tmp_path / kind)(lines)
    assert np.mean(np.array(found) == np.array(Transducer.load(folder)(lines))) >= 0.8


def test_an_export_that_answers_otherwise_is_not_written(folder, tmp_path, monkeypatch):
    def wrong(folder):
        return lambda lines, tags: [[("7", -0.5)]] * len(lines)

    monkeypatch.setattr(formats_numpy, "FORMAT", formats_numpy.FORMAT._replace(load=wrong))
    with pytest.raises(
        UserError, match=r"the export is wrong: it answers '.*' with '7' \(-0.5000\)"
    ):
        export(settings(f"run={folder.parent.parent}", f"output={tmp_path / 'x'}"))
    assert not any(tmp_path.iterdir())


def test_an_export_that_cannot_be_run_here_is_not_compared(folder, tmp_path, monkeypatch, capsys):
    def missing(folder):
        raise ImportError("No module named 'x'")

    monkeypatch.setattr(formats_numpy, "FORMAT", formats_numpy.FORMAT._replace(load=missing))
    export(settings(f"run={folder.parent.parent}", f"output={tmp_path / 'x'}"))
    assert "not compared with those of the run: No module named 'x'" in capsys.readouterr().err
