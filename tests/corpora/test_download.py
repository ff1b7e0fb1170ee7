"""Downloads from a server on this machine that misbehaves in every way that was thought of."""

import contextlib
import errno
import gzip
import hashlib
import io
import socket
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from kd_asr.corpora import download as module
from kd_asr.corpora.download import (
    LANGUAGE_MODEL,
    RemoteFile,
    download,
    download_subset,
    network_reachable,
    unpack,
)
from kd_asr.errors import UserError

CONTENT = np.random.default_rng(0).bytes(1_500_000)
FILE = RemoteFile("31/thing.bin", hashlib.md5(CONTENT).hexdigest(), len(CONTENT))


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    files: dict = field(default_factory=lambda: {"/31/thing.bin": CONTENT})
    ranges: bool = True
    cut_after: list = field(default_factory=list)  # bytes sent before the connection is cut, one per request
    content_type: str = "application/octet-stream"
    delay: float = 0.0
    requests: list = field(default_factory=list)


@pytest.fixture
def server():
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, *, body=True):
            time.sleep(behaviour.delay)
            behaviour.requests.append((self.path, self.headers.get("Range")))
            content = behaviour.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = 0
            if behaviour.ranges and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", behaviour.content_type)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body:
                end = start + behaviour.cut_after.pop(0) if behaviour.cut_after else len(content)
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(content[start:end])

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    behaviour.url = f"http://127.0.0.1:{http.server_port}"
    yield behaviour
    http.shutdown()
    http.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_arrives_whole_and_only_once(server, tmp_path):
    target = tmp_path / "new" / "thing.bin"
    download(FILE, target, mirrors=[server.url])
    download(FILE, target, mirrors=[server.url])
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/31/thing.bin", None)]
    assert [path.name for path in target.parent.iterdir()] == ["thing.bin"]


def test_cut_connections_are_taken_up_where_they_broke(server, tmp_path):
    server.cut_after = [400_000, 300_000]
    download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=400000-", "bytes=700000-"]


def test_a_later_command_goes_on_from_the_part(server, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT[:123_456])
    download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    assert server.requests == [("/31/thing.bin", "bytes=123456-")]


def test_a_complete_part_is_only_checked(server, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT)
    download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "thing.bin.part").write_bytes(CONTENT + b"more")
    download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_it_all_again(server, tmp_path):
    server.ranges = False
    server.cut_after = [400_000]
    download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_the_next_mirror_asked(server, tmp_path):
    server.files = {"/bad/31/thing.bin": CONTENT[:-1] + b"?", "/good/31/thing.bin": CONTENT}
    download(FILE, tmp_path / "thing.bin", mirrors=[f"{server.url}/bad", f"{server.url}/good"])
    assert (tmp_path / "thing.bin").read_bytes() == CONTENT
    other = tmp_path / "other.bin"
    with pytest.raises(UserError, match=r"cannot download thing.bin .*MD5 sum [0-9a-f]{32} instead of"):
        download(FILE, other, mirrors=[f"{server.url}/bad"])
    assert not other.exists()
    assert not (tmp_path / "other.bin.part").exists()


def test_when_no_mirror_serves_it_each_is_named(server, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(UserError) as failure:
        download(FILE, tmp_path / "thing.bin", mirrors=[f"{server.url}/none", nobody])
    assert "404" in str(failure.value)
    assert nobody in str(failure.value)


def test_a_full_disk_is_one_sentence(server, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_fetch", full)
        with pytest.raises(UserError, match="the disk is full"):
            download(FILE, tmp_path / "thing.bin", mirrors=[server.url])
    huge = RemoteFile(FILE.path, FILE.md5, 1 << 60)
    with pytest.raises(UserError, match="MB are needed: make room"):
        download(huge, tmp_path / "thing.bin", mirrors=[server.url])


def make_archive(members):
    """A .tar.gz of (name, content) pairs; a TarInfo stands for itself."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            if isinstance(name, tarfile.TarInfo):
                archive.addfile(name)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GOOD = [
    ("LibriSpeech/LICENSE.TXT", b"CC BY 4.0"),
    ("LibriSpeech/dev-clean-2/1/2/1-2.trans.txt", b"1-2-0000 HELLO\n"),
    ("LibriSpeech/dev-clean-2/1/2/1-2-0000.flac", CONTENT[:100_000]),
]


def test_a_subset_is_downloaded_unpacked_and_tidied(server, tmp_path, monkeypatch):
    archive = make_archive(GOOD)
    server.files = {"/31/dev-clean-2.tar.gz": archive}
    remote = RemoteFile("31/dev-clean-2.tar.gz", hashlib.md5(archive).hexdigest(), len(archive))
    monkeypatch.setitem(module.ARCHIVES, "dev-clean-2", remote)
    root = tmp_path / "LibriSpeech"
    download_subset(root, "dev-clean-2", mirrors=[server.url])
    download_subset(root, "dev-clean-2", mirrors=[server.url])
    assert len(server.requests) == 1
    assert sorted(path.name for path in root.iterdir()) == ["LICENSE.TXT", "dev-clean-2"]
    assert (root / "dev-clean-2/1/2/1-2-0000.flac").read_bytes() == CONTENT[:100_000]


def link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    "evil",
    [
        ("../../evil.txt", b"x"),
        ("LibriSpeech/../../evil.txt", b"x"),
        (link("LibriSpeech/dev-clean-2/out", "../../../.."), b""),
        (link("LibriSpeech/dev-clean-2/out", "/etc"), b""),
    ],
)
def test_nothing_is_written_outside_the_folder(tmp_path, evil):
    root = tmp_path / "deep" / "LibriSpeech"
    root.mkdir(parents=True)
    archive = root / "dev-clean-2.tar.gz"
    archive.write_bytes(make_archive([*GOOD, evil]))
    with pytest.raises(UserError, match="is not safe to unpack"):
        unpack(archive, "dev-clean-2", root)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


@pytest.mark.parametrize("damage", ["cut", "cut late", "bytes", "not gzip", "empty"])
def test_a_damaged_archive_is_deleted_and_named(tmp_path, damage):
    whole = make_archive(GOOD)
    content = {
        "cut": whole[: len(whole) // 2],
        "cut late": whole[:-6],
        "bytes": whole[:50_000] + bytes(1000) + whole[51_000:],
        "not gzip": b"<html>please log in</html>" * 100,
        "empty": b"",
    }[damage]
    archive = tmp_path / "dev-clean-2.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged .* and was deleted: run the command again"):
        unpack(archive, "dev-clean-2", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_another_subset_is_refused(tmp_path):
    archive = tmp_path / "test-clean.tar.gz"
    archive.write_bytes(make_archive(GOOD))
    with pytest.raises(UserError, match="holds no folder LibriSpeech/test-clean"):
        unpack(archive, "test-clean", tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


def test_the_probe_sees_a_server_and_no_login_page(server):
    path = f"/{LANGUAGE_MODEL.path}"
    server.files = {path: gzip.compress(b"\\data\\")}
    assert network_reachable(2.0, [server.url])
    server.content_type = "text/html; charset=utf-8"
    assert not network_reachable(2.0, [server.url])
    server.files = {}
    assert not network_reachable(2.0, [server.url])


def test_the_probe_gives_up_in_time(server, monkeypatch):
    server.delay = 1.0
    started = time.monotonic()
    assert not network_reachable(0.3, [server.url] * 3)

    def slow_look_up(*arguments, **options):
        time.sleep(1)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", slow_look_up)
    assert not network_reachable(0.3, ["http://nowhere.invalid"] * 3)
    assert time.monotonic() - started < 2.0
