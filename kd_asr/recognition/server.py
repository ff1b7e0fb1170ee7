"""A server of streams: WebSocket and plain HTTP POST, by aiohttp, with the lines of `kd-asr transcribe --stream`.

A stream is read only as fast as it is recognised, 16 kB at a time; what a client sends ahead waits in the buffers of
the connection, which are bounded, and so does what it does not read. Nothing of a stream is kept or written down.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import ClientError, WSCloseCode, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from kd_asr.console import say
from kd_asr.device import find_device
from kd_asr.errors import UserError
from kd_asr.parallel import available_cores
from kd_asr.recognition.pcm import RATES
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.recognition.stream_workers import Opening, RemoteStream, StreamLost, StreamWorkers

Value = TypeVar("Value")
Line = dict[str, Any]

POST_PATH, SOCKET_PATH = "/recognise", "/stream"
# Half a second of PCM: what a stream computes at a time, before it is another one's turn.
_PIECE_BYTES = 1 << 14
_MESSAGE_BYTES = 1 << 20
# Seconds that streams have to end when the server does.
_LAST_SECONDS = 2.0
_DEFAULT_RATE = 16000
END = "end"


@dataclass(frozen=True)
class Limits:
    """What a server bears.

    Attributes:
        streams: at once; further ones are told to come again.
        seconds: of a stream, of its audio and of its time.
        idle: seconds in which a client sends no audio, or does not read what it is sent.
        body: bytes of a stream.
    """

    streams: int = 32
    seconds: float = 4 * 3600.0
    idle: float = 30.0
    body: int = 1 << 30


class Refusal(Exception):
    """A stream that cannot go on, and why: as a status of HTTP, and as a code with which a WebSocket closes."""

    def __init__(self, status: int, code: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code = status, code

    @property
    def line(self) -> Line:
        """What the client is told."""
        return {"kind": "error", "error": str(self)}


@contextmanager
def _refusing() -> Iterator[None]:
    """What the recogniser has against a stream becomes a refusal."""
    try:
        yield
    except UserError as error:
        raise Refusal(400, WSCloseCode.UNSUPPORTED_DATA, str(error)) from error
    except StreamLost as error:
        raise Refusal(500, WSCloseCode.INTERNAL_ERROR, str(error)) from error


@dataclass
class Server:
    """The handlers of all requests.

    Attributes:
        name: of the recogniser.
        workers: its processes.
        limits: of streams.
    """

    name: str
    workers: StreamWorkers
    limits: Limits
    _streams: int = 0
    _sockets: set[web.WebSocketResponse] = field(default_factory=set)

    def application(self) -> web.Application:
        """What aiohttp serves."""
        made = web.Application()
        made.add_routes(
            [web.get("/", self._describe), web.post(POST_PATH, self._post), web.get(SOCKET_PATH, self._socket)]
        )
        made.on_shutdown.append(self._close_sockets)
        return made

    async def _describe(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "model": self.name,
                "streams": self._streams,
                "limits": asdict(self.limits),
                "post": f"{POST_PATH}?rate={_DEFAULT_RATE}",
                "websocket": f"{SOCKET_PATH}?rate={_DEFAULT_RATE}",
            }
        )

    async def _post(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson; charset=utf-8"})
        try:
            async with self._admitted(request) as stream:
                async for line in self._recognised(stream, self._of_body(request)):
                    if not response.prepared:
                        await response.prepare(request)
                    await self._soon(response.write(_as_line(line)), "does not read")
        except Refusal as refusal:
            if not response.prepared:
                return web.json_response(refusal.line, status=refusal.status)
            with suppress(OSError):
                await response.write(_as_line(refusal.line))
        except (OSError, ClientError, HttpProcessingError):
            return response  # the client is gone
        if not response.prepared:
            await response.prepare(request)
        with suppress(OSError):
            await response.write_eof()
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=_MESSAGE_BYTES)
        if not socket.can_prepare(request):
            return web.json_response(Refusal(400, 0, f"{SOCKET_PATH} is for WebSocket").line, status=400)
        try:
            async with self._admitted(request) as stream:
                await socket.prepare(request)
                self._sockets.add(socket)
                try:
                    async for line in self._recognised(stream, self._of_socket(socket)):
                        await self._soon(socket.send_str(_as_text(line)), "does not read")
                    await socket.close()
                except Refusal as refusal:
                    with suppress(OSError, asyncio.TimeoutError):
                        await asyncio.wait_for(socket.send_str(_as_text(refusal.line)), _LAST_SECONDS)
                    await socket.close(code=refusal.code)
        except Refusal as refusal:
            return web.json_response(refusal.line, status=refusal.status)
        except (OSError, ClientError):
            pass  # the client is gone
        finally:
            self._sockets.discard(socket)
        return socket

    @asynccontextmanager
    async def _admitted(self, request: web.Request) -> AsyncIterator[RemoteStream]:
        """A stream for a request; whatever ends it, the processes forget it."""
        opening = self._opening(request)
        if self._streams >= self.limits.streams:
            raise Refusal(503, WSCloseCode.TRY_AGAIN_LATER, f"{self._streams} streams are open: come again later")
        self._streams += 1
        try:
            with _refusing():
                async with self.workers.stream(opening) as stream:
                    yield stream
        finally:
            self._streams -= 1

    def _opening(self, request: web.Request) -> Opening:
        """What a request asks for."""
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise Refusal(403, 0, f"a page of {origin} may not use this server")
        unknown = set(request.query) - {"rate", "channel"}
        if unknown:
            raise Refusal(400, 0, f"{sorted(unknown)[0]!r} is unknown: there are rate and channel")
        rate = _whole(request, "rate", *RATES) or _DEFAULT_RATE
        if (request.content_length or 0) > self.limits.body:
            raise self._too_large()
        return Opening(rate, _whole(request, "channel", 1, 64), self.limits.seconds)

    async def _recognised(self, stream: RemoteStream, pieces: AsyncIterator[bytes]) -> AsyncIterator[Line]:
        """The lines of a stream, as they come."""
        loop, size = asyncio.get_running_loop(), 0
        latest = loop.time() + self.limits.seconds + self.limits.idle
        async for data in pieces:
            size += len(data)
            if size > self.limits.body:
                raise self._too_large()
            if loop.time() > latest:
                raise Refusal(
                    408, WSCloseCode.POLICY_VIOLATION, f"the stream has gone on for {self.limits.seconds:g} s: begin "
                    "another one",
                )  # fmt: skip
            for start in range(0, len(data), _PIECE_BYTES):
                with _refusing():
                    found = await stream.accept(data[start : start + _PIECE_BYTES])
                for line in found:
                    yield line
        with _refusing():
            found = await stream.finish()
        for line in found:
            yield line

    async def _of_body(self, request: web.Request) -> AsyncIterator[bytes]:
        while data := await self._soon(request.content.readany(), "sends nothing"):
            yield data

    async def _of_socket(self, socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
        while True:
            message = await self._soon(socket.receive(), "sends nothing")
            if message.type == WSMsgType.BINARY:
                yield message.data
            elif message.type == WSMsgType.TEXT and message.data.strip() == END:
                return
            elif message.type == WSMsgType.TEXT:
                raise Refusal(
                    400, WSCloseCode.UNSUPPORTED_DATA, f"{message.data[:40]!r} is neither audio, which is binary, nor "
                    f"the text {END!r}",
                )  # fmt: skip
            else:
                raise ConnectionResetError("closed")

    async def _soon(self, awaited: Any, failing: str) -> Any:
        """What is awaited, unless the client fails to do its part for too long."""
        try:
            return await asyncio.wait_for(awaited, self.limits.idle)
        except asyncio.TimeoutError as error:
            raise Refusal(
                408, WSCloseCode.POLICY_VIOLATION, f"the client {failing} for {self.limits.idle:g} s"
            ) from error

    def _too_large(self) -> Refusal:
        return Refusal(
            413, WSCloseCode.MESSAGE_TOO_BIG, f"a stream has at most {self.limits.body} bytes: begin another one"
        )

    async def _close_sockets(self, _: web.Application) -> None:
        closing = [one.close(code=WSCloseCode.GOING_AWAY, message=b"the server ends") for one in self._sockets]
        await asyncio.gather(*closing, return_exceptions=True)


def _whole(request: web.Request, name: str, least: int, most: int) -> int | None:
    """A number of the query; None if it is not there."""
    if name not in request.query:
        return None
    value = request.query[name]
    if not value.isascii() or not value.isdigit() or not least <= int(value[:9]) <= most:
        raise Refusal(400, 0, f"{name}={value[:20]!r} is not a whole number from {least} to {most}")
    return int(value)


def _as_text(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False)


def _as_line(line: Line) -> bytes:
    return _as_text(line).encode() + b"\n"


@asynccontextmanager
async def running(recogniser: Recogniser, host: str, port: int, limits: Limits) -> AsyncIterator[str]:
    """A server that listens while the context lasts; its host and port.

    Args:
        recogniser: which recognises; its settings have the device and the number of processes.
        host: address to listen at.
        port: 0 for a free one.
        limits: of streams.

    Raises:
        UserError: the recogniser cannot be loaded, or the address cannot be listened at.
    """
    settings = recogniser.settings
    workers = StreamWorkers(recogniser, find_device(settings.device).processes(settings.jobs) or available_cores())
    runner = web.AppRunner(
        Server(recogniser.name, workers, limits).application(), access_log=None, shutdown_timeout=_LAST_SECONDS
    )
    try:
        await workers.start()
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UserError(
                f"{host}:{port} cannot be listened at ({error.strerror}): name another --port or --host"
            ) from error
        place = runner.addresses[0]
        yield f"[{place[0]}]:{place[1]}" if ":" in place[0] else f"{place[0]}:{place[1]}"
    finally:
        await runner.cleanup()
        workers.stop()


async def serve(recogniser: Recogniser, *, host: str, port: int, limits: Limits) -> None:
    """Serve until SIGINT or SIGTERM; see `running`."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # not on Windows, where Ctrl-C is a KeyboardInterrupt
            loop.add_signal_handler(number, over.set)
    async with running(recogniser, host, port, limits) as place:
        say(f"{recogniser.name}: listening at http://{place}{POST_PATH} and ws://{place}{SOCKET_PATH}; Ctrl-C ends it")
        await over.wait()
    say("the server has ended")
