"""Run folders: paths, checkpoints, weights files, provenance. Files only, no model."""

from seq2seq.runs.run_dir import RunDir

__all__ = ["RunDir"]
