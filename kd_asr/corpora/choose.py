"""Which corpus a run is made of where none is named: LibriSpeech if there is any, else the embedded one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kd_asr.console import say
from kd_asr.corpora.download import ARCHIVES, download_language_model, network_reachable
from kd_asr.corpora.librispeech import DOWNLOAD_MARK, LibriSpeech, LibriSpeechSettings, subset_names
from kd_asr.errors import UserError

Source = Literal["librispeech", "embedded"]
LIBRISPEECH_SUBSETS = LibriSpeech(LibriSpeechSettings()).sets


@dataclass(frozen=True)
class CorpusChoice:
    """The corpus of a run.

    Attributes:
        source: its name among corpora.
        root: absolute path of the folder that holds the subsets, perhaps yet to be filled by the stage `corpus`.
        train, dev, test: names of the subsets.
        arpa: language model that comes with it; empty: none.
        sentence: what was chosen and why, for the user.
    """

    source: Source
    root: Path
    train: str
    dev: str
    test: str
    arpa: str
    sentence: str


def choose_corpus(
    source: Literal["auto", "librispeech", "embedded"],
    librispeech: Path | None,
    data_dir: Path,
    *,
    train: str | None = None,
    dev: str | None = None,
    test: str | None = None,
    environment: Mapping[str, str] = os.environ,
    reachable: Callable[[], bool] = network_reachable,
    fetch_language_model: Callable[[Path], Path] = download_language_model,
) -> CorpusChoice:
    """Choose the corpus: `librispeech`, else $LIBRISPEECH, else `data_dir`/LibriSpeech, else a download, else (without
    a network) the embedded corpus.

    Folders and subset names are checked here. Where mini LibriSpeech is to be downloaded, only its small language model
    is fetched here, which also proves the connection; the rest is for the stage `corpus`.

    Args:
        source: `auto`, or the one kind that will do.
        librispeech: folder in LibriSpeech's layout given by the user.
        data_dir: where corpora land.
        train: subset name instead of the default; so `dev` and `test`.
        environment: where $LIBRISPEECH is looked up.
        reachable: the probe for a network.
        fetch_language_model: fetches the ARPA file into a folder.

    Raises:
        UserError: a folder or subset is missing, options contradict each other, or LibriSpeech was asked for and can be
            neither found nor downloaded.
    """
    asked = {"train": train, "dev": dev, "test": test}
    if source == "embedded":
        if librispeech is not None:
            raise UserError("--librispeech and --corpus embedded contradict each other: give one of them")
        return _embedded(data_dir, asked, "embedded corpus of synthetic speech, as asked for with --corpus embedded")
    named = "--librispeech"
    if librispeech is None and environment.get("LIBRISPEECH"):
        librispeech, named = Path(environment["LIBRISPEECH"]), "$LIBRISPEECH"
    if librispeech is not None:
        if not librispeech.is_dir():
            raise UserError(f"{named}: there is no folder {librispeech}")
        return _on_disk(librispeech, asked, f"given by {named}", "")
    root = data_dir / "LibriSpeech"
    if root.is_dir() and subset_names(root) and not (root / DOWNLOAD_MARK).exists():
        return _on_disk(root, asked, "found", "")
    return _downloaded(source, root, asked, reachable, fetch_language_model)


def _names(asked: Mapping[str, str | None], defaults: Mapping[str, str]) -> dict[str, str]:
    names = {key: asked[key] or default for key, default in defaults.items()}
    if len(set(names.values())) < 3:
        raise UserError(f"train, dev and test must be three different subsets, not {', '.join(names.values())}")
    return names


def _embedded(data_dir: Path, asked: Mapping[str, str | None], why: str) -> CorpusChoice:
    unknown = [name for key, name in asked.items() if name not in (None, key)]
    if unknown:
        raise UserError(f"the embedded corpus has the subsets train, dev and test, not {', '.join(map(str, unknown))}")
    root = (data_dir / "embedded").absolute()
    return CorpusChoice("embedded", root, "train", "dev", "test", arpa="", sentence=f"corpus: {why} (in {root})")


def _on_disk(root: Path, asked: Mapping[str, str | None], how: str, arpa: str) -> CorpusChoice:
    names = _names(asked, LIBRISPEECH_SUBSETS)
    LibriSpeech(LibriSpeechSettings(root=str(root), **names)).check()
    root = root.absolute()
    sentence = f"corpus: LibriSpeech in {root}, {how}; {_listed(names)}"
    return CorpusChoice("librispeech", root, **names, arpa=arpa, sentence=sentence)


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {name}" for key, name in names.items())


def _downloaded(
    source: Literal["auto", "librispeech", "embedded"],
    root: Path,
    asked: Mapping[str, str | None],
    reachable: Callable[[], bool],
    fetch_language_model: Callable[[Path], Path],
) -> CorpusChoice:
    """Mini LibriSpeech, downloaded before, now, or not at all."""
    names = _names(asked, LIBRISPEECH_SUBSETS)
    missing = [name for name in names.values() if not (root / name).is_dir()]
    unknown = [name for name in missing if name not in ARCHIVES]
    if unknown:
        raise UserError(
            f"{root} has no subset {unknown[0]!r}, and only {', '.join(ARCHIVES)} can be downloaded; name the folder "
            "that holds it with --librispeech"
        )
    arpa = root.parent / "lm"
    if not missing:
        try:
            model = str(fetch_language_model(arpa).absolute())
        except UserError as error:
            say(f"{error}; until then a model is estimated from the training text")
            model = ""
        return _on_disk(root, asked, "downloaded before", model)
    if not reachable():
        if source == "librispeech":
            raise UserError(
                f"there is no LibriSpeech: no --librispeech, no $LIBRISPEECH, no {root}, and no network to download it"
            )
        why = (
            "EMBEDDED CORPUS OF SYNTHETIC SPEECH, not LibriSpeech: none was given, none is in "
            f"{root}, and there is no network to download it"
        )
        return _embedded(root.parent, dict.fromkeys(asked), why)
    try:
        model = str(fetch_language_model(arpa).absolute())
    except UserError as error:
        if source == "librispeech":
            raise
        say(str(error))
        why = "EMBEDDED CORPUS OF SYNTHETIC SPEECH, not LibriSpeech: the download failed"
        return _embedded(root.parent, dict.fromkeys(asked), why)
    root.mkdir(parents=True, exist_ok=True)
    (root / DOWNLOAD_MARK).touch()
    megabytes = sum(ARCHIVES[name].num_bytes for name in missing) / 1e6
    sentence = (
        f"corpus: mini LibriSpeech, to be downloaded to {root.absolute()} ({megabytes:.0f} MB; CC BY 4.0); "
        f"{_listed(names)}"
    )
    return CorpusChoice("librispeech", root.absolute(), **names, arpa=model, sentence=sentence)
