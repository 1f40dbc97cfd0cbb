"""Job of a sweep in this process, for other launchers and sweepers of Hydra."""

from __future__ import annotations

from seq2seq.errors import UserError
from seq2seq.training.run import resume, train
from seq2seq.training.sweep import begin, score_of
from seq2seq.training.sweep_job import Plan, SweepJob


def train_here(plan: Plan) -> float:
    """Trains or resumes a job, if it is not finished.

    Returns:
        The monitored dev metric, by which a sweeper can choose the next settings.

    Raises:
        UserError: As `train` and `resume`; or another process trains it.
    """
    job = SweepJob("", plan)
    begun = begin(job, [])
    if begun is not None and begun.config:
        train(plan.config, begun.folder, plan.hydra_record)
    elif begun is not None:
        resume(begun.folder, begun.changes, begun.trust)
    if job.run is None or job.status in ("failed", "diverged"):
        raise UserError(job.problem or f"{plan.folder}: another process is training this job")
    return score_of(job.run)
