"""`python -m seq2seq.evaluate run=RUN_DIR data.test=F`: scores a run on a file, as JSON."""

import json

from seq2seq.command import command
from seq2seq.command_config import EvaluateConfig


@command("evaluate", EvaluateConfig)
def main(config: EvaluateConfig) -> None:
    """Prints the scores."""
    from seq2seq.evaluation import evaluate_run

    print(json.dumps(evaluate_run(config), indent=2))


if __name__ == "__main__":
    main()
