"""The closed sets of settings: what may stand where a name is asked for."""

from __future__ import annotations

from enum import StrEnum, auto


class Task(StrEnum):
    """Where examples come from: generated tasks, or files of tab-separated columns."""

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
    """Unicode normalisation forms."""

    NFC = "NFC"
    NFD = "NFD"
    NFKC = "NFKC"
    NFKD = "NFKD"
    none = "none"


class Cell(StrEnum):
    """Recurrent cells."""

    lstm = auto()
    lstm_zero_forget_bias = auto()
    gru = auto()
    simple_rnn = auto()
    peephole_lstm = auto()
    rwa = auto()


class InputKind(StrEnum):
    """How ids are read."""

    one_hot = auto()
    embedding = auto()


class DecoderKind(StrEnum):
    """What the decoder reads at every step."""

    state_seeded = auto()
    repeat_vector = auto()


class BridgeKind(StrEnum):
    """How a state is handed over."""

    copy = auto()
    sum = auto()
    concat = auto()
    dense = auto()
    zero = auto()
    learned = auto()


class AttentionKind(StrEnum):
    """How the decoder's queries are compared with the memory."""

    none = auto()
    dot = auto()
    general = auto()
    additive = auto()


class Precision(StrEnum):
    """What layers compute in."""

    float32 = auto()
    mixed_bfloat16 = auto()


class Monitor(StrEnum):
    """The dev metrics that can choose the best epoch."""

    sequence_accuracy = auto()
    symbol_error_rate = auto()
    loss = auto()
    bleu = auto()
    chrf = auto()


class Divergence(StrEnum):
    """What to do when a loss or a gradient is not finite."""

    stop = auto()
    skip = auto()


class SearchKind(StrEnum):
    """Ways to decode."""

    greedy = auto()
    beam = auto()
    sampling = auto()


class OutputFormat(StrEnum):
    """Forms of the answers of `infer.py`."""

    text = auto()
    tsv = auto()
    jsonl = auto()


STACKED = "stacked"
LAYERS = (*map(str, Cell), *(f"bidirectional_{cell}" for cell in Cell), STACKED)
"""The layers whose states can be shown; `stacked` is two LSTM cells in one `keras.layers.RNN`."""
