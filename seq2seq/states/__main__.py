"""`python -m seq2seq.states [layer=gru units=2] [run=RUN_DIR source="1 2 3"]`: see the states."""

from seq2seq.config.commands import StatesConfig
from seq2seq.config.program import program


@program("states", StatesConfig)
def main(config: StatesConfig) -> None:
    """Writes the page."""
    from seq2seq.states.report import show_states

    show_states(config)


if __name__ == "__main__":
    main()
