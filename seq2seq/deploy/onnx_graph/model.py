"""The ONNX model of a graph: its inputs and outputs, and what a file tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnx import ModelProto, checker, helper

from seq2seq import __version__
from seq2seq.deploy.onnx_graph.builder import FLOAT, INT64, Builder
from seq2seq.deploy.onnx_graph.network import Network
from seq2seq.deploy.onnx_graph.search import Options, beam_search, confidence

if TYPE_CHECKING:
    from seq2seq.deploy.graph import Graph

DOC = """A recurrent encoder-decoder with its beam search.

`source` holds ids of tokens, padded on the right with 0. All other inputs are optional numbers, and
are those of the exported search unless they are given. Greedy search is beam_size 1 with
length_penalty 0. `n_best` is at most `beam_size`. A score of -inf means: there is no such answer.
"""


def make_model(
    graph: Graph, quantize: str | None = None, properties: Mapping[str, str] | None = None
) -> ModelProto:
    """Returns the model, checked.

    Args:
        graph: The trained model.
        quantize: `float16` or `int8`: how weights are stored; None: as float32.
        properties: Metadata of the file.

    Raises:
        onnx.checker.ValidationError: The model is not valid.
    """
    search: dict[str, Any] = graph.description["decoding"]
    is_greedy = search["kind"] == "greedy"
    g = Builder(quantize)
    source = g.input("source", INT64, ["batch", "time"], "ids of tokens; 0 is padding")
    options = Options(
        g.option("beam_size", 1 if is_greedy else search["beam_size"], "hypotheses of a source"),
        g.option("n_best", search["n_best"], "answers to a source"),
        g.option(
            "length_penalty",
            0.0 if is_greedy else float(search["length_penalty"]),
            "0 ranks by log-probability; above 0 favours long answers",
        ),
        g.option("max_length", search["max_length"], "of an answer, its end included"),
        g.option("min_length", search["min_length"], "of an answer"),
    )
    temperature = g.option(
        "temperature", 0.0, "that of `confidence`; 0: confidences are not computed and are 0"
    )
    network = Network(graph.description["model"], graph.weights)
    tokens, scores = beam_search(g, network, source, options)

    def best(inner: Builder) -> str:
        first = inner.Gather(tokens, 0, axis=1)
        with inner.scope("confidence"):
            return confidence(inner, network, source, first, temperature)

    batch = g.Shape(source, start=0, end=1)
    confidences = g.either(
        g.Greater(temperature, 0.0), best, lambda inner: inner.Expand(0.0, batch)
    )
    g.op("Identity", tokens, names=["tokens"])
    g.op("Identity", scores, names=["scores"])
    g.op("Identity", confidences, names=["confidence"])
    outputs = [
        helper.make_tensor_value_info(
            "tokens", INT64, ["batch", "n_best", "steps"], "ids, the best answer first; 3 ends them"
        ),
        helper.make_tensor_value_info("scores", FLOAT, ["batch", "n_best"], "of the answers"),
        helper.make_tensor_value_info("confidence", FLOAT, ["batch"], "of the best answer"),
    ]
    model = g.model(outputs, "seq2seq", DOC)
    model.producer_name, model.producer_version = "seq2seq", __version__
    helper.set_model_props(model, {**(properties or {})})
    checker.check_model(model, full_check=True)
    return model
