"""What a corpus holds and what is odd about it, said before any work: `kd-asr check CORPUS`."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import median

from kd_asr.alignment.g2p import ARPABET
from kd_asr.alignment.lexicon import select
from kd_asr.corpora.base import Listing, corpus_of, listings, set_names
from kd_asr.corpora.librispeech import LibriSpeechSettings
from kd_asr.corpora.manifest import SETS, Rejected, Utterance
from kd_asr.corpora.scan import Scan, scan, without_copies
from kd_asr.corpora.speakers import check_speakers, set_apart
from kd_asr.corpora.spelling import spell
from kd_asr.corpora.survey import TELEPHONE_SHARE, Sounded, character_name, copies, survey, unusual_characters
from kd_asr.decoding.arpa import NOT_WORDS, read_vocabulary, spellings
from kd_asr.errors import UserError
from kd_asr.stages.lexicon import given_arpa, read_dictionary
from kd_asr.stages.settings import Settings
from kd_asr.text import shown

# Beyond these an utterance is named as odd.
MOST_CLIPPED = 1e-3
QUIET_DECIBELS = -45.0
MOST_SILENT = 0.5
WORDS_PER_SECOND = 0.2, 7.0
# Less is little to train on, and sentences that train has too make test easier than that share.
LITTLE_MINUTES = 15.0
SHARED_SENTENCES = 0.2
_NAMED = 3


@dataclass
class CorpusReport:
    """What was found.

    Attributes:
        found: A line for each set.
        odd: What should be looked at; the corpus can be used all the same.
        faults: What keeps it from being used.
        command: What to type next; empty where there are faults.
    """

    found: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    command: str = ""

    def attempt(self, work: Callable[[], object]) -> bool:
        """Do what may find a fault; whether it found none."""
        try:
            work()
        except UserError as error:
            self.faults.append(str(error))
            return False
        return True


def check_corpus(settings: Settings, flags: Sequence[str] = ()) -> CorpusReport:
    """Read all transcripts and decode all audio of the corpus of some settings; nothing is written.

    Args:
        settings: of a run on it.
        flags: those of the settings that the next command has to repeat, such as `--lexicon.path=mine.txt`.

    Raises:
        UserError: a set cannot be listed, or none of its utterances can be used.
    """
    corpus, report = corpus_of(settings.corpus), CorpusReport()
    listed = listings(corpus)
    prepare = settings.prepare
    limits = {"min_seconds": prepare.min_seconds, "max_seconds": prepare.max_seconds}
    found = scan(list(listed.values()), **limits, spelling=settings.spelling, jobs=settings.jobs)
    scans = dict(zip(listed, found, strict=True))
    shares = {"dev": prepare.dev_share, "test": prepare.test_share}
    shares = {name: share for name, share in shares.items() if name not in scans}

    def apart() -> None:
        train = scans["train"]
        for name, items in set_apart(train.utterances, shares, seed=prepare.split_seed).items():
            scans[name] = Scan(items, train.rejected if name == "train" else [], [], train.contents, train.prints)

    def once() -> None:
        scans.update(without_copies(scans))

    if shares:
        report.attempt(apart)
    if set(scans) == set(SETS):
        report.attempt(once)
    report.attempt(lambda: check_speakers({name: one.utterances for name, one in scans.items()}))
    names = set_names(corpus)
    scans = {name: scans[name] for name in SETS if name in scans}
    sounds = survey([item for one in scans.values() for item in one.utterances], jobs=settings.jobs)
    together = iter(sounds)
    pairs = {name: [(item, next(together)) for item in one.utterances] for name, one in scans.items()}
    report.found += [_summary(name, names[name], one) for name, one in scans.items()]
    for listing in listed.values():
        report.odd += listing.notes
    for name, one in scans.items():
        report.odd += [f"{name}: {sentence}" for sentence in _of_set(one, pairs[name], settings)]
    report.odd += _copies([pair for one in pairs.values() for pair in one])
    report.odd += _texts(listed, settings)
    minutes = sum(item.seconds for item in scans["train"].utterances) / 60
    if minutes < LITTLE_MINUTES:
        report.odd.append(f"train: {minutes:.1f} minutes are little to train on; results will say little")
    report.odd += _sentences(scans)
    _words(scans, settings, report)
    if not report.faults:
        report.command = next_command(settings, [*flags, *_better_rate(scans, settings)])
    return report


def next_command(settings: Settings, flags: Iterable[str] = ()) -> str:
    """The `kd-asr run speech` that trains on the corpus of some settings."""
    corpus = settings.corpus
    words = ["kd-asr", "run", "speech"]
    own, default = corpus.settings, type(corpus.settings)()
    values = {one.name: getattr(own, one.name) for one in fields(own)}
    options: dict[str, str] = {}
    if isinstance(own, LibriSpeechSettings):
        options = {"librispeech": values.pop("root")}
    else:
        words += ["--corpus", corpus.name]
    options |= {name: values.pop(name) for name in SETS if values.get(name)}
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    given = {name: value for name, value in values.items() if value != getattr(default, name) and name not in SETS}
    if "librispeech" in options:
        given = {}  # its name in reports is the only one left
    words += [f"--corpus.{corpus.name}.{name}={value}" for name, value in given.items()]
    return shlex.join([*words, *flags])


def _summary(name: str, subset: str, one: Scan) -> str:
    items = one.utterances
    lengths = sorted(item.seconds for item in items)
    words = sum(len(item.words) for item in items)
    speakers = len({item.speaker_id for item in items})
    rates = Counter(item.sample_rate for item in items)
    return (
        f"{name} ({subset}): {_count(len(items), 'utterance')}, {_count(speakers, 'speaker')}, "
        f"{sum(lengths) / 60:.1f} minutes, {words} words; {lengths[0]:.1f} to {lengths[-1]:.1f} s, median "
        f"{median(lengths):.1f} s; {' and '.join(f'{rate} Hz' for rate in sorted(rates))}"
    )


def _of_set(one: Scan, pairs: Sequence[tuple[Utterance, Sounded | None]], settings: Settings) -> list[str]:
    """What is odd about one set."""
    found = _left_out(one.rejected)
    wanted = settings.features.sample_rate
    others = Counter(item.sample_rate for item in one.utterances if item.sample_rate != wanted)
    for rate, count in sorted(others.items()):
        found.append(f"{count} of {len(pairs)} utterances are at {rate} Hz; they are resampled to {wanted} Hz")
    known = [(item, sound) for item, sound in pairs if sound is not None]

    def note(what: str, odd: Sequence[Utterance]) -> None:
        if odd:
            found.append(f"{len(odd)} of {len(pairs)} utterances {what}: {_named([item.utterance_id for item in odd])}")

    note(
        f"are clipped (more than {100 * MOST_CLIPPED:g} % of their samples are cut off at full scale)",
        [item for item, sound in known if sound.clipped > MOST_CLIPPED],
    )
    note(f"are very quiet (below {QUIET_DECIBELS:g} dB)", [i for i, s in known if s.level < QUIET_DECIBELS])
    note("are digital silence for more than half of their time", [i for i, s in known if s.silent > MOST_SILENT])
    narrow = [item for item, sound in known if (sound.above_telephone or 1.0) < TELEPHONE_SHARE]
    if 2 * len(narrow) > len(known):
        found.append(
            f"{len(narrow)} of {len(pairs)} utterances hold nothing above 4 kHz, as telephone speech at a higher rate: "
            "consider --features.sample_rate 8000"
        )
    slow, fast = WORDS_PER_SECOND
    note(f"have fewer than {slow:g} words a second", [i for i, _ in pairs if len(i.words) < slow * i.seconds])
    note(
        f"have more than {fast:g} words a second, as if transcripts belonged to other audio",
        [item for item, _ in pairs if len(item.words) > fast * item.seconds + 1],
    )
    return found


def _left_out(rejected: Sequence[Rejected]) -> list[str]:
    by_reason: dict[str, list[Rejected]] = {}
    for entry in rejected:
        kind = re.split(r"[:,;=]| as '", entry.reason, maxsplit=1)[0].strip()
        by_reason.setdefault(re.sub(r"\d[\d.]*", "N", kind), []).append(entry)
    return [
        f"{len(entries)} left out, {kind}: {_named([entry.utterance_id for entry in entries])}"
        + (f" ({shown(entries[0].reason)})" if entries[0].reason != kind else "")
        for kind, entries in sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more


def _copies(pairs: Sequence[tuple[Utterance, Sounded | None]]) -> list[str]:
    groups = copies(pairs)
    if not groups:
        return []
    texts = sum(len({item.words for item in group}) > 1 for group in groups)
    first = _named([item.utterance_id for item in groups[0]])
    count = sum(map(len, groups)) - len(groups)
    contradict = f"; transcripts differ in {_count(texts, 'case')}" if texts else ""
    return [f"{_count(count, 'utterance')} with the same audio as another, such as {first}{contradict}"]


def _texts(listed: Mapping[str, Listing], settings: Settings) -> list[str]:
    """What transcripts hold beside words."""
    items = [item for listing in listed.values() for item in listing.utterances]
    found = []
    unusual = unusual_characters(item.text for item in items)
    if unusual:
        counts = ", ".join(f"{count} x {character_name(one)}" for one, count in unusual.most_common(8))
        more = f" and {len(unusual) - 8} other characters" if len(unusual) > 8 else ""
        place = next(item for item in items if unusual.keys() & set(item.text))
        found.append(f"transcripts hold {counts}{more}: the first in {shown(place.utterance_id)}")
    spelt = [spell(item.text, settings.spelling) for item in items]
    events = Counter(event for one in spelt for event in one.events)
    if events:
        counts = ", ".join(f"{count} x {event}" for event, count in events.most_common(8))
        found.append(f"transcripts hold what is no word and is left out: {counts}; see spelling.left_out")
    numbers = [number for one in spelt for number in one.numbers]
    if numbers:
        written, spoken = numbers[0]
        count = _count(len(numbers), "number")
        found.append(f"transcripts hold {count}, written out in words, such as {written} as {spoken!r}")
    return found


def _sentences(scans: Mapping[str, Scan]) -> list[str]:
    """Sets whose sentences are largely those of train."""
    known = {item.words for item in scans["train"].utterances}
    found = []
    for name, one in scans.items():
        share = sum(item.words in known for item in one.utterances) / len(one.utterances)
        if name != "train" and share > SHARED_SENTENCES:
            found.append(
                f"{name}: {100 * share:.0f} % of the sentences are also in train, so that a language model of train "
                "makes recognition easier than it would be elsewhere"
            )
    return found


def _words(scans: Mapping[str, Scan], settings: Settings, report: CorpusReport) -> None:
    """Words without a pronunciation, and those that the language model cannot recognise."""
    counts = {name: Counter(word for item in one.utterances for word in item.words) for name, one in scans.items()}
    total = sum(counts.values(), Counter())
    lexicon = read_dictionary(settings)
    _, missing = select(lexicon, total.keys() - NOT_WORDS)
    lacking = "CMUdict" if not settings.lexicon.path else settings.lexicon.path
    if missing and lexicon.pronunciations:
        ordered = sorted(missing, key=lambda word: (-total[word], word))
        running = 100 * sum(total[word] for word in missing) / total.total()
        sentence = (
            f"{len(missing)} of {len(total)} words ({running:.1f} % of the running words) are not in {lacking}: "
            f"{_named(ordered)}"
        )
        foreign = [phone for phone in lexicon.phones[2:] if phone.rstrip("012") not in ARPABET]
        if foreign:
            report.faults.append(
                f"{sentence}; they cannot be guessed, since its phones ({foreign[0]} for one) are not CMUdict's: add "
                "their pronunciations"
            )
        else:
            report.odd.append(f"{sentence}; their pronunciations are guessed by espeak-ng")
    arpa = given_arpa(settings)
    known = set(counts["train"])
    where = "the training text, of which the language model is estimated"
    if arpa is not None:
        known, where = set(spellings(read_vocabulary(arpa), settings.spelling).values()), str(arpa)
    for name in ("dev", "test"):
        words = counts.get(name, Counter())
        unknown = sum(count for word, count in words.items() if word not in known)
        if unknown:
            report.odd.append(
                f"{name}: {100 * unknown / words.total():.1f} % of the running words are not in {where}; they cannot "
                "be recognised"
            )


def _better_rate(scans: Mapping[str, Scan], settings: Settings) -> list[str]:
    """The setting of a lower sample rate that all utterances have, if features can be computed at it."""
    rates = {item.sample_rate for one in scans.values() for item in one.utterances}
    highest = max(rates)
    if len(rates) > 1 or highest >= settings.features.sample_rate:
        return []
    lower = replace(settings.features, sample_rate=highest)
    return [] if lower.problems() else [f"--features.sample_rate={highest}"]
