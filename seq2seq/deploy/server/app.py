"""The HTTP interface of the server: paths, status codes, OpenAPI."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from seq2seq import __version__
from seq2seq.config.commands import LimitsConfig, ServeConfig
from seq2seq.deploy.server import schemas
from seq2seq.deploy.server.guard import Guard
from seq2seq.deploy.server.served import RefusedError
from seq2seq.deploy.server.service import RETRY_AFTER, Service
from seq2seq.errors import visible

_MAX_SHOWN = 200  # characters of a message

# Of the text of a response, before other requests have their turn: some tens of microseconds.
CHARACTERS_A_TURN = 4096

_MEANINGS = {
    400: "The body is not JSON.",
    404: "There is no such model.",
    408: "The body arrives too slowly.",
    413: "The body is too long.",
    415: "The body is not declared as JSON.",
    421: "The request is to another name than the server's.",
    422: "The body is JSON that does not fit, or asks for what the model cannot do.",
    429: "The client has too many requests in flight.",
    500: "An error of the server.",
    503: "The server is not ready, or too many sources wait.",
    504: "The answer takes too long.",
}
_OF_ALL = (408, 413, 415, 421, 429, 500)
_OF_MODELS = (400, 404, *_OF_ALL, 422, 503, 504)


def make_app(service: Service, config: ServeConfig) -> Guard:
    """Returns the ASGI application of a service."""
    app = FastAPI(
        title="seq2seq",
        version=__version__,
        description="Answers of recurrent encoder-decoders.",
        docs_url=None,  # They need scripts of another server.
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_answers(app, service, config.limits)
    _add_state(app, service)
    _add_page(app)
    app.add_exception_handler(RefusedError, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    paths = frozenset(route.path for route in app.routes)  # type: ignore[attr-defined]
    return Guard(app, service, config, paths)


def _responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Returns the descriptions of refusals for OpenAPI."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        found[code] = {"model": schemas.Problem, "description": _MEANINGS[code]}
        if code in (429, 503):
            found[code]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return found


def _add_answers(app: FastAPI, service: Service, limits: LimitsConfig) -> None:
    decode_body: Any = schemas.decode_body(limits)
    states_body: Any = schemas.states_body(limits)

    # Responses are made here: FastAPI would check and convert every number once more.
    async def decode(body: Any) -> Response:
        """Answers sources, each with the n best answers."""
        return await json_in_turns(await service.decode(body), depth=2)  # answer by answer

    async def states(body: Any) -> Response:
        """Returns attention and states of writing one target."""
        return await json_in_turns(await service.states(body), depth=4)  # row by row of numbers

    decode.__annotations__["body"] = decode_body
    states.__annotations__["body"] = states_body
    for path, function, model in (
        ("/v1/decode", decode, schemas.Answers),
        ("/v1/states", states, schemas.StatesFound),
    ):
        app.post(path, response_model=model, responses=_responses(*_OF_MODELS))(function)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", response_model=schemas.Models, responses=_responses(*_OF_ALL))
    async def models() -> Any:
        """Returns the models, and what can be asked of them."""
        return _json(service.models())

    @app.get("/healthz", response_model=schemas.Status, responses=_responses(*_OF_ALL))
    async def healthz() -> Any:
        """Tells that the server runs."""
        return _json({"status": "ok"})

    @app.get("/readyz", response_model=schemas.Status, responses=_responses(*_OF_ALL, 503))
    async def readyz() -> Any:
        """Tells whether requests are answered at once: the models are warm, no stop is asked."""
        service.check_ready()
        if service.is_stopping:
            raise RefusedError(503, "the server stops", RETRY_AFTER)
        return _json({"status": "ready"})

    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", response_class=Response, responses={200: text, **_responses(*_OF_ALL)})
    async def metrics() -> Any:
        """Returns counters in Prometheus's text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_page(app: FastAPI) -> None:
    html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    policy = content_security_policy(html)

    @app.get("/", include_in_schema=False)
    async def page() -> Any:
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def content_security_policy(html: str) -> str:
    """Returns the policy that allows a page its own style and script, and requests to its server.

    Source: Content Security Policy Level 3 (W3C), hashes of inline elements.
    """
    rules = ["default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'"]
    for element in ("style", "script"):
        contents = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in contents]
        sources = " ".join(f"'sha256-{one.decode()}'" for one in hashes)
        rules.append(f"{element}-src {sources}")
    return "; ".join([*rules, "form-action 'none'", "frame-ancestors 'none'"])


def _json(content: Any) -> Response:
    return _response(_text(content))


async def json_in_turns(content: Any, depth: int) -> Response:
    """Returns a response of which a long text is made piece by piece, in turns with other requests.

    A thread would not do: the encoder in C lets no other one run before its end.
    """
    pieces, length = [], 0  # of what was made in this turn
    for piece in _pieces(content, depth):
        pieces.append(piece)
        length += len(piece)
        if length >= CHARACTERS_A_TURN:
            await asyncio.sleep(0)
            length = 0
    return _response("".join(pieces))


def _pieces(content: Any, depth: int) -> Iterator[str]:
    """Yields the pieces of a JSON text, which are the entries of the first `depth` levels.

    Lists whose first item is neither a list nor a dictionary are a piece each.
    """
    if depth and isinstance(content, dict):
        for i, (name, value) in enumerate(content.items()):
            yield f"{', ' if i else '{'}{_text(name)}: "
            yield from _pieces(value, depth - 1)
        yield "}" if content else "{}"
    elif depth and isinstance(content, list) and content and isinstance(content[0], list | dict):
        for i, item in enumerate(content):
            yield ", " if i else "["
            yield from _pieces(item, depth - 1)
        yield "]"
    else:
        yield _text(content)


def _text(content: Any) -> str:
    return json.dumps(content, allow_nan=False)


def _response(text: str) -> Response:
    return Response(text, media_type="application/json")


def _problem(status: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": visible(message, _MAX_SHOWN)}, status, headers)


def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return _problem(error.status, str(error), headers)


def _on_invalid(request: Request, error: Exception) -> Response:
    """Names the first field that does not fit, without the value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _problem(400, "the body is not JSON")
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return _problem(422, f"{visible(place, 80)}: {first['msg']}")


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:  # FastAPI's, for a body that nests too deeply.
        return _problem(400, "the body is not JSON")
    return _problem(error.status_code, str(error.detail), error.headers)


def _on_bug(request: Request, error: Exception) -> Response:
    return _problem(500, "an error of the server")  # `Guard` logs it.
