"""Download with resume, checksum and progress, and unpacking that cannot write outside its folder.

What is fetched, with the MD5 sums that OpenSLR publishes in its md5sum.txt files: mini LibriSpeech (OpenSLR 31,
train-clean-5 and dev-clean-2), LibriSpeech's test-clean (OpenSLR 12), and its smallest pruned 3-gram language model
(OpenSLR 11).
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import queue
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from kd_asr.console import Bars, progress, say
from kd_asr.errors import UserError

MIRRORS = (
    "https://openslr.trmal.net/resources",
    "https://us.openslr.org/resources",
    "https://openslr.elda.org/resources",
    "https://www.openslr.org/resources",
)
CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 3
RETRY_SECONDS = 1.0
MEGABYTE = 1e6


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its path below a mirror, its MD5 sum in hexadecimal digits, its length in bytes if known."""

    path: str
    md5: str
    num_bytes: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", maxsplit=1)[-1]


ARCHIVES = {
    "train-clean-5": RemoteFile("31/train-clean-5.tar.gz", "5df7d4e78065366204ca6845bb08f490", 332_954_390),
    "dev-clean-2": RemoteFile("31/dev-clean-2.tar.gz", "6d7ab67ac6a1d2c993d050e16d61080d", 126_046_265),
    "test-clean": RemoteFile("12/test-clean.tar.gz", "32fa31d27d2e1cad72775fee3f4849a9", 346_663_984),
}
LANGUAGE_MODEL = RemoteFile("11/3-gram.pruned.3e-7.arpa.gz", "8f67ec741827742eee05799ab7605b50")


class _Unusable(Exception):
    """This mirror cannot serve the file; the next one is asked."""


