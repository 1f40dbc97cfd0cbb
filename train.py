"""Trains an encoder-decoder; alone it trains the toy, and `--help` shows every setting."""

from seq2seq.command import command, hydra_record, output_dir, overrides
from seq2seq.config import TrainConfig


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    """Trains a new run, or goes on with a stopped one."""
    # TensorFlow is imported here, after every check of the settings.
    from seq2seq.training import resume, train

    if config.resume:
        changes = [word for word in overrides() if not word.startswith(("resume=", "trust="))]
        resume(config.resume, changes, config.trust)
    else:
        train(config, output_dir(), hydra_record())


if __name__ == "__main__":
    main()
