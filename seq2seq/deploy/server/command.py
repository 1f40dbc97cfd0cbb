"""Command `serve`: loads the models, tells where they are served, and serves until a signal."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from seq2seq.config.commands import ServeConfig
from seq2seq.deploy.server.models import has_runs, load_models
from seq2seq.errors import UserError

if TYPE_CHECKING:
    from seq2seq.deploy.server.served import Model

log = logging.getLogger(__name__)


def serve(config: ServeConfig) -> None:
    """Serves models until SIGTERM, SIGINT or SIGHUP.

    Raises:
        UserError: A package is missing, the address cannot be used, or a model cannot be loaded.
        SystemExit: A signal ended it: 128 and its number.
    """
    # Products of one source are too small for several threads. NumPy reads this when it is loaded.
    if not has_runs(config):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _check_packages()
    from seq2seq.deploy.server import process
    from seq2seq.deploy.server.app import make_app
    from seq2seq.deploy.server.service import Service

    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with process.bind(config.host, config.port) as found:
        models = load_models(config)
        service = Service(models, config)
        _introduce(models, has_runs(config))
        log.info("address     %s", process.address(found))
        number = process.run(make_app(service, config), service, config, found)
    if number is not None:
        if service.given_up:
            log.warning(
                "stopped     after limits.stop_seconds=%g; requests without an answer: %d",
                config.limits.stop_seconds,
                service.given_up,
            )
        else:
            log.info("stopped     all requests that had arrived are answered")
        sys.exit(128 + number)


def _check_packages() -> None:
    for name in ("fastapi", "httptools", "prometheus_client", "uvicorn"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f'serve needs {name}: pip install "seq2seq[serve]"') from error


def _introduce(models: Mapping[str, Model], with_tensorflow: bool) -> None:
    """Tells what is served."""
    for name, model in models.items():
        about = model.about
        width = f" of {about['beam_size']}" if about["search"] == "beam" else ""
        log.info("model       %s: %s%s", name, about["search"], width)
    if with_tensorflow:
        from seq2seq.hardware import device_name

        log.info("device      %s", device_name())
