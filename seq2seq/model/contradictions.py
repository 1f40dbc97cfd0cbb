"""Settings of a model that contradict each other, which no single range can express."""

from __future__ import annotations

from seq2seq.config.choices import AttentionKind, DecoderKind, InputKind
from seq2seq.config.schema import ModelConfig
from seq2seq.errors import UserError


def refuse_contradictions(config: ModelConfig) -> None:
    """Refuses settings of a model that do not fit each other.

    Raises:
        UserError: Names the settings and the way out.
    """
    if config.copy and config.attention.kind is AttentionKind.none:
        raise UserError(
            "model.copy=true copies the tokens that attention looks at: set model.attention.kind"
        )
    if config.tied_output and config.input is not InputKind.embedding:
        raise UserError(
            "model.tied_output=true needs an embedding to tie: set model.input=embedding"
        )
    if config.tied_output and config.attention.kind in (
        AttentionKind.hard,
        AttentionKind.monotonic,
    ):
        raise UserError(
            f"model.tied_output=true: model.attention.kind={config.attention.kind} has its own "
            "output layer: set model.tied_output=false"
        )
    if config.tied_output and config.decoder.kind is DecoderKind.repeat_vector:
        raise UserError(
            "model.tied_output=true needs a decoder that reads tokens: "
            "set model.decoder.kind=state_seeded"
        )
