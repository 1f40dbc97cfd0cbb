"""Searches for likely target ids: pure functions of a step, without a model and without text.

A step takes the tokens just chosen and a nested state, and returns log-probs and the new state.
Every search is a single `tf.while_loop` that ends as soon as all rows have ended. It runs eagerly,
in `tf.function` and under XLA, with any batch size.

A search is a file named like its word in `choices.SearchKind`, with a `SPEC`.
"""

from seq2seq.inference.search.beam import beam
from seq2seq.inference.search.greedy import greedy
from seq2seq.inference.search.hypotheses import Hypotheses, State, Step, tile
from seq2seq.inference.search.sampling import sample

__all__ = ["Hypotheses", "State", "Step", "beam", "greedy", "sample", "tile"]
