"""Recurrent encoder-decoders: an encoder returns its state, a bridge hands it to a decoder.

Shapes are written in square brackets beside the tensors they describe:

    B  batch (rows)                     V  vocabulary size
    S  source time steps                U  units of a recurrent layer
    T  target time steps                M  memory size: U, or 2 U from a bidirectional encoder
    K  beam size                        E  embedding size

Masks are True on real tokens and False on padding. Padding is always on the right.
This module imports nothing, so that the commands answer before TensorFlow is loaded.
"""

__version__ = "0.1.0"
