"""Command `python -m seq2seq.score run=RUN_DIR data.test=F`: log-probabilities of given pairs."""

from seq2seq.config.commands import ScoreConfig
from seq2seq.config.program import program


@program("score", ScoreConfig)
def main(config: ScoreConfig) -> None:
    """Writes one line per pair."""
    from seq2seq.inference import scoring

    scoring.score(config)


if __name__ == "__main__":
    main()