def network_reachable(
    timeout: float = 3.0, mirrors: Sequence[str] = MIRRORS, probe: RemoteFile = LANGUAGE_MODEL
) -> bool:
    """Whether a mirror answers within `timeout` seconds in all, name look-up and proxies included.

    All mirrors are asked at once for the head of the file `probe`. A login page of a guest network does not
    count: it is no file of that kind.
    """
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(mirror: str) -> None:
        request = urllib.request.Request(f"{mirror}/{probe.path}", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                answers.put("html" not in response.headers.get("Content-Type", ""))
        except (OSError, ValueError, HTTPException):
            answers.put(False)

    for mirror in mirrors:
        # Daemon threads: a name look-up cannot be given a time limit, and must not hold up the end of the program.
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    deadline = time.monotonic() + timeout
    for _ in mirrors:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except queue.Empty:
            return False
    return False


def download(file: RemoteFile, target: Path, *, mirrors: Sequence[str] = MIRRORS) -> None:
    """Fetch `file` to `target`, unless it is there; what an interrupted download left in `TARGET.part` is gone on from.

    `target` appears only when it is whole and its checksum is right.

    Raises:
        UserError: no mirror serves the file whole, or the disk is full.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    reasons = []
    with _disk_errors(target.parent, file.num_bytes), progress() as bars:
        task = bars.add_task(f"download {file.name}", total=file.num_bytes / MEGABYTE or None, unit="MB")
        for mirror in mirrors:
            try:
                _fetch_with_retries(f"{mirror}/{file.path}", part, bars, task)
                _check(file, part)
                part.replace(target)
                return
            except _Unusable as error:
                reasons.append(f"{mirror}: {error}")
    raise UserError(
        f"cannot download {file.name} ({'; '.join(reasons)}); check the network and run the command again: it goes "
        f"on from what has arrived"
    )


def _fetch_with_retries(url: str, part: Path, bars: Bars, task: int) -> None:
    """Fetch into `part`; a connection that breaks is taken up again as long as each attempt brings something."""
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch(url, part, bars, task)
            return
        except (urllib.error.HTTPError, ValueError) as error:
            raise _Unusable(str(error)) from error
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            failures = failures + 1 if _size(part) <= before else 1
            if failures >= ATTEMPTS:
                raise _Unusable(str(getattr(error, "reason", error))) from error
            time.sleep(RETRY_SECONDS * failures)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, part: Path, bars: Bars, task: int) -> None:
    """One connection: append to `part` from where it ends, or begin anew where the server cannot go on."""
    offset = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and offset:  # nothing is left to send: complete, or longer than the file ever was
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return
            part.unlink()
            _fetch(url, part, bars, task)
            return
        raise
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
        start = offset if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        bars.update(task, completed=start / MEGABYTE, total=total / MEGABYTE if total is not None else None)
        with part.open("ab" if resumed else "wb") as output:
            while chunk := response.read(CHUNK_BYTES):
                output.write(chunk)
                bars.advance(task, len(chunk) / MEGABYTE)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection ended after {_size(part)} of {total} bytes")


def _check(file: RemoteFile, part: Path) -> None:
    """Compare the checksum; a file with a wrong one is deleted, as nothing can be resumed from it."""
    found = hashlib.md5(usedforsecurity=False)
    with part.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            found.update(chunk)
    if found.hexdigest() != file.md5:
        part.unlink()
        raise _Unusable(f"MD5 sum {found.hexdigest()} instead of {file.md5}")


def unpack(archive: Path, subset: str, root: Path) -> None:
    """Unpack `LibriSpeech/SUBSET` of a .tar.gz to `root/SUBSET`, and the corpus's .TXT files beside it.

    It is unpacked into a temporary folder and renamed at the end. Members that would land outside it are refused, as
    are devices and links that lead out (tarfile's "data" filter, PEP 706).

    Raises:
        UserError: the archive is damaged (it is deleted), unsafe, or not of this subset; or the disk is full.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python cannot unpack archives safely: update it to 3.10.12, 3.11.4, 3.12 or newer")
    temporary = root / f".{subset}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        with _disk_errors(root, archive.stat().st_size), archive.open("rb") as raw:
            _extract(raw, archive.stat().st_size, temporary, subset)
        inside = temporary / "LibriSpeech"
        if not (inside / subset).is_dir():
            raise UserError(f"{archive} holds no folder LibriSpeech/{subset}: delete it and run the command again")
        for text in inside.glob("*.TXT"):
            text.replace(root / text.name)
        (inside / subset).rename(root / subset)
    except (tarfile.ReadError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        archive.unlink()
        raise UserError(f"{archive} is damaged ({error}) and was deleted: run the command again") from error
    except tarfile.TarError as error:
        raise UserError(f"{archive} is not safe to unpack: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(raw: BinaryIO, num_bytes: int, folder: Path, subset: str) -> None:
    with progress() as bars, gzip.GzipFile(fileobj=raw) as content, tarfile.open(fileobj=content, mode="r|") as members:
        task = bars.add_task(f"unpack {subset}", total=num_bytes / MEGABYTE, unit="MB")
        for member in members:
            members.extract(member, folder, filter="data")
            bars.update(task, completed=raw.tell() / MEGABYTE)
        # To the end of the compressed stream: only there lies the checksum that shows a cut.
        while content.read(CHUNK_BYTES):
            pass


@contextlib.contextmanager
def _disk_errors(folder: Path, num_bytes: int) -> Iterator[None]:
    """Turn a full or unwritable disk into one sentence, before the work where it can be foreseen."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise UserError(
            f"{folder} has {free / MEGABYTE:.0f} MB free, {num_bytes / MEGABYTE:.0f} MB are needed: make room or "
            "choose another folder with --data"
        )
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk is full ({folder}): make room and run the command again") from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise UserError(f"{folder} cannot be written to: choose another folder with --data") from error
        raise


def download_subset(root: Path, subset: str, *, mirrors: Sequence[str] = MIRRORS) -> None:
    """Make `root/SUBSET`, one of `ARCHIVES`, unless it is there; the archive is deleted afterwards.

    Raises:
        UserError: as `download` and `unpack`.
    """
    if (root / subset).is_dir():
        return
    archive = root / ARCHIVES[subset].name
    download(ARCHIVES[subset], archive, mirrors=mirrors)
    unpack(archive, subset, root)
    archive.unlink()
    say(f"{root / subset}: done")


def download_language_model(data_dir: Path, *, mirrors: Sequence[str] = MIRRORS) -> Path:
    """The pruned 3-gram ARPA file below `data_dir`, fetched unless it is there."""
    target = data_dir / LANGUAGE_MODEL.name
    download(LANGUAGE_MODEL, target, mirrors=mirrors)
    return target
