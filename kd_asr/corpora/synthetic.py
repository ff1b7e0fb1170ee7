"""The embedded corpus: synthetic read speech in LibriSpeech's layout, with noise, rooms, and true phoneme times.

It lets the whole toolkit run and be tested without any download. The sentences are ours (`grammar`), the speech is
espeak-ng's (`espeak`), rooms and noise are drawn from `acoustics.Difficulty`. The same seed and size give the same
bytes with the same versions of NumPy, libsndfile and espeakng-loader, whatever the number of jobs: one voice, which
has its own generator and its own fresh espeak-ng process, is the unit of work.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from kd_asr.artifacts import write_json
from kd_asr.console import SPEECH
from kd_asr.corpora import acoustics
from kd_asr.corpora.acoustics import Difficulty
from kd_asr.corpora.espeak import Speech, Voice, speak
from kd_asr.corpora.grammar import Grammar
from kd_asr.corpora.languages import ENGLISH, NumberSentences, is_english
from kd_asr.corpora.spelling import normalise_words
from kd_asr.corpora.true_phones import FILE_NAME, SILENCE, TruePhone, phone_times, write_true_phones
from kd_asr.errors import UserError
from kd_asr.parallel import parallel_map

SAMPLE_RATE = 16000
SUBSETS = ("train", "dev", "test")
UNLABELLED = "unlabelled"
# In the order of their seeds.
_ALL = (*SUBSETS, UNLABELLED)
RECIPE = "recipe.json"
# Raised when the same seed and size would give other bytes than before.
VERSION = 2
# Every file bears this time (2000-01-01): the same corpus made again looks unchanged to the runs that used it.
FILE_TIME = 946_684_800
CHAPTERS_PER_VOICE = 2
# Least squares over what espeak-ng needs at 175 words a minute, and the mean of the silence around it; only used to
# plan how many sentences fill the minutes asked for.
SECONDS_PER_LETTER = 0.0502
SECONDS_PER_SENTENCE = 0.48 + 0.5

# Timbres, from espeak-ng's variants of American English; no two sets share one. Left out are variants so distorted that
# the mean spectra of the others' phones name fewer than three in ten of their frames.
VARIANTS = {
    subset: tuple(names.split())
    for subset, names in {
        "train": "m1 f1 m3 f4 m5 Michael m7 Andrea Alex Annie Andy belinda adam linda Denis benjamin Diogo aunty Gene "
        "anika Hugo steph max grandma Mario steph2 Mike Henrique boris pablo",
        "dev": "m2 f2 quincy f5",
        "test": "m4 f3 m8 steph3 victor robert m6 paul",
    }.items()
}
FIRST_SPEAKER = {"train": 1001, "dev": 2001, "test": 3001, UNLABELLED: 4001}
# Pitches of the voices of each round through the variants: a set with more voices than variants has each of them twice,
# as two speakers. Unlabelled speech has the timbres of train at the pitches of the second round.
_PITCHES = ((35, 66), (66, 91))


@dataclass(frozen=True)
class EmbeddedSize:
    """How much is made.

    Attributes:
        train_voices, dev_voices, test_voices: speakers of each set, at most as many as `VARIANTS` has.
        train_minutes, dev_minutes, test_minutes: speech of each set, reached within a few percent.
        difficulty: noise and rooms.
        unlabelled_voices, unlabelled_minutes: speakers and minutes of speech without transcripts, of which no voice is
            in another set; 0: none.
    """

    train_voices: int = 26
    dev_voices: int = 4
    test_voices: int = 6
    train_minutes: float = 44.0
    dev_minutes: float = 5.5
    test_minutes: float = 9.0
    difficulty: Difficulty = field(default_factory=Difficulty)
    unlabelled_voices: int = 0
    unlabelled_minutes: float = 0.0

    def voices(self, subset: str) -> int:
        """Speakers of a set."""
        found: int = getattr(self, f"{subset}_voices")
        return found

    def minutes(self, subset: str) -> float:
        """Minutes of a set."""
        found: float = getattr(self, f"{subset}_minutes")
        return found

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets that are made."""
        return _ALL if self.unlabelled_voices else SUBSETS


FULL = EmbeddedSize()
# Twice as many test voices, who say 6,000 words, and speech without transcripts.
LARGE = EmbeddedSize(
    dev_minutes=11.0, test_voices=16, test_minutes=48.0, unlabelled_voices=30, unlabelled_minutes=90.0
)
MINIATURE = EmbeddedSize(3, 1, 1, 0.75, 0.25, 0.25)


@dataclass(frozen=True)
class _Speaker:
    """One unit of work: a voice and what it says."""

    subset: str
    index: int
    voice: Voice
    sentences: list[str]
    language: str = ENGLISH

    @property
    def speaker_id(self) -> str:
        return str(FIRST_SPEAKER[self.subset] + self.index)


