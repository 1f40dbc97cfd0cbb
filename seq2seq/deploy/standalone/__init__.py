"""Sources of an exported program, which runs where this package is not.

They are modules, so that they are checked and tested like the rest. `deploy/joined.py` joins those
that a format needs into the one file `transducer.py` of its folder. They import each other, their
format's runtime and the standard library; names at their top are unique in this room.

Shapes: B sources of S tokens; K hypotheses of each; U units; M = directions x U of the encoder;
G columns of a recurrent kernel; A columns of an attention; V target ids.
"""
