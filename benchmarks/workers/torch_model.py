"""The same models in PyTorch, as its documentation recommends: `nn.LSTM`, `nn.GRU`, fused Adam."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.workers.ids import END, random_batch
from benchmarks.workers.protocol import Task, cores, serve, timed

Spec = dict[str, Any]
State = Any
BEAM_SIZE = 5
BEGIN = 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class EncoderDecoder(nn.Module):
    """Encoder-decoder without attention; the decoder starts from the encoder's final state."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[spec["cell"]]
        self.source_size = spec["source_vocabulary"]
        self.target_size = spec["target_vocabulary"]
        self.encoder = layer(self.source_size, spec["units"], batch_first=True)
        self.decoder = layer(self.target_size, spec["units"], batch_first=True)
        self.logits = nn.Linear(spec["units"], self.target_size)

    def encode(self, source: torch.Tensor) -> State:
        """Returns the state after reading ids `[B, S]`."""
        return self.encoder(functional.one_hot(source, self.source_size).float())[1]

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Returns logits `[B, T, V]` for ids `[B, T]`, and the state after them."""
        inputs = functional.one_hot(tokens, self.target_size).float()
        sequence, state = self.decoder(inputs, state)
        return self.logits(sequence), state

    def forward(self, source: torch.Tensor, target_in: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, T, V]` under teacher forcing."""
        return self.decode(target_in, self.encode(source))[0]


