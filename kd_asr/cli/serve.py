"""The command `kd-asr serve`; parsing only."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
from pathlib import Path
from typing import Any

from kd_asr.cli.parsing import add_device_option, one_of, whole_number
from kd_asr.console import say
from kd_asr.errors import UserError

_PORT = 8765


def add_serve(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "serve",
        help="recognise streams of other programs: a server for WebSocket and HTTP",
        description="Recognise streams that other programs send: PCM of 16 bits or WAV, by POST to "
        "/recognise?rate=16000, or as binary messages of a WebSocket at /stream?rate=16000, which the text `end` ends. "
        "Answers with the lines of `kd-asr transcribe --stream`; an error is a line of the kind `error`. Needs "
        "pip install 'kd-asr[serve]'.",
    )
    parser.add_argument("model", type=Path, help="folder of a trained system, or one that `kd-asr export` wrote")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, for programs of this machine). There is neither a password nor "
        "encryption: for others put a proxy in front that has both",
    )
    parser.add_argument(
        "--port", type=whole_number("--port", 0, 65535), default=_PORT, help=f"0: a free one (default: {_PORT})"
    )
    parser.add_argument(
        "--jobs",
        type=whole_number("--jobs", 0),
        default=0,
        help="processes, each with the decoding graph in memory (default: one per core)",
    )
    parser.add_argument(
        "--engine",
        type=one_of("--engine", ("torch", "onnx", "int8")),
        default="torch",
        metavar="torch|onnx|int8",
        help="what computes the network's outputs (default: torch)",
    )
    add_device_option(parser, "where the networks are applied")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--streams", type=whole_number("--streams", 1), default=32, help="streams at once (default: 32)"
    )
    limits.add_argument(
        "--minutes",
        type=whole_number("--minutes", 1),
        default=240,
        help="length of a stream, of its audio and of its time (default: 240)",
    )
    limits.add_argument(
        "--megabytes", type=whole_number("--megabytes", 1), default=1024, help="size of a stream (default: 1024)"
    )
    limits.add_argument(
        "--idle",
        type=whole_number("--idle", 1),
        default=30,
        metavar="SECONDS",
        help="a client that sends no audio for so long, or does not read, is disconnected (default: 30)",
    )


def run_serve(arguments: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    try:
        from kd_asr.recognition.server import Limits, serve
    except ImportError as error:
        raise UserError(f"kd-asr serve needs the package {error.name}: pip install 'kd-asr[serve]'") from error
    from kd_asr.recognition.own_audio import open_recogniser

    recogniser = open_recogniser(
        arguments.model, engine=arguments.engine, device=arguments.device or "auto", jobs=arguments.jobs
    )
    if not _is_loopback(arguments.host):
        say(f"{arguments.host} is open to other machines: there is neither a password nor encryption")
    limits = Limits(arguments.streams, 60.0 * arguments.minutes, arguments.idle, arguments.megabytes << 20)
    asyncio.run(serve(recogniser, host=arguments.host, port=arguments.port, limits=limits))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
