"""What NumPy computes: the words that the modules of `standalone/` know."""

from __future__ import annotations

from seq2seq.deploy.kinds import Kinds
from seq2seq.deploy.standalone.attention import ATTENTIONS
from seq2seq.deploy.standalone.heads import HEADS
from seq2seq.deploy.standalone.network import BRIDGES, DECODERS
from seq2seq.deploy.standalone.recurrent import CELLS

KINDS = Kinds(CELLS, DECODERS, ATTENTIONS, HEADS, BRIDGES)
