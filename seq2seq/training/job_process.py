"""Process that trains or resumes one run: `python -m seq2seq.training.job_process`.

It reads what to do from standard input, a line of JSON. When standard input ends before it does,
the process that started it was killed: it saves a checkpoint and stops.
"""

from __future__ import annotations

import json
import sys

from seq2seq.config.load import from_yaml
from seq2seq.config.program import log_to_standard_error, prepare
from seq2seq.config.schema import RunConfig
from seq2seq.config.streams import refuse
from seq2seq.errors import UserError
from seq2seq.training.job import Job
from seq2seq.training.lifeline import stop_at_end_of, take_standard_input


def main() -> None:
    """Trains or resumes the run; exits like `train.py`."""
    orders = take_standard_input()
    job = Job(**json.loads(orders.readline()))
    stop_at_end_of(orders)
    sys.argv[0] = job.program
    log_to_standard_error()
    try:
        prepare(job.device)
        from seq2seq.training.run import resume, train

        if job.config:
            train(from_yaml(job.config, RunConfig), job.folder, job.hydra_record)
        else:
            resume(job.folder, job.changes, job.trust)
    except (UserError, OSError) as error:
        sys.exit(refuse(str(error)))


if __name__ == "__main__":
    main()
