"""Recurrent layers: equations of the cells, one loop over time, traces of states and gates."""