def true_phones_path(root: Path, subset: str) -> Path:
    """Where the phoneme times of a subset of the embedded corpus lie."""
    return root / subset / FILE_NAME


def is_complete(folder: Path, *, seed: int, size: EmbeddedSize, language: str = ENGLISH) -> bool:
    """Whether `folder` holds the embedded corpus of this seed, size and language, made by this version."""
    try:
        return bool(json.loads((folder / RECIPE).read_text(encoding="utf-8")) == _recipe(seed, size, language))
    except (OSError, ValueError):
        return False


def _recipe(seed: int, size: EmbeddedSize, language: str) -> dict[str, object]:
    made = asdict(size)
    if not size.unlabelled_voices:  # as before there was unlabelled speech: what was made then is still whole
        del made["unlabelled_voices"], made["unlabelled_minutes"]
    recipe: dict[str, object] = {"version": VERSION, "seed": seed, "size": made}
    if language != ENGLISH:
        recipe["language"] = language
    return dict(json.loads(json.dumps(recipe)))


def synthesize(
    folder: Path, *, seed: int, size: EmbeddedSize = FULL, jobs: int = 0, language: str = ENGLISH
) -> None:
    """Make the embedded corpus in `folder`: subsets `train`, `dev`, `test` and, if the size has any, `unlabelled`
    without transcripts; FLAC at 16 kHz and 16 bits.

    It is made in a temporary folder beside it and renamed at the end; what an earlier version or another seed had left
    in `folder` is replaced, anything else there is refused.

    Args:
        folder: the corpus's root.
        seed: of sentences, voices, rooms and noise.
        size: how much; by default the full corpus, about an hour.
        jobs: processes, 0 for one per core; never changes a byte.
        language: of the voices; in others than English sentences are numbers, and phoneme times are not written.

    Raises:
        UserError: `folder` holds something else, more voices are asked for than there are, or espeak-ng fails.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / RECIPE).is_file():
        raise UserError(f"{folder} is not empty and holds no embedded corpus: choose another folder or empty it")
    speakers = [speaker for subset in size.sets for speaker in _plan(subset, seed, size, language)]
    partial_folder = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    for subset in size.sets:
        (partial_folder / subset).mkdir(parents=True)
    results = parallel_map(
        partial(_make_speaker, folder=partial_folder, seed=seed, difficulty=size.difficulty),
        speakers,
        description="embedded corpus",
        unit=SPEECH,
        jobs=jobs,
        amount=lambda speaker: sum(_expected_seconds(text, speaker.voice.rate) for text in speaker.sentences),
    )
    phones: dict[str, list[tuple[str, list[TruePhone]]]] = {subset: [] for subset in size.sets}
    for speaker, made in zip(speakers, results, strict=True):
        phones[speaker.subset] += made
    for subset in SUBSETS if is_english(language) else ():
        write_true_phones(true_phones_path(partial_folder, subset), phones[subset])
    write_json(partial_folder / RECIPE, _recipe(seed, size, language))
    for path in partial_folder.rglob("*"):
        os.utime(path, (FILE_TIME, FILE_TIME))
    if folder.exists():
        shutil.rmtree(folder)
    partial_folder.rename(folder)


def _plan(subset: str, seed: int, size: EmbeddedSize, language: str) -> list[_Speaker]:
    """Voices of a set, and sentences for each until its share of the minutes is filled."""
    # All unlabelled voices are of the second round of train's variants, so that they are nobody else's.
    first_round = int(subset == UNLABELLED)
    count, variants = size.voices(subset), VARIANTS["train" if first_round else subset]
    most = (len(_PITCHES) - first_round) * len(variants) if subset in ("test", UNLABELLED) else len(variants)
    if not 1 <= count <= most:
        raise UserError(f"the embedded corpus has 1 to {most} {subset} voices, not {count}")
    grammar: Grammar | NumberSentences = Grammar(f"{seed}/{subset}")
    if not is_english(language):
        grammar = NumberSentences(f"{seed}/{subset}", language)
    speakers = []
    for index in range(count):
        rng = np.random.default_rng([seed, _ALL.index(subset), index, 0])
        rounds, variant = divmod(index, len(variants))
        voice = Voice(
            f"{language}+{variants[variant]}",
            rate=int(rng.integers(150, 196)),
            pitch=int(rng.integers(*_PITCHES[first_round + rounds])),
            pitch_range=int(rng.integers(30, 71)),
        )
        sentences: list[str] = []
        seconds = 0.0
        while seconds < 60 * size.minutes(subset) / count:
            sentences.append(grammar.sentence())
            seconds += _expected_seconds(sentences[-1], voice.rate)
        speakers.append(_Speaker(subset, index, voice, sentences, language))
    return speakers


def _expected_seconds(text: str, rate: int) -> float:
    return SECONDS_PER_SENTENCE + SECONDS_PER_LETTER * len(text) * 175 / rate


def _make_speaker(
    speaker: _Speaker, *, folder: Path, seed: int, difficulty: Difficulty
) -> list[tuple[str, list[TruePhone]]]:
    """Write all chapters of one voice; the true phones of each utterance."""
    rng = np.random.default_rng([seed, _ALL.index(speaker.subset), speaker.index, 1])
    speeches, timed = speak(speaker.sentences, speaker.voice), is_english(speaker.language)
    clean = [_decode(speech) for speech in speeches]
    made: list[tuple[str, list[TruePhone]]] = []
    bounds = np.linspace(0, len(clean), CHAPTERS_PER_VOICE + 1).astype(int)
    for chapter, (begin, end) in enumerate(pairwise(bounds)):
        chapter_id = f"{speaker.speaker_id}{chapter + 1}"
        path = folder / speaker.subset / speaker.speaker_id / chapter_id
        path.mkdir(parents=True)
        room = acoustics.convolve(
            np.pad(
                acoustics.room_response(
                    rng,
                    SAMPLE_RATE,
                    rng.uniform(*difficulty.reverberation_seconds),
                    rng.uniform(*difficulty.direct_to_reverberant_db),
                ),
                (0, 256),
            ),
            acoustics.microphone_response(rng, SAMPLE_RATE, difficulty.colour_db),
        )
        level_db = rng.uniform(-32, -22)
        transcript = []
        for number, index in enumerate(range(begin, end)):
            utterance_id = f"{speaker.speaker_id}-{chapter_id}-{number:04d}"
            samples, phones = _record(
                clean, index, speeches[index], room=room, difficulty=difficulty, rng=rng, timed=timed
            )
            samples = acoustics.set_level(samples, level_db)
            pcm = np.round(samples * 32767).astype(np.int16)
            encoded = io.BytesIO()  # written by Python, whose errors, unlike libsndfile's, say that the disk is full
            soundfile.write(encoded, pcm, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
            (path / f"{utterance_id}.flac").write_bytes(encoded.getbuffer())
            transcript.append(f"{utterance_id} {' '.join(normalise_words(speaker.sentences[index]))}\n")
            made.append((utterance_id, phones))
        if speaker.subset in SUBSETS:
            transcript_path = path / f"{speaker.speaker_id}-{chapter_id}.trans.txt"
            transcript_path.write_text("".join(transcript), encoding="utf-8")
    return made


def _decode(speech: Speech) -> np.ndarray:
    """(samples,) float64 at 16 kHz."""
    pcm = np.frombuffer(speech.pcm, "<i2").astype(np.float64) / 32768
    return acoustics.resample(pcm, speech.sample_rate, SAMPLE_RATE)


def _record(
    clean: Sequence[np.ndarray],
    index: int,
    speech: Speech,
    *,
    room: np.ndarray,
    difficulty: Difficulty,
    rng: np.random.Generator,
    timed: bool,
) -> tuple[np.ndarray, list[TruePhone]]:
    """Utterance `index` in its room and noise, with some of the room before and after it, and its true phones if
    they are `timed`.

    The babble is made of all that this voice says, so that it has the colour of speech.
    """
    before, after = (int(seconds * SAMPLE_RATE) for seconds in rng.uniform(0.1, 0.4, 2))
    wet = acoustics.convolve(np.pad(clean[index], (before, after)), room)
    talking = rng.uniform(*difficulty.babble)
    noise = np.sqrt(1 - talking) * acoustics.coloured_noise(rng, len(wet), rng.uniform(0, 2))
    noise += np.sqrt(talking) * acoustics.babble(rng, clean, len(wet))
    active = slice(before, before + len(clean[index]))
    noisy = acoustics.add_noise(wet, noise, rng.uniform(*difficulty.snr_db), active)
    if not timed:
        return noisy, []
    shift = before / SAMPLE_RATE
    total = len(noisy) / SAMPLE_RATE
    times = phone_times(speech.phonemes, len(speech.pcm) // 2)
    phones = [
        TruePhone(phone, shift + start / speech.sample_rate, (end - start) / speech.sample_rate)
        for phone, start, end in times
    ]
    return noisy, _with_silence(phones, total)


def _with_silence(phones: list[TruePhone], total: float) -> list[TruePhone]:
    """The phones with silence before and after them, so that they fill `total` seconds."""
    if not phones:
        return [TruePhone(SILENCE, 0.0, total)]
    start, last = phones[0].start, phones[-1]
    end = last.start + last.duration
    if last.phone == SILENCE:
        phones = [*phones[:-1], TruePhone(SILENCE, last.start, total - last.start)]
    elif total > end:
        phones = [*phones, TruePhone(SILENCE, end, total - end)]
    return [TruePhone(SILENCE, 0.0, start), *phones] if start > 0 else phones
