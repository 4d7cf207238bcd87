"""What a server counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from moceir.restoration.reports import RoutingReport

if TYPE_CHECKING:
    from moceir.web.jobs import JobQueue

BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """Counters of one server.

    Args:
        queue: Whose length is reported.
    """

    def __init__(self, queue: JobQueue) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "moceir_requests", "Requests answered.", ["method", "path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "moceir_request_seconds", "Time to the answer.", ["path"], buckets=BUCKETS_S, registry=registry
        )
        self._pictures = Counter("moceir_pictures", "Pictures restored.", ["model"], registry=registry)
        self._megapixels = Counter("moceir_megapixels", "Megapixels restored.", ["model"], registry=registry)
        self._experts = Counter(
            "moceir_experts", "Uses of each expert.", ["model", "block", "expert"], registry=registry
        )
        waiting = Gauge("moceir_queue", "Pictures that wait or are worked on.", registry=registry)
        waiting.set_function(lambda: len(queue))

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer; ``path`` is one of the paths of the API, not what a client made up."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_picture(self, model: str, pixels: int, routing: RoutingReport) -> None:
        """Count a restored picture."""
        self._pictures.labels(model).inc()
        self._megapixels.labels(model).inc(pixels / 1e6)
        for block, experts in enumerate(routing.experts):
            for expert in experts:
                self._experts.labels(model, str(block), str(expert)).inc()

    def text(self) -> bytes:
        """Return all counters in the text format of Prometheus."""
        return generate_latest(self._registry)
