"""What has become of a run, by the files in its folder."""

from __future__ import annotations

from seq2seq.config.choices import Status
from seq2seq.files import is_locked
from seq2seq.runs.run_dir import RunDir


def status_of(run: RunDir) -> Status:
    """Returns the status of a run.

    A finished run that is trained on is running; if it is then stopped, it still has the results of
    its first end and counts as finished.
    """
    if is_locked(run.path):
        return Status.running
    if run.results.is_file():
        return Status.finished
    return Status.diverged if _has_diverged(run) else Status.stopped


def _has_diverged(run: RunDir) -> bool:
    """Whether the newest thing that happened is a loss that is not finite."""
    if not run.diverged.is_file():
        return False
    # A run that was resumed with other settings has newer checkpoints.
    checkpoints = [path.stat().st_mtime_ns for path in run.checkpoints.glob("*.npz")]
    return run.diverged.stat().st_mtime_ns >= max(checkpoints, default=0)
