"""The state explorer: `python -m seq2seq.states [layer=gru units=2] [run=RUN_DIR source=...]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import StatesConfig


@program("states")
def main(config: StatesConfig) -> None:
    """Explores a layer or a run."""
    from seq2seq.states.report import show_states

    show_states(config)


if __name__ == "__main__":
    main()
