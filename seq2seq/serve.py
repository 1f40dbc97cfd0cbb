"""Command `python -m seq2seq.serve run=RUN_DIR`: answers over HTTP, and a page to try the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seq2seq.config.program import program

if TYPE_CHECKING:
    from seq2seq.config.commands import ServeConfig


def _needs_tensorflow(config: Any) -> bool:
    from seq2seq.deploy.server.models import has_runs

    return has_runs(config)


@program("serve", _needs_tensorflow)
def main(config: ServeConfig) -> None:
    """Serves until a signal asks it to stop."""
    from seq2seq.deploy.server import command

    command.serve(config)


if __name__ == "__main__":
    main()
