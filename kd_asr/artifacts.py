"""Output folders of stages: fingerprints, atomic completion, resumption.

A stage writes into `.<name>.partial` beside its final folder and is renamed into place when it is complete, so a
finished folder is always whole. `manifest.json` holds the fingerprint (settings, inputs, code), metrics and wall
time, and size and checksum of every file. A finished folder with the same fingerprint, whose files are as they were
made, is not made again; a partial one with the same fingerprint is handed to the stage again, which goes on from what
it finds there.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from kd_asr import checksums
from kd_asr.checksums import described, own_checksum
from kd_asr.console import say
from kd_asr.errors import UserError
from kd_asr.fingerprints import canonical, code_digest, digest

MANIFEST = "manifest.json"
_FIELDS = frozenset(
    ("name", "fingerprint", "settings", "inputs", "code", "metrics", "wall_seconds", "files", "blake2b")
)
# Stages that make folders of other names than their own.
_MADE_BY = {
    **dict.fromkeys(("mixture_alignment", "align_networks"), "align"),
    "sweep_networks": "sweep",
    "reduced_networks": "reduced",
    "filter_networks": "filters",
    "member_posteriors": "distil",
    "pretrained_targets": "pretrained",
}


@dataclass(frozen=True)
class Artifact:
    """A finished stage: where it lies, what it was made of (inputs by name, settings in canonical form), what was
    measured, and its files as they were made."""

    path: Path
    name: str
    fingerprint: str
    metrics: dict[str, Any]
    wall_seconds: float
    inputs: dict[str, str]
    settings: Any = field(default=None, repr=False)
    files: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def own_seconds(self) -> float:
        """Wall seconds, divided by the number of trainings that were made as one."""
        return self.wall_seconds / int(self.metrics.get("trained_together", 1))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder, so that one command at a time works on it; the lock ends with the process, however that ends."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{folder}: waiting for another command that is at work there")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, value: object) -> None:
    """Write JSON to a temporary file, flush it to disk, and rename it, so that there is never half a file."""
    temporary = path.with_name(f".{path.name}.tmp")
    # JSON's own escapes for what is not UTF-8, such as a byte of a file's name.
    with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file; a file that is not JSON is a `UserError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not valid JSON: {error}") from error


def read_names(path: Path) -> list[str]:
    """Read names, one a line, each of which stands there once; a file of anything else is a `UserError`."""
    try:
        names = path.read_text(encoding="utf-8").split()
    except ValueError as error:
        raise damaged(path, error) from error
    if len(set(names)) != len(names) or not "".join(names).isprintable():
        raise damaged(path, "not a list of different names")
    return names


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a `.npy` file; unlike with NumPy's own function, the `OSError` of a full disk says so."""
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    path.write_bytes(packed.getbuffer())


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read, or map as a private copy, an array that `write_array` wrote.

    Raises:
        UserError: the file is missing or incomplete; names it.
    """
    try:
        array = np.load(path, mmap_mode="c" if mapped else None, allow_pickle=False)
    # NumPy reads a header as Python, and believes its sizes.
    except (OSError, ValueError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, MemoryError) as error:
        raise damaged(path, error) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise damaged(path, "not an array of numbers")
    return array


def read_layout(path: Path, count: int, rows: int, margin: int = 0) -> np.ndarray:
    """(count, 2) int64: first row and number of rows of each utterance of a store.

    Args:
        path: the file.
        count: utterances.
        rows: of the whole store.
        margin: rows before and after each utterance that belong to it.

    Raises:
        UserError: the file is damaged, or an utterance is not within the rows of the store.
    """
    layout = read_array(path)
    if layout.dtype == np.int64 and not count and not len(layout):
        return layout.reshape(0, 2)
    if layout.dtype != np.int64 or layout.shape != (count, 2):
        raise damaged(path, f"{layout.dtype} {layout.shape}, of {count} utterances")
    starts, counts = layout.T
    # Without a sum of both, which could overflow.
    low, high = (starts < margin) | (counts < 0), (starts > rows) | (counts > rows - margin - starts)
    if (low | high).any():
        raise damaged(path, "utterances outside the store")
    return layout


def damaged(path: Path, reason: object) -> UserError:
    """The error for a file of a run folder that cannot be used, with what to do about it."""
    text = " ".join(str(reason).split())
    return UserError(f"{path} is damaged ({text}): delete the folder of its stage and run the stage again")


def _read_manifest(path: Path) -> Artifact:
    fields = read_json(path / MANIFEST)
    try:
        # One of an older version has no checksum of its own.
        if set(fields) - _FIELDS or ("blake2b" in fields and fields["blake2b"] != own_checksum(fields)):
            raise damaged(path / MANIFEST, "its content is not what was written")
        return Artifact(
            path=path,
            name=fields["name"],
            fingerprint=fields["fingerprint"],
            metrics=fields["metrics"],
            wall_seconds=fields["wall_seconds"],
            inputs=fields["inputs"],
            settings=fields["settings"],
            files=fields.get("files", {}),
        )
    except (KeyError, TypeError) as error:
        raise damaged(path / MANIFEST, f"no {error}") from error


def fault(artifact: Artifact, *, thorough: bool = False) -> tuple[Path, str] | None:
    """The first file of an artifact that is not as it was made, and what is wrong with it; None if all are.

    Args:
        artifact: as read from its manifest; one of an older version has no checksums.
        thorough: read all files, also large ones whose time of change is that of their making.
    """
    try:
        found = checksums.fault(artifact.path, artifact.files, thorough=thorough)
    except (KeyError, TypeError, AttributeError):
        return artifact.path / MANIFEST, "malformed checksums"
    return (artifact.path / found[0], found[1]) if found else None


def all_artifacts(run_dir: Path) -> list[Artifact]:
    """The finished artifacts of a run, by name.

    Raises:
        UserError: a manifest is damaged.
    """
    names = sorted(path.parent.relative_to(run_dir) for path in run_dir.rglob(MANIFEST))
    # What begins with a dot is unfinished, or about to be deleted.
    return [_read_manifest(run_dir / name) for name in names if not any(part[0] == "." for part in name.parts)]


def recorded_settings(run_dir: Path, name: str) -> Any:
    """The settings of which a finished artifact was made, in canonical form; None if there is none."""
    return _read_manifest(run_dir / name).settings if (run_dir / name / MANIFEST).exists() else None


def load_artifact(run_dir: Path, name: str, *, remedy: str = "") -> Artifact:
    """The finished artifact `name` of a run.

    Args:
        run_dir: folder of the run.
        name: folder name below it.
        remedy: command that makes the artifact, for the message; by default that of the stage named first in `name`.

    Raises:
        UserError: the stage has not been run, an input of it has been made anew since, or a file of it is not as it was
            made.
    """
    artifact = _load_manifest(run_dir, name, remedy)
    found = fault(artifact)
    if found:
        raise damaged(*found)
    return artifact


def finished(run_dir: Path, names: Iterable[str]) -> list[Artifact]:
    """Finished artifacts and those that they were made of, directly or through others, inputs first; no file of theirs
    is read.

    Raises:
        UserError: one is missing, or was made from another input than the present one.
    """
    found: dict[str, Artifact] = {}

    def add(name: str) -> None:
        if name not in found:
            artifact = _load_manifest(run_dir, name, "")
            for one in artifact.inputs:
                add(one)
            found[name] = artifact

    for name in names:
        add(name)
    return list(found.values())


def _load_manifest(run_dir: Path, name: str, remedy: str) -> Artifact:
    path = run_dir / name
    if not (path / MANIFEST).exists():
        raise UserError(f"{path} is missing: run `{remedy or making_command(run_dir, name)}` first")
    artifact = _read_manifest(path)
    for input_name, fingerprint in artifact.inputs.items():
        present = _load_manifest(run_dir, input_name, remedy).fingerprint
        if present != fingerprint:
            raise UserError(
                f"{path} was made from {input_name} {fingerprint}, but {run_dir / input_name} is now {present}: "
                f"run `{remedy or making_command(run_dir, name)}` again"
            )
    return artifact


def making_stage(name: str) -> str:
    """The stage that makes an artifact of the main job."""
    folder = name.split("/", maxsplit=1)[0]
    return _MADE_BY.get(folder, folder)


def making_command(run_dir: Path, name: str) -> str:
    """The command that makes an artifact."""
    if (run_dir / "digits").exists():  # a run on digits: an experiment makes the networks that it needs
        users = [one.name for one in all_artifacts(run_dir) if name in one.inputs and one.name != "report"]
        experiment = next((one for one in users if "/" not in one), "table")
        return f"kd-asr mnist {experiment if '/' in name else name} {run_dir}"
    return f"kd-asr {making_stage(name)} {run_dir}"


def current_artifact(
    run_dir: Path, name: str, *, code: str | Sequence[str], settings: object, inputs: Iterable[Artifact]
) -> Artifact | None:
    """The finished artifact that `build_artifact` with these arguments would reuse; None if it would have to make
    it."""
    return _with_fingerprint(run_dir / name, digest(_ingredients(code, settings, inputs)))


def _ingredients(code: str | Sequence[str], settings: object, inputs: Iterable[Artifact]) -> dict[str, Any]:
    """Values from which a fingerprint is computed."""
    return {
        "settings": canonical(settings),
        "inputs": {artifact.name: artifact.fingerprint for artifact in inputs},
        "code": code_digest([code] if isinstance(code, str) else code),
    }


def _with_fingerprint(path: Path, fingerprint: str) -> Artifact | None:
    """The finished artifact in `path`, if its fingerprint is this one and its files are as they were made."""
    if not (path / MANIFEST).exists():
        return None
    artifact = _read_manifest(path)
    if artifact.fingerprint != fingerprint:
        return None
    found = fault(artifact)
    if found:
        say(f"{found[0]} is damaged ({found[1]}): {artifact.name} is made again")
    return None if found else artifact


def build_artifact(
    run_dir: Path,
    name: str,
    *,
    code: str | Sequence[str],
    settings: object,
    inputs: Iterable[Artifact],
    work: Callable[[Path], dict[str, Any]],
) -> Artifact:
    """Make the artifact `name`, unless it exists with the same fingerprint.

    Args:
        run_dir: folder of the run; must exist.
        name: folder name below `run_dir`, such as `align` or `ensemble/member-03`.
        code: module or modules that make it, `__name__` where that is the caller; their imports are part of the
            fingerprint.
        settings: everything else that decides the result.
        inputs: input artifacts.
        work: writes into the folder passed to it and returns the metrics. The folder may contain the output of an
            interrupted run with the same fingerprint.
    """
    ingredients = _ingredients(code, settings, inputs)
    fingerprint = digest(ingredients)
    final = run_dir / name
    artifact = _with_fingerprint(final, fingerprint)
    if artifact is not None:
        say(f"{name}: done before, unchanged")
        return artifact
    partial = partial_of(final)
    mark = partial / "fingerprint"
    if not (mark.exists() and mark.read_text() == fingerprint):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        mark.write_text(fingerprint)
        before = 0.0
    else:
        say(f"{name}: going on from where it was interrupted")
        before = _spent(partial)
    started = time.monotonic()
    try:
        metrics = work(partial)
    finally:
        if partial.exists():
            (partial / "spent_seconds").write_text(f"{before + time.monotonic() - started:.3f}")
    wall_seconds = before + time.monotonic() - started
    manifest = {
        "name": name,
        "fingerprint": fingerprint,
        "settings": ingredients["settings"],
        "inputs": ingredients["inputs"],
        "code": ingredients["code"],
        "metrics": metrics,
        "wall_seconds": round(wall_seconds, 3),
    }
    for name_left in ("fingerprint", "spent_seconds"):
        (partial / name_left).unlink(missing_ok=True)
    manifest["files"] = described(partial)
    # Of what is read back: tuples are lists then, and keys are words.
    manifest["blake2b"] = own_checksum(json.loads(json.dumps(manifest)))
    write_json(partial / MANIFEST, manifest)
    move_into_place(partial, final)
    return _read_manifest(final)


def partial_of(final: Path) -> Path:
    """The folder in which the content of `final` is made."""
    return final.with_name(f".{final.name}.partial")


def move_into_place(partial: Path, final: Path) -> None:
    """Make a finished folder take the place of another one, if there is one."""
    # The old folder is moved away as a whole: half deleted, it could still have the manifest of a finished one.
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _spent(partial: Path) -> float:
    """Seconds that interrupted runs have spent on this folder, as far as they could record them."""
    try:
        return float((partial / "spent_seconds").read_text())
    except (OSError, ValueError):
        return 0.0