class AttentiveModel(nn.Module):
    """This project's model with attention: BiLSTM, dense bridge, LSTM, additive attention."""

    def __init__(self, spec: Spec, source_size: int, target_size: int) -> None:
        super().__init__()
        units, size = spec["units"], spec["embedding"]
        self.source = nn.Embedding(source_size, size)
        self.target = nn.Embedding(target_size, size)
        self.encoder = nn.LSTM(size, units, batch_first=True, bidirectional=True)
        self.bridges = nn.ModuleList(nn.Linear(2 * units, units) for _ in "hc")
        self.decoder = nn.LSTM(size, units, batch_first=True)
        self.query = nn.Linear(units, units)
        self.key = nn.Linear(2 * units, units, bias=False)
        self.score = nn.Linear(units, 1, bias=False)
        self.combine = nn.Linear(3 * units, units)
        self.logits = nn.Linear(units, target_size)
        self.dropout = nn.Dropout(spec["dropout"])

    def forward(self, source: torch.Tensor, target_in: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, T, V]` for ids `[B, S]` and `[B, T]` under teacher forcing."""
        is_real = source != 0
        packed = pack_padded_sequence(
            self.dropout(self.source(source)), is_real.sum(1).cpu(), True, enforce_sorted=False
        )
        packed, final = self.encoder(packed)
        memory = self.dropout(pad_packed_sequence(packed, True)[0])  # [B, S', 2U]
        is_real = is_real[:, : memory.shape[1]]
        state = tuple(
            torch.tanh(bridge(torch.cat([*states], -1)))[None]
            for bridge, states in zip(self.bridges, final, strict=True)
        )
        sequence, _ = self.decoder(self.dropout(self.target(target_in)), state)
        projected = self.query(sequence)[:, :, None] + self.key(memory)[:, None]
        scores = self.score(torch.tanh(projected))[..., 0]  # [B, T, S']
        weights = scores.masked_fill(~is_real[:, None], -torch.inf).softmax(-1)
        context = torch.bmm(weights, memory)
        combined = torch.tanh(self.combine(torch.cat([context, sequence], -1)))
        return self.logits(self.dropout(combined))


def epoch(spec: Spec) -> Task:
    """Epochs of the model with attention on batches of this project's pipeline, from memory."""
    with np.load(spec["batches"]) as arrays:
        ids = [torch.from_numpy(array).long().to(DEVICE) for array in arrays.values()]
    batches = list(zip(ids[::3], ids[1::3], ids[2::3], strict=True))
    sizes = (1 + max(int(ids.max()) for ids in side) for side in zip(*batches, strict=True))
    source_size, _, target_size = sizes
    model = AttentiveModel(spec, source_size, target_size).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    in_bfloat16 = _multiply_in(spec.get("products", "float32"))

    def one_epoch() -> None:
        for source, target_in, target_out in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE, torch.bfloat16, enabled=in_bfloat16):
                logits = model(source, target_in).flatten(0, 1)
            loss = functional.cross_entropy(logits.float(), target_out.flatten(), ignore_index=0)
            loss.backward()
            optimizer.step()
        _wait()

    return Task(timed(one_epoch), {**_info(model), "steps": len(batches)})


def step(spec: Spec) -> Task:
    """Training steps on one batch of ids, the form in which real data would arrive."""
    model = EncoderDecoder(spec).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    source, target_in, target_out = (
        torch.from_numpy(ids).long().to(DEVICE) for ids in random_batch(spec)
    )
    in_bfloat16 = _multiply_in(spec.get("products", "float32"))

    def one_call() -> None:
        for _ in range(spec["steps"]):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(DEVICE, torch.bfloat16, enabled=in_bfloat16):
                logits = model(source, target_in)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), target_out.flatten())
            loss.backward()
            optimizer.step()
        _wait()

    return Task(timed(one_call), _info(model))


def decode(spec: Spec) -> Task:
    """Search in a Python loop over the steps, with one call for all rows per step."""
    model = EncoderDecoder(spec).to(DEVICE).eval()
    with torch.no_grad():
        model.logits.bias[END] = -50.0
    search = {"greedy": _greedy, "beam": _beam}[spec["search"]]
    source = torch.from_numpy(random_batch(spec).source).long().to(DEVICE)

    def one_batch() -> None:
        with torch.inference_mode():
            search(model, source, spec["length"]).cpu().numpy()

    return Task(timed(one_batch), _info(model))


def _greedy(model: EncoderDecoder, source: torch.Tensor, length: int) -> torch.Tensor:
    """Returns ids `[B, T]`, without a check for the end of sequence, which never wins here."""
    state = model.encode(source)
    tokens, written = torch.full([len(source), 1], BEGIN, device=DEVICE), []
    for _ in range(length):
        logits, state = model.decode(tokens, state)
        tokens = logits.argmax(-1)
        written.append(tokens)
    return torch.cat(written, 1)


def _beam(model: EncoderDecoder, source: torch.Tensor, length: int) -> torch.Tensor:
    """Returns ids `[B, T]` of the best hypotheses, of which none ends early."""
    rows, size = len(source), model.target_size
    state = _map(lambda s: s.repeat_interleave(BEAM_SIZE, 1), model.encode(source))
    tokens = torch.full([rows * BEAM_SIZE, 1], BEGIN, device=DEVICE)
    written = torch.zeros([rows * BEAM_SIZE, 0], dtype=torch.long, device=DEVICE)
    # All hypotheses of a row are equal at first, so only one of them may be extended.
    scores = torch.full([rows, BEAM_SIZE], -torch.inf, device=DEVICE)
    scores[:, 0] = 0.0
    first = torch.arange(rows, device=DEVICE)[:, None] * BEAM_SIZE  # [B, 1]
    for _ in range(length):
        logits, state = model.decode(tokens, state)
        log_probs = logits[:, 0].log_softmax(-1).view(rows, BEAM_SIZE, size)
        scores, best = (scores[..., None] + log_probs).view(rows, -1).topk(BEAM_SIZE)
        parents = (first + best // size).flatten()  # [B * K]
        tokens = (best % size).view(-1, 1)
        state = _map(lambda s, parents=parents: s[:, parents], state)
        written = torch.cat([written[parents], tokens], 1)
    return written.view(rows, BEAM_SIZE, length)[:, 0]


def _multiply_in(products: str) -> bool:
    """Sets how a GPU multiplies float32 matrices; tells whether products are to be in bfloat16."""
    torch.backends.cuda.matmul.allow_tf32 = products == "tf32"
    torch.backends.cudnn.allow_tf32 = products == "tf32"
    return products == "bfloat16"


def _wait() -> None:
    """Waits until the GPU is done; on a CPU every call does."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _map(function: Any, state: State) -> State:
    """Applies a function to the states `[1, B, U]`: two of an LSTM, one of a GRU."""
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


def _info(model: nn.Module) -> dict[str, int]:
    return {"parameters": sum(weight.numel() for weight in model.parameters())}


TASKS = {"step": step, "epoch": epoch, "decode": decode}

if __name__ == "__main__":
    torch.set_num_threads(cores())
    serve(lambda spec: TASKS[spec["task"]](spec))
