"""The server of the live page: its files, and one stream of events for each browser."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from ngpd_fl.config.errors import cause
from ngpd_fl.report.costs import COSTS
from ngpd_fl.watch.access import AccessMiddleware
from ngpd_fl.watch.address import PageAddress
from ngpd_fl.watch.folders import WatchedFolders
from ngpd_fl.watch.run import POINT

_PAUSE, _SHARE = 1.0, 0.02
"""Seconds between two looks at least; share of a core's time that looking may take."""

_SILENCE = 15.0
"""Seconds after which a stream without news says that it is alive."""

_STREAMS, _CONNECTIONS = 24, 100
"""Most streams and most connections at a time."""

_REQUEST = 5.0
"""Seconds for a whole request."""

_SLOW = 30.0
"""Seconds for a browser to take what was sent to it."""

_ENDING = 2
"""Seconds for connections to end after the streams."""

_REPORT, _OWN = "ngpd_fl.report.page", "ngpd_fl.watch"

_SCRIPTS = ("live", "charts", "runs", "curves", "graph", "nodes", "timeline")

_ASSETS = {
    "": (_OWN, "page/page.html", "text/html"),
    "style.css": (_REPORT, "templates/style.css", "text/css"),
    "live.css": (_OWN, "page/live.css", "text/css"),
    "tools.js": (_REPORT, "templates/tools.js", "text/javascript"),
    "uPlot.js": (_OWN, "page/uplot/uPlot.iife.min.js", "text/javascript"),
    "uPlot.css": (_OWN, "page/uplot/uPlot.min.css", "text/css"),
    **{f"{name}.js": (_OWN, f"page/{name}.js", "text/javascript") for name in _SCRIPTS},
}
"""The page's files by their paths: package, place in it, and type. No other file is ever sent."""


class LivePage:
    """Looks at folders while a browser is connected, and tells each browser what is new for it."""

    def __init__(self, folders: WatchedFolders) -> None:
        """Serve what is in these folders; nothing is read before a browser asks."""
        self._folders = folders
        self._looked_at: Counter[str] = Counter()
        self._streams = 0
        self._news = asyncio.Condition()
        self._wanted, self._hurry = asyncio.Event(), asyncio.Event()
        self._is_closing = False
        self._lock = threading.Lock()

    async def look(self) -> None:
        """Look at the folders again and again, for as long as a browser is connected."""
        versions: Any = None
        took = 0.0
        while not self._is_closing:
            await self._wanted.wait()
            began = time.process_time()
            is_behind = False
            for part in (self._poll, self._poll_logs):
                try:
                    is_behind |= await asyncio.to_thread(part)
                except Exception as error:  # of a folder that changes meanwhile; the next look may succeed
                    print(f"ngpd-fl: warning: the live page could not read all ({cause(error)})", file=sys.stderr)
                now = self._folders.versions()
                if now != versions:
                    versions = now
                    await self._tell()
            before, took = took, time.process_time() - began
            usual = min(before, took)  # a look that also imports something, or reads a long file, is not the rule
            pause = took if is_behind else max(_PAUSE, usual / _SHARE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            self._hurry.clear()

    def _poll(self) -> bool:
        with self._lock:
            return self._folders.poll()

    def _poll_logs(self) -> bool:
        with self._lock:
            return self._folders.poll_logs(set(self._looked_at))

    async def close(self) -> None:
        """Look a last time, tell the browsers, and end their streams."""
        if self._streams:
            await asyncio.to_thread(self._poll)
            await asyncio.to_thread(self._poll_logs)
        self._is_closing = True
        self._wanted.set()
        self._hurry.set()
        await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def stream(self, request: Request) -> Response:
        """Answer with a stream of everything that is there, then of what changes."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._streams >= _STREAMS or self._is_closing:
            return PlainTextResponse("Too many browsers are connected.\n", 503)
        events = self._events(request.query_params.get("run", "")[:12])
        return StreamingResponse(events, media_type="text/event-stream")

    async def _events(self, chosen: str) -> AsyncIterator[str]:
        """Yield the events for a browser that looks at the nodes of one run."""
        self._streams += 1
        self._looked_at[chosen] += 1
        self._wanted.set()
        self._hurry.set()
        try:
            yield "retry: 1000\n\n"
            reader = _Reader(self._folders, chosen)
            while True:
                is_last = self._is_closing
                for part in (reader.runs, reader.detail):  # the runs are there first: details may take a moment
                    message = await asyncio.to_thread(self._message, part)
                    if message is not None:
                        yield f"data: {message}\n\n"
                if is_last:
                    yield "event: end\ndata: {}\n\n"
                    return
                async with self._news:
                    if self._is_closing or reader.is_behind():
                        continue
                    try:
                        await asyncio.wait_for(self._news.wait(), _SILENCE)
                    except TimeoutError:
                        yield ": alive\n\n"
        finally:
            self._streams -= 1
            self._looked_at[chosen] -= 1
            self._looked_at += Counter()
            if not self._streams:
                self._wanted.clear()

    def _message(self, part: Callable[[], dict[str, Any] | None]) -> str | None:
        with self._lock:
            message = part()
        if message is None:
            return None
        return json.dumps(message, allow_nan=False, separators=(",", ":"))

    async def graph(self, request: Request) -> Response:
        """Answer with the layout of a run's graph."""
        run = self._folders.runs.get(request.query_params.get("run", ""))
        graph = None if run is None else run.graph
        if graph is None:
            return PlainTextResponse("There is no such graph.\n", 404)
        return JSONResponse(await asyncio.to_thread(graph.layout))


class _Reader:
    """State of one browser: the details that it has."""

    def __init__(self, folders: WatchedFolders, chosen: str) -> None:
        self._folders, self._chosen = folders, chosen
        self._runs: dict[str, tuple[int, int, int]] = {}
        self._studies: dict[str, int] = {}
        self._detail: Any = None
        self._told: Any = None

    def is_behind(self) -> bool:
        """Return whether something is new for this browser."""
        return bool(self._told != self._folders.versions())

    def runs(self) -> dict[str, Any] | None:
        """Return what is new for this browser about runs and studies; None if nothing is."""
        if not self.is_behind():
            return None
        folders = self._folders
        self._told = folders.versions()
        message: dict[str, Any] = {"title": folders.title, "columns": POINT, "left_out": folders.left_out}
        message["order"], message["line_styles"] = [*folders.runs], folders.line_styles()
        message["costs"] = {cost.key: {"label": cost.label, "unit": cost.unit} for cost in COSTS}
        message["runs"] = [self._run(key) for key, run in folders.runs.items() if self._is_new(key, run.version)]
        changed = [key for key, study in folders.studies.items() if self._studies.get(key) != study.version]
        if changed or self._studies.keys() != folders.studies.keys():
            self._studies = {key: study.version for key, study in folders.studies.items()}
            message["studies"] = [study.state() for study in folders.studies.values()]
        self._runs = {key: known for key, known in self._runs.items() if key in folders.runs}
        return message

    def detail(self) -> dict[str, Any] | None:
        """Return what is new for this browser about the nodes of its run; None if nothing is."""
        versions = self._folders.detail_versions(self._chosen)
        if versions == self._detail:
            return None
        self._detail = versions
        return {"detail": self._folders.detail(self._chosen)}

    def _is_new(self, key: str, version: int) -> bool:
        return key not in self._runs or self._runs[key][0] != version

    def _run(self, key: str) -> dict[str, Any]:
        """Return a run with the points that this browser does not have."""
        run = self._folders.runs[key]
        _, generation, known = self._runs.get(key, (0, -1, 0))
        begin = known if generation == run.generation else 0
        self._runs[key] = (run.version, run.generation, len(run.points))
        return {**run.head(), "from": begin, "points": run.points[begin:]}


def make_app(folders: WatchedFolders, address: PageAddress) -> tuple[Starlette, LivePage]:
    """Return the application that serves the page about some folders, and the page."""
    page = LivePage(folders)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(page.look())
        yield
        looking.cancel()

    routes = [Route("/stream", page.stream), Route("/graph", page.graph)]
    routes += [Route(f"/{path}", _asset(*place)) for path, place in _ASSETS.items()]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(AccessMiddleware, address=address)]), page


