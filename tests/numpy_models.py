"""Encoder, bridge and decoder in plain NumPy, from the weights of a Keras model and its settings.

Written from the definitions, layer by layer; of the model's code only its weights are used.
"""

import numpy as np
import numpy_reference as reference

from seq2seq.special_ids import PAD


def read(reader, ids):
    """Ids to one-hot vectors or embeddings."""
    if reader.embedding is None:
        return np.eye(reader.one_hot_depth)[ids]
    return reader.embedding.get_weights()[0][ids]


def encode(model, config, source):
    """Returns the top layer's sequence and, per layer, states in the order of the directions."""
    cell = config.encoder.cell or config.cell
    units = config.encoder.units or config.units
    mask, sequence, states = source != PAD, read(model.encoder.reader, source), []
    for layer in model.encoder.recurrent_layers:
        weights = layer.get_weights()
        if config.encoder.bidirectional:
            sequence, state = reference.bidirectional(cell, sequence, weights, mask, units)
        else:
            initial = reference.start(cell, weights, len(source), units)
            sequence, *state = reference.CELLS[cell](sequence, *initial, *weights, mask=mask)
        states.append(state)
    return sequence, states


def bridge(model, config, states):
    """Returns the decoder's initial states per layer."""
    encoder_states = reference.STATES[config.encoder.cell or config.cell]
    decoder_states = reference.STATES[config.decoder.cell or config.cell]
    depth = config.decoder.layers or config.layers
    units = config.decoder.units or config.units
    # A deeper decoder repeats the uppermost layer; a shallower one takes the upper layers.
    aligned = [*states, *[states[-1]] * max(0, depth - len(states))][-depth:]
    kinds = {"state_h": config.bridge.state_h, "state_c": config.bridge.state_c}
    result = []
    for number, state in enumerate(aligned):
        result.append([])
        for name in decoder_states:
            i = encoder_states.index(name) if name in encoder_states else 0
            directions = state[i :: len(encoder_states)]
            side_by_side = np.concatenate(directions, axis=-1)
            kind, slot = kinds.get(name) or config.bridge.kind, f"{name}_{number}"
            is_weight_of_nothing = name == "state_w" and name not in encoder_states
            if is_weight_of_nothing and kind in ("copy", "sum", "concat"):
                kind = "zero"
            if kind == "copy":
                [handed] = directions
            elif kind == "sum":
                handed = np.sum(directions, axis=0)
            elif kind == "concat":
                handed = side_by_side
            elif kind == "dense":
                kernel, bias = model.bridge.dense_layers[slot].get_weights()
                handed = np.tanh(side_by_side @ kernel + bias)
            elif kind == "learned":
                handed = np.tile(np.array(model.bridge.learned[slot]), (len(side_by_side), 1))
            else:
                handed = np.zeros((len(side_by_side), units))
            result[-1].append(handed)
    return result


def attend(layer, kind, query, memory, mask):
    """Returns the attentional vectors and the attention weights."""
    weights = {}
    if kind in ("general", "additive"):
        weights["key"] = layer.key_projection.get_weights()[0]
    if kind == "additive":
        weights["query"], weights["query_bias"] = layer.query_projection.get_weights()
        [weights["scale"]] = layer.score.get_weights()
    context, attention = reference.attend(kind, query, memory, mask, weights)
    kernel, bias = layer.combine.get_weights()
    return np.tanh(np.concatenate([context, query], axis=-1) @ kernel + bias), attention


def copies_of(model, source):
    """Returns what each source token is copied as, one-hot `[B, S, V]`; zeros: nothing."""
    size = model.target_size
    return np.eye(size + 1)[np.array(model.copies)[source]][..., :size]


def point(head, words, query, attention, copies):
    """Returns the log-probabilities of a pointer-generator; the words' are `[B, T, V]`."""
    kernel, bias = head.gate.get_weights()
    gate = 1 / (1 + np.exp(-(query @ kernel + bias)))  # [B, T, 1]
    result = gate * words
    for s in range(copies.shape[1]):
        can_copy = copies[:, s].any(axis=1)[:, None, None]
        symbol = np.where(can_copy, copies[:, None, s], words)
        result = result + (1 - gate) * attention[:, :, s, None] * symbol
    return np.log(result)


