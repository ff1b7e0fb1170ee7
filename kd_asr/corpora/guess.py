"""Which corpus lies in a folder or file: every registered one is tried on it, and the one that lists most is taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kd_asr.corpora.base import Corpus, SetsSettings, corpus_of, listings
from kd_asr.corpora.librispeech import LibriSpeech, LibriSpeechSettings, subset_names
from kd_asr.corpora.manifest import SETS
from kd_asr.errors import UserError
from kd_asr.registry import Named, find, name_of, named, names
from kd_asr.text import shown

# What sets are called: a word of the name of a file or folder.
CALLED = {"train": ("train", "training"), "dev": ("dev", "valid", "validation", "val"), "test": ("test", "eval")}


@dataclass(frozen=True)
class Guess:
    """A corpus that was recognised.

    Attributes:
        corpus: Its name and settings.
        utterances: How many it lists.
        others: Further sets that lie beside those chosen.
    """

    corpus: Named
    utterances: int
    others: tuple[str, ...] = ()


def guess_corpus(place: Path) -> Guess:
    """The corpus in a folder or file.

    Its sets are told by the words of their names (`CALLED`); of several for one set the first in the order of the
    alphabet is taken. Where only one set is found, it is train.

    Raises:
        UserError: no corpus lists anything of it; says what lies there, and what each of them misses.
    """
    if not place.exists():
        raise UserError(f"there is no folder or file {shown(place)}")
    place = place.absolute()
    found: list[Guess] = []
    misses: dict[str, str] = {}
    for candidate, others in _candidates(place):
        if any(candidate == one.corpus for one in found):
            continue
        try:
            count = _listed(corpus_of(candidate))
        except UserError as error:
            misses.setdefault(candidate.name, str(error))
            continue
        found.append(Guess(candidate, count, others))
    for root in (place, *_folders(place)) if not found else ():
        if subset_names(root):
            misses[name_of("corpus", LibriSpeech)] = (
                f"not all of train, dev and test are told by the subsets {', '.join(subset_names(root))}: choose with "
                f"--librispeech {shown(root)} --train, --dev and --test"
            )
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in misses.items())
        raise UserError(
            f"{shown(place)} is no corpus whose layout is known; there {_contents(place)}. Name the layout and the "
            f"sets (--corpus NAME --train ... ), such as --corpus folder --train {shown(place)} --corpus.folder.text "
            f"'^([a-z]+)_' where file names tell what is said. Tried {why}"
        )
    return max(found, key=lambda one: (len(corpus_of(one.corpus).sets) > 1, one.utterances))


def _listed(corpus: Corpus) -> int:
    """Utterances that a corpus lists.

    Raises:
        UserError: it lists none, or leaves out more than it lists.
    """
    found = list(listings(corpus).values())
    listed, rejected = (sum(map(len, one)) for one in zip(*((it.utterances, it.rejected) for it in found), strict=True))
    if rejected > listed:
        first = next(one for it in found for one in it.rejected)
        raise UserError(f"{rejected} of {listed + rejected} utterances cannot be listed: {first.reason} ({first.path})")
    return listed


def _candidates(place: Path) -> Iterator[tuple[Named, tuple[str, ...]]]:
    """Corpora that may lie there, and the sets beside those that each names."""
    for root in (place, *_folders(place)):
        sets, others = _by_role({name: root / name for name in subset_names(root)}, lambda path: True)
        if len(sets) == len(SETS):
            called = {name: path.name for name, path in sets.items()}
            settings = LibriSpeechSettings(str(root), **called, name=root.name)
            yield named("corpus", name_of("corpus", LibriSpeech), settings), others
    for corpus in names("corpus"):
        kind = find("corpus", corpus).Settings
        if not issubclass(kind, SetsSettings):
            continue
        yield named("corpus", corpus, kind(train=str(place))), ()
        for folder in (place, *_folders(place)) if place.is_dir() else ():
            entries = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
            sets, others = _by_role(entries, partial(_can_list, corpus))
            if "train" in sets:
                yield named("corpus", corpus, kind(**{name: str(path) for name, path in sets.items()})), others


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _can_list(corpus: str, path: Path) -> bool:
    """Whether a corpus can list a folder or file as a set."""
    cls = find("corpus", corpus)
    try:
        return bool(cls(cls.Settings(train=str(path))).listing("train").utterances)
    except UserError:
        return False


def _by_role(
    entries: Mapping[str, Path], usable: Callable[[Path], bool]
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Train, dev and test among the usable entries, by the words of their names, and what else is called like one."""
    sets: dict[str, Path] = {}
    others = []
    for name, path in sorted(entries.items()):
        words = re.findall("[a-z]+", name.lower())
        # The first word counts: dev-from-train is dev.
        role = next((role for word in words for role, called in CALLED.items() if word in called), None)
        if role is None or not usable(path):
            continue
        if role in sets:
            others.append(name)
        else:
            sets[role] = path
    return sets, tuple(others)


def _contents(place: Path) -> str:
    """How many files of which kinds lie below a folder."""
    if place.is_file():
        return f"is one file, {place.suffix or 'without a suffix'}"
    kinds = Counter(path.suffix.lower() or "no suffix" for path in place.rglob("*") if path.is_file())
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    return f"are {counted}" if counted else "is nothing"
