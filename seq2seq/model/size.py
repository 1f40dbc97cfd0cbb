"""How large a model is at least, from its settings alone, before any memory is asked for."""

from __future__ import annotations

from seq2seq.config.choices import AttentionKind, BridgeKind, DecoderKind, InputKind
from seq2seq.config.resolve import resolve_model
from seq2seq.config.schema import ModelConfig
from seq2seq.model.types import StateShape


def least_weights(config: ModelConfig, source_size: int, target_size: int) -> int:
    """Returns a number of weights that no model of these settings stays below.

    Counts every matrix once, with one gate per cell, so that it holds for all cells and is a fair
    fraction of the true number (an LSTM has four gates).

    Args:
        config: The model's settings.
        source_size: Number of source (and feature) ids.
        target_size: Number of target ids, V.
    """
    config = resolve_model(config)
    encoder, decoder = StateShape.of_encoder(config), StateShape.of_decoder(config)
    memory_size = encoder.units * encoder.directions
    weights = _stack(encoder, _input_size(config, source_size))
    if config.decoder.kind is DecoderKind.repeat_vector:
        weights += _stack(decoder, memory_size)
    else:
        weights += _stack(decoder, _input_size(config, target_size))
    if config.input is InputKind.embedding:
        weights += source_size * config.embedding_size
        if config.decoder.kind is not DecoderKind.repeat_vector and not config.tied_output:
            weights += target_size * config.embedding_size
    if config.tied_output:
        weights += (target_size + decoder.units) * config.embedding_size
    else:
        weights += target_size * decoder.units
    return weights + _attention(config, decoder.units, memory_size) + _bridge(config, memory_size)


def _input_size(config: ModelConfig, ids: int) -> int:
    return ids if config.input is InputKind.one_hot else config.embedding_size


def _stack(shape: StateShape, input_size: int) -> int:
    """Counts one gate's kernel and recurrent kernel in every layer."""
    width = shape.units * shape.directions
    upper = (shape.layers - 1) * width * (width + shape.units)
    return width * (input_size + shape.units) + upper


def _attention(config: ModelConfig, query_size: int, memory_size: int) -> int:
    kind = config.attention.kind
    if kind is AttentionKind.none:
        return 0
    combine = (memory_size + query_size) * query_size
    if kind is AttentionKind.additive:
        return combine + (memory_size + query_size) * (config.attention.units or query_size)
    return combine + (memory_size * query_size if kind is AttentionKind.general else 0)


def _bridge(config: ModelConfig, memory_size: int) -> int:
    decoder = StateShape.of_decoder(config)
    # Of every cell: state_h; those of state_c are as many again at most.
    is_dense = (config.bridge.state_h or config.bridge.kind) is BridgeKind.dense
    return decoder.layers * memory_size * decoder.units if is_dense else 0
