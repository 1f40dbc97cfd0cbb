"""Format `litert`: a file for LiteRT (TensorFlow Lite) without Flex operators, and its driver.

Its signatures have static shapes. `encode_S` reads one source of up to S ids; `step_S` decodes one
step of K hypotheses of that source. The search between them is that of the format `numpy`.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from seq2seq.config.choices import Quantization, SearchKind
from seq2seq.deploy.folder import answerer, write_text_files
from seq2seq.deploy.trained import Answerer, Format, Trained
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.model.seq2seq import Seq2Seq

FILES = {"model.tflite": "the model, with the signatures encode_S and step_S"}
_SHORTEST, _GROWTH = 16, 4


def check(trained: Trained) -> None:
    """Refuses what the format cannot have.

    Raises:
        UserError: It is an ensemble.
    """
    if trained.graph.description["others"]:
        raise UserError("format=litert has no ensembles; distill one into one model, or use numpy")


def write(trained: Trained, folder: Path) -> None:
    """Writes the files."""
    decoding = trained.predictor.decoding
    rows = 1 if decoding.kind is SearchKind.greedy else decoding.beam_size
    text = trained.graph.description["text"]
    sides = 2 if text["features"] else 1  # Features stand before the source's tokens.
    lengths = lengths_up_to(sides * text["max_source_length"])
    content = convert(trained.predictor.model, lengths, rows, trained.quantize)
    (folder / "model.tflite").write_bytes(content)
    description = {**trained.graph.description, "litert": {"lengths": lengths, "rows": rows}}
    graph = dataclasses.replace(trained.graph, description=description)
    made = trained._replace(graph=graph)
    write_text_files(made, folder, "on_litert", "ai-edge-litert, NumPy", FILES)


def load(folder: Path) -> Answerer:
    """Returns what answers with a folder."""
    from seq2seq.deploy.standalone.on_litert import Transducer

    return answerer(Transducer.load(folder))


def lengths_up_to(limit: int) -> list[int]:
    """Returns the lengths of sources that have signatures of their own."""
    lengths = [_SHORTEST]
    while lengths[-1] < limit:
        lengths.append(min(limit, lengths[-1] * _GROWTH))
    return lengths


def convert(
    model: Seq2Seq, lengths: list[int], rows: int, quantize: Quantization | None = None
) -> bytes:
    """Returns the file of a model.

    Args:
        model: The model.
        lengths: For each, there are the signatures `encode_S` and `step_S`.
        rows: K, the hypotheses of a step.
        quantize: How matrices are stored; with int8 their products are computed in whole numbers.
    """
    import tensorflow as tf

    from seq2seq.deploy.static_shapes import signatures

    made = signatures(model, lengths, rows)
    module = tf.Module()
    module.variables_of_the_model = [weight.value for weight in model.variables]
    with tempfile.TemporaryDirectory() as folder:
        # Converting functions directly ran and returned wrong numbers, or did not run.
        tf.saved_model.save(module, folder, signatures=made)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[*made])
        if quantize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize is Quantization.float16:
            converter.target_spec.supported_types = [tf.float16]
        content: bytes = converter.convert()
    return content


FORMAT = Format(extra="litert", needs=(), check=check, write=write, load=load)