def _asset(package: str, name: str, kind: str) -> Callable[[Request], Any]:
    async def send(request: Request) -> Response:
        content = await asyncio.to_thread((_folder(package) / name).read_bytes)
        return Response(content, media_type=kind)

    return send


def _folder(package: str) -> Path:
    """Return the folder of a package without importing it, which takes a second where it draws pictures."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


class _Protocol(H11Protocol):
    """HTTP of a connection that ends if no whole request comes soon, or nobody reads: idle ones keep nobody out."""

    _too_slow: asyncio.TimerHandle
    _is_waiting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a request: its pieces end the wait of uvicorn, and do not prolong this one."""
        super().data_received(data)
        self._wait()

    def _wait(self) -> None:
        if not self._is_waiting and (self.cycle is None or self.cycle.response_complete):
            self._is_waiting = True
            self.loop.call_later(_REQUEST, self._end_wait, self.cycle)

    def _end_wait(self, before: object) -> None:
        self._is_waiting = False
        if self.cycle is before:
            self.transport.close()
        else:  # a request came, and a piece of the next one may have
            self._wait()

    def pause_writing(self) -> None:
        """Wait for the browser, but not for ever."""
        super().pause_writing()
        self._too_slow = self.loop.call_later(_SLOW, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the browser has read."""
        super().resume_writing()
        self._too_slow.cancel()


class _Server(uvicorn.Server):
    """A server that ends the streams before it waits for the end of connections."""

    page: LivePage

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End soon, at the first signal as at a second one: that would break off with a traceback."""
        super().handle_exit(sig, frame)
        self.force_exit = False

    async def shutdown(self, sockets: Any = None) -> None:
        """End the streams, then everything."""
        await self.page.close()
        await super().shutdown(sockets)


def serve(paths: Sequence[Path], address: PageAddress, until: Callable[[], object] | None = None) -> None:
    """Serve the live page about some folders until Ctrl-C or SIGTERM.

    Args:
        paths: folders of runs or studies, or folders that hold such; they need not exist yet.
        address: where to listen.
        until: called in a thread of its own; the server ends when it returns. Defaults to none.
    """
    app, page = make_app(WatchedFolders(paths), address)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        ws="none",
        http=_Protocol,
        lifespan="on",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_ENDING,
    )
    server = _Server(config)
    server.page = page
    if until is not None:

        def wait() -> None:
            until()
            server.should_exit = True

        threading.Thread(target=wait, daemon=True).start()
    with suppress(KeyboardInterrupt):
        server.run(sockets=[address.socket])
