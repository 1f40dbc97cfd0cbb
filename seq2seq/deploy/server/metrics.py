"""Metrics of the server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server.

    Attributes:
        requests: By path and status.
        request_seconds: From the head of a request to the end of its response, by path.
        in_flight: Requests that are not answered yet.
        queued: Sources that wait, by model.
        call_rows: Sources of a call of a model, by model and lane.
        call_seconds: Duration of a call, likewise.
        is_ready: 1 when the models are warm.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "seq2seq_requests", "Requests", ["path", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "seq2seq_request_seconds",
            "From the head of a request to the end of its response",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "seq2seq_requests_in_flight", "Requests that are not answered yet", registry=registry
        )
        self.queued = Gauge(
            "seq2seq_queued_sources", "Sources that wait for a call", ["model"], registry=registry
        )
        self.call_rows = Histogram(
            "seq2seq_call_rows",
            "Sources of a call of a model",
            ["model", "lane"],
            buckets=_ROWS,
            registry=registry,
        )
        self.call_seconds = Histogram(
            "seq2seq_call_seconds",
            "Duration of a call of a model",
            ["model", "lane"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.is_ready = Gauge("seq2seq_ready", "1 when the models are warm", registry=registry)

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
