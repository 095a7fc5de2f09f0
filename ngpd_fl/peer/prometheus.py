"""Prometheus metrics of a peer: counters of its nodes and of its exchange, read on request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ngpd_fl.config import InputError
from ngpd_fl.peer.engine import PeerEngine
from ngpd_fl.peer.transport import Address
from ngpd_fl.peer.transport.server import BoundedServer
from ngpd_fl.records import RunRecorder
from ngpd_fl.training.callbacks import Callback
from ngpd_fl.training.loop import TrainingLoop

_CONNECTIONS = 8
"""Largest number of connections; beyond it, the oldest is closed."""

_SILENCE = 5.0
"""Seconds after which a connection that neither sends nor receives is closed."""

_AGES = (0, 1, 2, 4, 8, 16, 32, 64)


class PeerCollector(Collector):
    """Collects the metrics of a peer; all names begin with ``ngpd_fl_``."""

    def __init__(self, engine: PeerEngine, recorder: RunRecorder) -> None:
        """Collect from a peer's engine and recorder."""
        self._engine = engine
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        engine, recorder, inbox, counts = self._engine, self._recorder, self._engine.inbox, self._engine.counts()
        yield _gauge("round", "round that the nodes are in", engine.round)
        yield _gauge("rounds_planned", "rounds of the run", recorder.config.training.rounds)
        yield _gauge("starts", "starts of this peer", engine.starts)
        yield _gauge("neighbors_gone", "edges whose sender is not waited for", len(inbox.gone))
        yield _count("node_steps", "local steps", recorder.node_steps)
        yield _count("train_seconds", "time spent in rounds, without waiting", recorder.train_seconds)
        yield _count("wait_seconds", "time spent waiting for messages", engine.waited)
        yield _count("rounds_skipped", "rounds skipped to join the neighbors", engine.skipped)
        yield _count("payload_bytes", "payload sent, lost messages included", recorder.bytes_sent)
        yield _count("sent_bytes", "bytes of frames sent", counts.sent_bytes)
        yield _count("received_bytes", "bytes of frames received", counts.received_bytes)
        yield _count("messages_missed", "messages that did not come in time", engine.lost)
        yield _count("messages_late", "messages of rounds that were already over", inbox.late)
        yield _count("messages_replaced", "messages replaced by newer ones", inbox.replaced + counts.replaced)
        refused = CounterMetricFamily("ngpd_fl_frames_refused", "frames refused, by reason", labels=["reason"])
        for reason, count in sorted({**inbox.refused, "sender": counts.refused}.items()):
            refused.add_metric([reason], count)
        yield refused
        yield self._staleness()
        if recorder.metrics:
            last = recorder.metrics[-1]
            yield _gauge(last.measure.key, "mean over this peer's nodes, at the last evaluation", last.mean)
            if last.train_loss is not None:
                yield _gauge("train_loss", "mean since the evaluation before", last.train_loss)

    def _staleness(self) -> HistogramMetricFamily:
        ages = dict(self._engine.ages)
        in_buckets = [sum(count for age, count in ages.items() if low < age <= high) for low, high in _buckets()]
        bounds = [*map(str, map(float, _AGES)), "+Inf"]
        total = sum(age * count for age, count in ages.items())
        histogram = HistogramMetricFamily("ngpd_fl_staleness_rounds", "age of messages in rounds when they are read")
        histogram.add_metric([], list(zip(bounds, accumulate(in_buckets), strict=True)), total)
        return histogram


class MetricsServer(Callback):
    """Serves Prometheus metrics of a peer from the start of its run."""

    def __init__(self, address: Address) -> None:
        """Listen at an address; raise ``InputError`` if that is not possible."""
        self._registry = CollectorRegistry()
        handler = type("Handler", (MetricsHandler,), {"registry": self._registry, "timeout": _SILENCE})
        try:
            self._server = BoundedServer(address, handler, _CONNECTIONS)
        except OSError as error:
            words = f"metrics-address, metrics-port: {address} cannot be listened at ({error.strerror or error})"
            raise InputError(words) from error

    def on_start(self, run: TrainingLoop) -> None:
        """Serve the metrics of a peer's run from now on."""
        self._registry.register(PeerCollector(run.engine, run.recorder))

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def _buckets() -> list[tuple[float, float]]:
    return list(zip((-1, *_AGES), (*_AGES, float("inf")), strict=True))


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"ngpd_fl_{name}", words, value=value)


def _count(name: str, words: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"ngpd_fl_{name}", words, value=value)