def mix(head, kind, query, memory, mask, target_in, copies):
    """Returns the log-probabilities of hard attention, and the alignment before each token."""
    [key], [source_part] = head.key.get_weights(), head.source_part.get_weights()
    target_part, target_bias = head.target_part.get_weights()
    words, words_bias = head.words.get_weights()
    scores = np.einsum("btu,bsu->bts", query, memory @ key)
    scores[np.broadcast_to(~mask[:, None], scores.shape)] = -1e9
    vectors = np.tanh(
        (query @ target_part + target_bias)[:, :, None] + (memory @ source_part)[:, None]
    )
    tokens = reference.softmax(vectors @ words + words_bias)  # [B, T, S, V]
    if head.gate is not None:
        kernel, bias = head.gate.get_weights()
        gate = 1 / (1 + np.exp(-(vectors @ kernel + bias)))  # [B, T, S, 1]
        can_copy = copies.any(axis=2)[:, None, :, None]
        tokens = np.where(can_copy, gate * tokens + (1 - gate) * copies[:, None], tokens)
    alignment = reference.softmax(scores)  # [B, T, S]
    if kind == "monotonic":
        rows = np.arange(len(query))
        left = np.eye(scores.shape[2])[np.zeros(len(query), int)]  # the first position
        for t in range(scores.shape[1]):
            if t > 0:
                left = alignment[:, t - 1] * tokens[rows, t - 1, :, target_in[:, t]]
                left /= left.sum(axis=1, keepdims=True)
            moved = np.zeros_like(left)
            for r in range(scores.shape[2]):
                moved[:, r:] += left[:, r, None] * reference.softmax(scores[:, t, r:])
            alignment[:, t] = moved
    return np.log(np.einsum("bts,btsv->btv", alignment, tokens)), alignment


def read_features(model, source):
    """Returns the vector of each row's features, which are the last source ids."""
    kernel, bias = model.decoder.features.get_weights()
    first = model.source_size - model.feature_size
    sums = [sum((kernel[i - first] for i in row if i >= first), start=bias) for row in source]
    return np.maximum(sums, 0.0)


def decode(model, config, target_in, state, memory=None, mask=None, vector=None, copies=None):
    """Returns logits, the final states per layer, and the attention weights or None.

    `vector` is what the decoder reads at every step, beside or in place of the previous token.
    """
    decoder, cell = model.decoder, config.decoder.cell or config.cell
    if config.decoder.kind == "repeat_vector":
        sequence = np.repeat(vector[:, None], target_in.shape[1], axis=1)
    else:
        sequence = read(decoder.reader, target_in)
    if config.decoder.kind == "with_features":
        features = np.repeat(vector[:, None], target_in.shape[1], axis=1)
        sequence = np.concatenate([sequence, features], axis=-1)
    final, attention = [], None
    for layer, layer_state in zip(decoder.recurrent_layers, state, strict=True):
        sequence, *after = reference.CELLS[cell](sequence, *layer_state, *layer.get_weights())
        final.append(after)
    kind = config.attention.kind
    if kind in ("hard", "monotonic"):
        logits, attention = mix(decoder.logits, kind, sequence, memory, mask, target_in, copies)
        return logits, final, attention
    if kind != "none":
        sequence, attention = attend(decoder.attention, kind, sequence, memory, mask)
    kernel, bias = (decoder.logits.words if config.copy else decoder.logits).get_weights()[-2:]
    logits = sequence @ kernel + bias
    if config.tied_output:
        logits = logits @ decoder.reader.embedding.get_weights()[0].T
    if config.copy:
        words = reference.softmax(logits)
        logits = point(decoder.logits, words, sequence, attention, copies)
    return logits, final, attention


def forward(model, config, source, target_in):
    """The whole encoder-decoder under teacher forcing: logits, the decoder's final states."""
    memory, states = encode(model, config, source)
    n = len(reference.STATES[config.encoder.cell or config.cell])
    vector = np.concatenate(states[-1][::n], axis=-1)
    if config.decoder.kind == "with_features":
        vector = read_features(model, source)
    initial = bridge(model, config, states)
    copies = copies_of(model, source) if config.copy else None
    return decode(model, config, target_in, initial, memory, source != PAD, vector, copies)[:2]
