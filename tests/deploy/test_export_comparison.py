"""Comparison of an export with its run: a wrong text is refused, a tie of scores is not."""

import shutil

import pytest
from drawn_exports import LINES, make_predictor
from project import ROOT, compose_config

from seq2seq.deploy.comparison import compare_answers
from seq2seq.deploy.export import export
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError
from seq2seq.special_ids import EOS

GREEDY = {"decoding.kind": "greedy"}
BEAM = {"decoding.kind": "beam", "decoding.beam_size": 2}


def make_trained(words):
    """Returns a model that writes one symbol: x or y, which are equally probable, or seldom z."""
    words = {"model.units": 8, "decoding.min_length": 1, "decoding.max_length": 2, **words}
    predictor = make_predictor({**words, "data.target.tokens": "char"})
    kernel, bias = predictor.model.decoder.logits.weights
    x, y, z = predictor.vocabularies.target.encode("xyz")
    logits = [-50.0] * len(predictor.vocabularies.target)
    logits[x] = logits[y] = logits[EOS] = 2.0
    logits[z] = 1.0
    kernel.assign(kernel * 0)
    bias.assign(logits)
    return Trained("", None, {}, {}, [(LINES[0], ""), (LINES[1], "")], "", None, predictor, None)


def compare(trained, answers):
    """Compares with an export that has these answers."""
    made = Format("", (), check=None, write=None, load=lambda folder: lambda lines, tags: answers)
    compare_answers(made, trained, None)


@pytest.mark.parametrize("words", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_another_text_with_the_right_score_is_wrong_unless_it_is_a_tie(words, capsys):
    trained = make_trained(words)
    first, _ = trained.predictor.predict([source for source, _ in trained.examples])
    assert first.text == "x"
    score = first.hypotheses[0].score
    compare(trained, [[("x", score)], [("y", score + 1e-6)]])
    assert "1 of 2 answers to dev examples are those of the run" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"it answers 'é a' with 'z' .*the run with 'x'"):
        compare(trained, [[("x", score)], [("z", score)]])
    compare(trained._replace(quantize="int8"), [[("x", score)], [("z", score - 1)]])


def test_answers_may_not_be_missing_or_have_other_scores():
    trained = make_trained(GREEDY)
    first, _ = trained.predictor.predict([source for source, _ in trained.examples])
    score = first.hypotheses[0].score
    for wrong in ([], [("x", score - 0.01)], [("x", float("nan"))]):
        with pytest.raises(UserError, match="the export is wrong"):
            compare(trained, [[("x", score)], wrong])


def test_what_was_trained_in_bfloat16_is_exported_and_compared_in_float32(tmp_path, capsys):
    run = shutil.copytree(ROOT / "tests" / "fixtures" / "run_0_1", tmp_path / "run")
    text = (run / "config.yaml").read_text(encoding="utf-8")
    text = text.replace("precision: float32", "precision: mixed_bfloat16")
    (run / "config.yaml").write_text(text, encoding="utf-8")
    dev = "source\tfeatures\n0 1 2\t\n5 4 3\t\n1 1 0\t\n"
    (run / "predictions" / "dev.tsv").write_text(dev, encoding="utf-8")
    export(compose_config(f"run={run}", "format=numpy", name="export"))
    assert capsys.readouterr().err == "3 of 3 answers to dev examples are those of the run\n"
    card = (run / "export" / "numpy" / "model_card.md").read_text(encoding="utf-8")
    assert "trained in mixed_bfloat16. In float32, as here" in card
