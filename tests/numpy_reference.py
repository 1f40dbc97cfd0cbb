"""Recurrent layers and attention in plain NumPy, batch first, written from the equations."""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _run(step, x, states, mask):
    """Runs `step(x_t, states) -> states`; a masked step keeps states and repeats the output."""
    batch, time, _ = x.shape
    states = [np.asarray(s, np.float64) for s in states]
    output = np.zeros_like(states[0])
    sequence = []
    for t in range(time):
        new = step(x[:, t].astype(np.float64), states)
        keep = np.ones((batch, 1), bool) if mask is None else mask[:, t, None]
        states = [np.where(keep, n, s) for n, s in zip(new, states, strict=True)]
        output = np.where(keep, new[0], output)
        sequence.append(output)
    return np.stack(sequence, axis=1), states


def lstm(x, h0, c0, kernel, recurrent_kernel, bias, mask=None):
    def step(x_t, states):
        h, c = states
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    sequence, (h, c) = _run(step, x, [h0, c0], mask)
    return sequence, h, c


def gru(x, h0, kernel, recurrent_kernel, bias, mask=None):
    def step(x_t, states):
        (h,) = states
        x_z, x_r, x_h = np.split(x_t @ kernel + bias[0], 3, axis=-1)
        h_z, h_r, h_h = np.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        return (z * h + (1 - z) * np.tanh(x_h + r * h_h),)

    sequence, (h,) = _run(step, x, [h0], mask)
    return sequence, h


def simple_rnn(x, h0, kernel, recurrent_kernel, bias, mask=None):
    def step(x_t, states):
        return (np.tanh(x_t @ kernel + states[0] @ recurrent_kernel + bias),)

    sequence, (h,) = _run(step, x, [h0], mask)
    return sequence, h


def peephole_lstm(x, h0, c0, kernel, recurrent_kernel, bias, peephole, mask=None):
    def step(x_t, states):
        h, c = states
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
        i, f = sigmoid(i + peephole[0] * c), sigmoid(f + peephole[1] * c)
        c = f * c + i * np.tanh(g)
        return sigmoid(o + peephole[2] * c) * np.tanh(c), c

    sequence, (h, c) = _run(step, x, [h0, c0], mask)
    return sequence, h, c


def rwa(x, h0, m0, w0, kernel, recurrent_kernel, bias, start=None, mask=None):
    """With the paper's numerator and denominator; `start` is in h0 already."""
    kernels = np.split(kernel, 3, axis=-1)
    g_kernel, a_kernel = np.split(recurrent_kernel, 2, axis=-1)
    b_u, b_g = np.split(bias, 2)

    def step(x_t, states):
        h, n, d = states
        u, g, a = (x_t @ one for one in kernels)
        weight = np.exp(a + h @ a_kernel)
        n = n + (u + b_u) * np.tanh(g + h @ g_kernel + b_g) * weight
        d = d + weight
        return np.tanh(n / d), n, d

    w0 = np.asarray(w0, np.float64)
    sequence, (h, n, d) = _run(step, x, [h0, m0 * np.exp(w0), np.exp(w0)], mask)
    return sequence, h, n / d, np.log(d)


CELLS = {
    "lstm": lstm,
    "lstm_zero_forget_bias": lstm,
    "gru": gru,
    "simple_rnn": simple_rnn,
    "peephole_lstm": peephole_lstm,
    "rwa": rwa,
}
STATES = {
    "lstm": ["state_h", "state_c"],
    "lstm_zero_forget_bias": ["state_h", "state_c"],
    "gru": ["state_h"],
    "simple_rnn": ["state_h"],
    "peephole_lstm": ["state_h", "state_c"],
    "rwa": ["state_h", "state_m", "state_w"],
}


def start(cell, weights, batch, units):
    """What a layer starts from by itself."""
    states = [np.zeros((batch, units)) for _ in STATES[cell]]
    if cell == "rwa":
        states[0] += np.tanh(weights[3])
        states[2] -= np.inf
    return states


def bidirectional(cell, x, weights, mask, units):
    """Returns the sequence (zero on padding) and the final states of both directions."""
    directions = []
    half = len(weights) // 2
    for mine, order in ((weights[:half], 1), (weights[half:], -1)):
        initial = start(cell, mine, len(x), units)
        read = CELLS[cell](x[:, ::order], *initial, *mine, mask=mask[:, ::order])
        directions.append(read)
    (forward, *forward_state), (backward, *backward_state) = directions
    sequence = np.concatenate([forward, backward[:, ::-1]], axis=-1)
    return sequence * mask[..., None], [*forward_state, *backward_state]


def attend(kind, query, memory, mask, weights):
    """Returns (context, attention weights); `weights` by name: key, query, query_bias, scale."""
    if kind == "additive":
        q = query @ weights["query"] + weights["query_bias"]
        k = memory @ weights["key"]
        scores = np.tanh(q[:, :, None] + k[:, None]) @ weights["scale"]
    else:
        keys = memory @ weights["key"] if kind == "general" else memory
        scores = query @ keys.transpose(0, 2, 1)
    attention = softmax(np.where(mask[:, None], scores, -np.inf))
    return attention @ memory, attention
