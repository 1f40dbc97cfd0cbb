"""Enumerations of the settings that are a word from a closed set.

A value is spelled as its name, in settings as in messages.
"""

from __future__ import annotations

from enum import StrEnum, auto


class Task(StrEnum):
    """Source of the examples: a generated task, or `tsv`, files of tab-separated columns.

    A generated task is a word here, `data/tasks/WORD.py` and `configs/data/WORD.yaml`.
    """

    reverse = auto()
    copy = auto()
    sort = auto()
    addition = auto()
    scan = auto()
    dates = auto()
    tsv = auto()


class ScanSplit(StrEnum):
    """The published splits of SCAN."""

    simple = auto()
    length = auto()
    turn_left = auto()
    jump = auto()


class Normalization(StrEnum):
    """Unicode normalization forms; `auto`: NFC or NFD, by the text of the training."""

    auto = "auto"
    NFC = "NFC"
    NFD = "NFD"
    NFKC = "NFKC"
    NFKD = "NFKD"
    none = "none"


class Device(StrEnum):
    """What computes; `auto`: a GPU if TensorFlow sees one."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class Engine(StrEnum):
    """What computes answers; `auto`: NumPy answers few lines, where it can."""

    auto = "auto"
    tensorflow = "tensorflow"


class Cell(StrEnum):
    """Recurrent cells."""

    lstm = auto()
    lstm_zero_forget_bias = auto()
    gru = auto()
    simple_rnn = auto()
    peephole_lstm = auto()
    rwa = auto()


class InputKind(StrEnum):
    """Forms in which the model reads ids."""

    one_hot = auto()
    embedding = auto()


class DecoderKind(StrEnum):
    """Inputs of the decoder at every step, in addition to its state."""

    state_seeded = auto()
    repeat_vector = auto()
    with_features = auto()


class BridgeKind(StrEnum):
    """Ways to make the decoder's initial state from the encoder's final state."""

    copy = auto()
    sum = auto()
    concat = auto()
    dense = auto()
    zero = auto()
    learned = auto()


class AttentionKind(StrEnum):
    """Ways to look at the memory: a mean of it (dot, general, additive) or one position of it."""

    none = auto()
    dot = auto()
    general = auto()
    additive = auto()
    hard = auto()
    monotonic = auto()


class Precision(StrEnum):
    """Number formats in which layers compute."""

    float32 = auto()
    mixed_bfloat16 = auto()


class Monitor(StrEnum):
    """Dev metrics that can select the best epoch."""

    sequence_accuracy = auto()
    symbol_error_rate = auto()
    loss = auto()
    bleu = auto()
    chrf = auto()


class Divergence(StrEnum):
    """Reactions to a loss or a gradient that is not finite."""

    stop = auto()
    skip = auto()


class Strategy(StrEnum):
    """Who trains: one device, several devices of a machine, or several processes."""

    single = auto()
    mirrored = auto()
    multi_worker = auto()


class SearchKind(StrEnum):
    """Search algorithms."""

    greedy = auto()
    beam = auto()
    sampling = auto()


class OutputFormat(StrEnum):
    """Output formats of `infer.py`."""

    text = auto()
    tsv = auto()
    jsonl = auto()


class BoardFormat(StrEnum):
    """Output formats of `python -m seq2seq.leaderboard`."""

    text = auto()
    csv = auto()
    html = auto()


class Status(StrEnum):
    """States of a run; `stopped`: by a signal, a crash or a mistake, and can be resumed."""

    finished = auto()
    running = auto()
    diverged = auto()
    stopped = auto()


class ScoreFormat(StrEnum):
    """Output formats of `python -m seq2seq.score`."""

    tsv = auto()
    jsonl = auto()


class ExportFormat(StrEnum):
    """Formats of `python -m seq2seq.export`: a word here, and `deploy/formats/WORD.py`."""

    numpy = auto()
    onnx = auto()
    saved_model = auto()
    litert = auto()


class Quantization(StrEnum):
    """Numbers in which an exported model stores its matrices."""

    float16 = auto()
    int8 = auto()


STACKED = "stacked"
LAYERS = (*map(str, Cell), *(f"bidirectional_{cell}" for cell in Cell), STACKED)
"""The layers whose states can be shown; `stacked` is two LSTM cells in one `keras.layers.RNN`."""
