"""What a run leaves behind: files only, no model."""

from seq2seq.runs.run_dir import RunDir

__all__ = ["RunDir"]
