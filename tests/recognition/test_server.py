"""A real server on a free port of this machine, and clients that behave well or badly."""

import asyncio
import gc
import io
import json
import os
import resource
import signal
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from aiohttp import ClientSession

from kd_asr.alignment.lexicon import Lexicon, write_lexicon
from kd_asr.alignment.topology import Topology
from kd_asr.cli import main
from kd_asr.decoding.arpa import write_arpa
from kd_asr.decoding.decoder import Search
from kd_asr.decoding.fst_arrays import write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.errors import UserError
from kd_asr.networks.base import network_class, seeded
from kd_asr.networks.files import save_network
from kd_asr.recognition import server as server_module
from kd_asr.recognition.listener import Listener
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.recognition.server import POST_PATH, SOCKET_PATH, Limits, running
from kd_asr.recognition.stream import LoadedRecogniser
from kd_asr.recognition.stream_workers import Opening, StreamLost, StreamWorkers
from kd_asr.stages.settings import parse_settings

WORDS = {"ALPHA": ("P", "Q", "P"), "BETA": ("Q", "R"), "GAMMA": ("R", "S", "Q"), "DELTA": ("S", "P")}
TOPOLOGY = Topology.uniform(("SIL", "P", "Q", "R", "S"), 0.6)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Recogniser:
    """Four words by a network of random weights, which hears them in noise."""
    folder = tmp_path_factory.mktemp("recogniser")
    lexicon = Lexicon({word: (phones,) for word, phones in WORDS.items()})
    write_lexicon(folder / "lexicon.txt", lexicon)
    TOPOLOGY.save(folder / "topology.json")
    rng = np.random.default_rng(0)
    write_arpa(folder / "lm.arpa", estimate_ngrams([rng.choice(list(WORDS), 4).tolist() for _ in range(100)], 2))
    fst, words = decoding_graph(
        lexicon, folder / "lm.arpa", TOPOLOGY, silence_probability=0.5, self_loop_scale=0.1
    )
    write_fst(folder / GRAPH_FILE, fst)
    write_words(folder / WORDS_FILE, words)
    flags = ["--network.dnn.hidden_units=16", "--network.dnn.hidden_layers=1", "--jobs=1", "--device=cpu"]
    settings = parse_settings([*flags, "--network.dnn.principal_components=20"])
    shape = network_class(settings.network.name).view(settings.network.settings).input_shape(40)
    model = seeded(settings.network, shape, TOPOLOGY.num_pdfs, 0)
    *_, last = (layer for layer in model.modules() if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        last.weight *= 30
    save_network(folder / "model.safetensors", model, settings.features.described())
    return Recogniser(
        name="student",
        settings=settings,
        networks=(folder / "model.safetensors",),
        average="arithmetic",
        prior=tuple(np.full(TOPOLOGY.num_pdfs, -np.log(TOPOLOGY.num_pdfs)).tolist()),
        topology=folder / "topology.json",
        lexicon=folder / "lexicon.txt",
        usual=None,
        longest_phone=100,
        graph=folder,
        search=Search(0.3, 0.5, beam=12.0, max_active=500),
    )


@pytest.fixture(scope="module")
def loaded(recogniser: Recogniser) -> LoadedRecogniser:
    return LoadedRecogniser(recogniser)


def pcm(seconds: float, rate: int = 16000, seed: int = 0) -> bytes:
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.05, 1, 1 + int(10 * seconds)), rate // 10)[: int(rate * seconds)]
    return (3000 * loudness * rng.standard_normal(len(loudness))).astype("<i2").tobytes()


