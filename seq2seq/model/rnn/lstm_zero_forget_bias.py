"""The LSTM with a forget bias of 0: the initialisation before Gers et al. (2000).

Kept for comparison: Jozefowicz et al. (2015) measured how much the bias of 1 helps.
"""

from __future__ import annotations

from seq2seq.model.rnn.cells import CellSpec
from seq2seq.model.rnn.lstm import LSTM, LSTMEquations

SPEC = CellSpec(layer=LSTM, equations=LSTMEquations, arguments={"unit_forget_bias": False})
