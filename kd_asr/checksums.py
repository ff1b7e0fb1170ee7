"""Checksums of the files of a folder and of its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

# Files that are not larger are read on every load; of larger ones, which take long, only those with another time of
# change than they were made with.
_READ_BYTES = 64 << 20


def own_checksum(fields: Mapping[str, Any]) -> str:
    """BLAKE2b of the content of a manifest but for this checksum."""
    rest = {name: value for name, value in fields.items() if name != "blake2b"}
    return hashlib.blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()


def fault(folder: Path, files: Mapping[str, Mapping[str, Any]], *, thorough: bool = False) -> tuple[str, str] | None:
    """The first file of a folder that is not as it was described, and what is wrong with it; None if all are.

    Args:
        folder: of an artifact.
        files: as `described` gave them.
        thorough: read all files, also large ones whose time of change is that of their making.

    Raises:
        KeyError, TypeError or AttributeError: that is no description.
    """
    for name, made in files.items():
        path = folder / name
        if not path.is_file():
            return name, "missing"
        status = path.stat()
        if status.st_size != made["bytes"]:
            return name, f"{status.st_size} bytes instead of {made['bytes']}"
        unread = status.st_size > _READ_BYTES and status.st_mtime_ns == made["changed_ns"] and not thorough
        if not unread and _checksum(path, status.st_size, status.st_mtime_ns) != made["blake2b"]:
            return name, "its content is not what was written"
    return None


@lru_cache(maxsize=65536)
def _checksum(path: Path, size: int, changed_ns: int) -> str:
    total = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def described(folder: Path) -> dict[str, dict[str, Any]]:
    """Size, time of change and checksum of every file below a folder."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        found[path.relative_to(folder).as_posix()] = {
            "bytes": status.st_size,
            "changed_ns": status.st_mtime_ns,
            "blake2b": _checksum(path, status.st_size, status.st_mtime_ns),
        }
    return found


def content_of(files: Collection[Path]) -> str:
    """A digest of the bytes of some files, one after the other, whatever they are called; empty without files."""
    total = hashlib.blake2b(digest_size=8)
    for file in files:
        with file.open("rb") as raw:
            while block := raw.read(1 << 22):
                total.update(block)
    return total.hexdigest() if files else ""