def as_wav(data: bytes, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(data, "<i2"), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def lines_of(loaded: LoadedRecogniser, data: bytes, rate: int = 16000) -> list[dict]:
    """What a listener of this process hears."""
    listener = Listener(loaded, rate)
    return json.loads(json.dumps([one.as_json() for one in [*listener.accept(data), *listener.finish()]]))


@asynccontextmanager
async def server(recogniser: Recogniser, **limits: float) -> AsyncIterator[tuple[ClientSession, str]]:
    async with running(recogniser, "127.0.0.1", 0, Limits(**limits)) as place, ClientSession() as session:
        yield session, f"http://{place}"


async def posted(session: ClientSession, url: str, data: object) -> tuple[int, list[dict]]:
    async with session.post(url, data=data) as answer:
        return answer.status, [json.loads(line) for line in (await answer.text()).splitlines()]


async def sent(session: ClientSession, url: str, parts: list[bytes | str]) -> tuple[list[dict], int | None]:
    """Lines that a WebSocket is told, and the code with which it is closed."""
    async with session.ws_connect(url) as socket:
        for part in parts:
            await (socket.send_str(part) if isinstance(part, str) else socket.send_bytes(part))
        lines = [json.loads(message.data) async for message in socket]
        return lines, socket.close_code


async def streams(session: ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return int((await answer.json())["streams"])


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_every_way_in_is_told_what_a_listener_hears(recogniser: Recogniser, loaded: LoadedRecogniser) -> None:
    data, telephone, silence = pcm(2), pcm(2, 8000, seed=1), bytes(32000 * 6)
    expected, of_telephone = lines_of(loaded, data), lines_of(loaded, telephone, 8000)
    assert {line["kind"] for line in expected} == {"partial", "final"}
    assert len(expected[-1]["text"].split()) == len(expected[-1]["words"]) > 1
    assert of_telephone[-1]["kind"] == "final"
    assert lines_of(loaded, silence) == []

    async def drip() -> AsyncIterator[bytes]:
        for part in cut(data, 7001):  # an odd number: samples are cut
            yield part
            await asyncio.sleep(0)

    async def check() -> None:
        async with server(recogniser) as (session, url):
            post, way = url + POST_PATH, url + SOCKET_PATH
            assert await posted(session, post, data) == (200, expected)
            assert await posted(session, post, drip()) == (200, expected)
            assert await posted(session, f"{post}?rate=8000", telephone) == (200, of_telephone)
            assert await posted(session, post, as_wav(telephone, 8000)) == (200, of_telephone)
            assert await posted(session, post, silence) == (200, [])
            assert await posted(session, post, b"") == (200, [])
            assert await sent(session, way, [*cut(data, 999), "end"]) == (expected, 1000)
            # Many at once, each of which is told of its own.
            streams = [sent(session, f"{way}?rate={rate}", [*cut(one, 20_000), "end"])
                       for one, rate in 2 * [(data, 16000), (telephone, 8000)]]  # fmt: skip
            assert await asyncio.gather(*streams) == 2 * [(expected, 1000), (of_telephone, 1000)]
            async with session.get(url) as answer:
                assert (await answer.json())["streams"] == 0

    asyncio.run(check())


def test_results_come_while_the_client_still_sends(recogniser: Recogniser, loaded: LoadedRecogniser) -> None:
    data = pcm(2)
    first = lines_of(loaded, data)[0]

    async def check() -> None:
        heard = asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            yield data
            await asyncio.wait_for(heard.wait(), 20)

        async with server(recogniser) as (session, url):
            async with session.ws_connect(url + SOCKET_PATH) as socket:
                await socket.send_bytes(data)
                assert await socket.receive_json(timeout=20) == first
            async with session.post(url + POST_PATH, data=waiting()) as answer:
                assert json.loads(await answer.content.readline()) == first
                heard.set()
                await answer.read()

    asyncio.run(check())


def test_what_is_no_stream_is_one_sentence(recogniser: Recogniser) -> None:
    flac = io.BytesIO()
    soundfile.write(flac, np.zeros(1000), 16000, format="FLAC")
    header = as_wav(pcm(1), 16000)[:30]

    async def check() -> None:
        async with server(recogniser, streams=2, body=100_000, seconds=2) as (session, url):
            post, way = url + POST_PATH, url + SOCKET_PATH
            for query, data, status, said in (
                ("", flac.getvalue(), 400, "the stream is FLAC, not PCM or WAV: decode it first"),
                ("", header, 400, "is a WAV without samples"),
                ("", pcm(4), 413, "a stream has at most 100000 bytes"),
                ("", pcm(3), 400, "is longer than 2 s"),
                ("?rate=80", b"", 400, "rate='80' is not a whole number from 4000 to 384000"),
                ("?rate=16k", b"", 400, "rate='16k' is not"),
                ("?speed=2", b"", 400, "'speed' is unknown: there are rate and channel"),
                ("?channel=2", pcm(1), 400, "--channel 2: the stream has 1"),
            ):
                found, [*_, line] = await posted(session, post + query, data)
                # What comes after the first result can only be a line.
                assert (found in (status, 200)) and line["kind"] == "error" and said in line["error"], (query, line)
            async with session.post(post, headers={"Origin": "http://elsewhere.example"}) as answer:
                assert answer.status == 403
            async with session.get(way) as answer:
                assert answer.status == 400 and "is for WebSocket" in (await answer.json())["error"]
            for query, parts, code, said in (
                ("", [flac.getvalue()], 1003, "is FLAC"),
                ("", ["{}"], 1003, "'{}' is neither audio, which is binary, nor the text 'end'"),
                ("", [pcm(3)], 1003, "is longer than 2 s"),
                ("?rate=48000", [pcm(1)] * 4, 1009, "at most 100000 bytes"),
            ):
                lines, closed = await sent(session, way + query, parts)
                assert (lines[-1]["kind"], closed) == ("error", code) and said in lines[-1]["error"]
            async with session.ws_connect(way), session.ws_connect(way):
                status, [line] = await posted(session, post, pcm(1))
                assert status == 503 and "2 streams are open: come again later" in line["error"]

    asyncio.run(check())


def test_clients_that_vanish_or_do_nothing_leave_no_stream_behind(
    recogniser: Recogniser, loaded: LoadedRecogniser
) -> None:
    data = pcm(2)
    expected = lines_of(loaded, data)

    async def check() -> None:
        async with server(recogniser, idle=0.5) as (session, url):
            host, port = url.removeprefix("http://").split(":")
            # One that ends in the middle of its body, one in the middle of a message.
            for start in (
                f"POST {POST_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 900000\r\n\r\n".encode() + data,
                f"GET {SOCKET_PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                + b"\x82\xfe" + struct.pack(">H", 60000) + b"\0" * 4 + data[:3000],
            ):  # fmt: skip
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(start)
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.transport.abort()
            # Nothing but noise, and one that falls silent.
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\xff\0garbage\r\n\r\n")
            assert b"400" in await reader.readline()
            writer.close()
            lines, closed = await sent(session, url + SOCKET_PATH, [data])
            assert closed == 1008 and lines[-1]["error"] == "the client sends nothing for 0.5 s"
            assert await posted(session, url + POST_PATH, data) == (200, expected)
            assert await streams(session, url) == 0

    asyncio.run(check())


def test_a_client_that_does_not_read_is_left(recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lines so long that a few of them fill the buffers between server and client.
    plain = server_module._as_line
    monkeypatch.setattr(server_module, "_as_line", lambda line: plain(line)[:-1] + b" " * 100_000 + b"\n")
    data = pcm(4)

    async def check() -> None:
        async with server(recogniser, idle=0.5) as (session, url):
            host, port = url.removeprefix("http://").split(":")
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect((host, int(port)))
                head = f"POST {POST_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
                await asyncio.to_thread(client.sendall, head.encode() + data)
                assert await streams(session, url) == 1
                deadline = asyncio.get_running_loop().time() + 20
                while await streams(session, url):
                    assert asyncio.get_running_loop().time() < deadline
                    await asyncio.sleep(0.1)

    asyncio.run(check())


def test_a_process_that_is_killed_takes_its_streams_with_it_and_is_replaced(
    recogniser: Recogniser, loaded: LoadedRecogniser
) -> None:
    data = pcm(2)

    async def check() -> None:
        workers = StreamWorkers(recogniser, 1)
        await workers.start()
        opening = Opening(16000, None, 60.0)
        async with workers.stream(opening) as stream:
            await stream.accept(data)
            [process] = workers._workers[0]._workers._pool._processes.values()
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(StreamLost, match="most often for want of memory"):
                await stream.accept(data)
                await stream.finish()
        async with workers.stream(opening) as stream:
            found = [*await stream.accept(data), *await stream.finish()]
        assert json.loads(json.dumps(found)) == lines_of(loaded, data)
        workers.stop()

    asyncio.run(check())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_stream(loaded: LoadedRecogniser) -> None:
    listener, part_of_it = Listener(loaded, 16000), pcm(20)
    used = []
    for _ in range(20):
        for part in cut(part_of_it, 1 << 14):
            listener.accept(part)
        gc.collect()
        used.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())
    assert max(used[10:]) - max(used[2:10]) < 2 << 20  # bytes


def test_an_address_that_is_taken_or_a_model_that_is_none_is_told(
    recogniser: Recogniser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def check() -> None:
        async with running(recogniser, "127.0.0.1", 0, Limits()) as place:
            with pytest.raises(UserError, match=r"cannot be listened at .*: name another --port or --host"):
                async with running(recogniser, "127.0.0.1", int(place.split(":")[1]), Limits()):
                    pass
        broken = replace(recogniser, networks=(tmp_path / "none.safetensors",))
        with pytest.raises(UserError, match=r"none\.safetensors"):
            async with running(broken, "127.0.0.1", 0, Limits()):
                pass

    asyncio.run(check())
    assert main(["serve", str(tmp_path), "--port", "70000"]) == 2
    assert "--port must be a whole number from 0 to 65535" in capsys.readouterr().err
    assert main(["serve", str(tmp_path)]) == 2
    assert "neither in a run folder nor an export folder" in capsys.readouterr().err
