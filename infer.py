"""Decodes lines with a trained run: a file, a pipe, or a prompt."""

from seq2seq.command import command
from seq2seq.command_config import InferConfig


@command("infer", InferConfig)
def main(config: InferConfig) -> None:
    """Answers every line of the input."""
    from seq2seq.lines import infer

    infer(config)


if __name__ == "__main__":
    main()
