"""A user's own audio through a trained system: `kd-asr transcribe`, and `kd-asr align-files`.

Nothing is kept: frames live in a temporary folder, results go to the caller.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from kd_asr.alignment.doubts import doubts
from kd_asr.alignment.g2p import Guess, guess_pronunciations, spelt_with
from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon, merge, read_lexicon, select, with_positions
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import UNKNOWN_PHONE, Topology, without_position
from kd_asr.alignment.viterbi import best_path
from kd_asr.alignment.words import (
    WordSegment,
    word_segments,
)
from kd_asr.console import say
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import normalise_words
from kd_asr.decoding.decoder import Decoder, Scores, search_set, unpickled_scores
from kd_asr.decoding.nbest import Alternative
from kd_asr.device import find_device
from kd_asr.parallel import Workers
from kd_asr.recognition.folder import is_export, open_export
from kd_asr.recognition.networks import RecogniserScores
from kd_asr.recognition.recogniser import Engine, Recogniser
from kd_asr.recognition.results import Timed, check_results, write_results
from kd_asr.recognition.runs import find_system, recogniser_of
from kd_asr.sequence.topology import OneStateTopology
from kd_asr.stages.lexicon import dictionary_file
from kd_asr.stages.own_frames import PIECE_SECONDS, Failure, OwnAudio, store_frames
from kd_asr.stages.recognise import recognising_workers
from kd_asr.tasks.targets import load_topology
from kd_asr.text import shown

# All scores of a file that is aligned are in memory at once.
MOST_ALIGNED_SECONDS = 600.0


def open_recogniser(
    model: Path, *, searching: bool = True, engine: Engine = "torch", device: str = "auto", jobs: int = 0
) -> Recogniser:
    """The recogniser in an export folder, or that of a system of a run.

    Args:
        model: what `kd-asr export` wrote, or a folder that `find_system` takes.
        searching: for recognition; otherwise it need only align.
        engine: what computes the networks' outputs.
        device: where the networks are applied, see `find_device`.
        jobs: processes, 0 for one per core.

    Raises:
        UserError: the system is missing or damaged, or cannot do what is asked for.
    """
    find_device(device)
    found = open_export(model) if is_export(model) else recogniser_of(find_system(model), searching=searching)
    made = replace(found, engine=engine, settings=replace(found.settings, device=device, jobs=jobs))
    made.check_engine()
    return made


def transcribe(
    model: Path,
    files: Sequence[Path],
    *,
    one_speaker: bool = False,
    channel: int | None = None,
    alternatives: int = 0,
    jobs: int = 0,
    device: str = "auto",
    engine: Engine = "torch",
    piece_seconds: float = PIECE_SECONDS,
) -> tuple[list[Timed], list[Failure]]:
    """Words of audio files, in time.

    Args:
        model: see `open_recogniser`.
        files: in any format that soundfile reads, at any rate.
        one_speaker: normalise the frames of all files together, as those of a speaker in training, and adapt the
            networks to all of them, where the system adapts; otherwise to each file for itself.
        channel: the one that is used, counted from 1; None: the mean of all.
        alternatives: word sequences wanted of each file, of which the cheapest is what was said; 0: the single best.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.
        engine: what computes the networks' outputs.
        piece_seconds: longer files are recognised in pieces, cut where they are quietest.

    Raises:
        UserError: the system or the decoding graph is missing, or has not been decoded with.
    """
    system = open_recogniser(model, engine=engine, device=device, jobs=jobs)
    graph, search = system.searches_with
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd_asr-")))
        features = system.settings.features
        audio, failed = store_frames(
            files,
            folder / "frames",
            features,
            usual=system.usual,
            one_speaker=one_speaker,
            channel=channel,
            piece_seconds=piece_seconds,
        )
        if alternatives:
            failed += [
                Failure(item.file, f"longer than {piece_seconds:g} s: alternatives are found in shorter files only")
                for item in audio
                if len(item.pieces) > 1
            ]
            audio = [item for item in audio if len(item.pieces) == 1]
        if not audio:
            return [], failed
        workers = stack.enter_context(recognising_workers(system.settings))
        scores = _scores(system, folder / "frames", audio, one_speaker=one_speaker)
        pieces = [piece for item in audio for piece in item.pieces]
        wanted = [(piece.name, piece.frames) for piece in pieces]
        lists: list[list[Alternative]] = [[] for _ in pieces]
        searched = partial(
            search_set, graph, wanted, scores, search, workers, scratch=folder, description="transcribe"
        )
        if alternatives:
            lattice_beam = system.settings.rescore.lattice_beam
            lists = searched(method=partial(Decoder.alternatives, count=alternatives, lattice_beam=lattice_beam))
            words = [found[0].words if found else () for found in lists]
        else:
            words = [hypothesis.words for hypothesis in searched(method=Decoder.decode)]
        used, _ = select(read_lexicon(system.lexicon), {word for line in words for word in line})
        said = {piece.name: line for piece, line in zip(pieces, words, strict=True)}
        timed, unaligned = _in_time(_task(system, scores, used), audio, said, workers)
        of_file = {item.pieces[0].name: tuple(lists[pieces.index(item.pieces[0])]) for item in audio}
        first = {item.file: item.pieces[0].name for item in audio}
        timed = [replace(item, alternatives=of_file[first[item.file]]) for item in timed]
        return timed, [*failed, *unaligned]


def align_files(
    model: Path,
    files: Sequence[Path],
    out: Path,
    *,
    one_speaker: bool = False,
    channel: int | None = None,
    overwrite: bool = False,
    jobs: int = 0,
    device: str = "auto",
    engine: Engine = "torch",
) -> tuple[list[Timed], list[Failure]]:
    """Align audio files with their transcripts; write `<name>.TextGrid` and `<name>.ctm` of each into `out`.

    The transcript of `a.wav` is `a.txt` beside it. Words that neither the system's lexicon nor its dictionary has are
    pronounced by espeak-ng, and named. How sure each word is (`WordSegment.posterior`) is the sixth field of the CTM
    and the tier `confidence` of the TextGrid.

    Args:
        model: see `open_recogniser`.
        files: in any format that soundfile reads, at any rate.
        out: folder, made if it is not there.
        one_speaker: as in `transcribe`.
        channel: as in `transcribe`.
        overwrite: replace results that are in `out` already.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.
        engine: what computes the networks' outputs.

    Raises:
        UserError: the system is missing, two files have the same name, or `out` cannot be written into or has results.
    """
    system = open_recogniser(model, searching=False, engine=engine, device=device, jobs=jobs)
    check_results(files, out, overwrite=overwrite)
    failed: list[Failure] = []
    transcripts: dict[Path, tuple[str, ...]] = {}
    for file in files:
        found = _transcript(file, system.settings.spelling)
        if isinstance(found, str):
            failed.append(Failure(file, found))
        else:
            transcripts[file] = found
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd_asr-")))
        audio, unreadable = store_frames(
            list(transcripts),
            folder / "frames",
            system.settings.features,
            usual=system.usual,
            one_speaker=one_speaker,
            channel=channel,
            piece_seconds=MOST_ALIGNED_SECONDS,
        )
        failed += unreadable
        reason = f"longer than {MOST_ALIGNED_SECONDS:g} s: cut it, and its transcript, into shorter files"
        failed += [Failure(item.file, reason) for item in audio if len(item.pieces) > 1]
        audio = [item for item in audio if len(item.pieces) == 1]
        if not audio:
            return [], failed
        lexicon = _pronounced(system, {word for item in audio for word in transcripts[item.file]})
        workers = stack.enter_context(recognising_workers(system.settings))
        scores = _scores(system, folder / "frames", audio, one_speaker=one_speaker)
        said = {item.pieces[0].name: transcripts[item.file] for item in audio}
        timed, unaligned = _in_time(_task(system, scores, lexicon), audio, said, workers)
    write_results(timed, out)
    return timed, [*failed, *unaligned]


def _transcript(file: Path, spelling: SpellingSettings) -> tuple[str, ...] | str:
    """The words beside an audio file, or the reason why there are none."""
    path = file.with_suffix(".txt")
    if path.exists() and not path.is_file():
        return f"the transcript {shown(path)} is not a file"
    try:
        words = normalise_words(path.read_text(encoding="utf-8-sig"), spelling)
    except FileNotFoundError:
        return f"there is no transcript {shown(path)}"
    except (UnicodeDecodeError, OSError) as error:
        return f"the transcript {shown(path)} cannot be read: {error}"
    return words or f"the transcript {shown(path)} holds no words"


def _pronounced(system: Recogniser, words: Iterable[str]) -> Lexicon:
    """Pronunciations of all words in the phones of the system."""
    known, missing = select(read_lexicon(system.lexicon), words)
    if not missing:
        return known
    with dictionary_file(system.settings) as path:
        if path is not None and not path.is_file():
            say(f"{path}, the system's dictionary, is gone: the words that its lexicon lacks are guessed")
        whole = read_lexicon(path, system.settings.spelling) if path is not None and path.is_file() else Lexicon({})
    found, guessed = select(whole, missing)
    more = [Guess(word, variants, (), word) for word, variants in found.pronunciations.items()]
    more += guess_pronunciations(guessed, whole.pronunciations, system.settings.spelling.language)
    phones = load_topology(system.topology).phones
    plain = set(map(without_position, phones))
    spelt = Lexicon({guess.word: spelt_with(guess, plain).variants for guess in more})
    placed = spelt if plain == set(phones) else with_positions(spelt)
    # No word that the aligner was trained with may have had a phone in this position.
    usable = {
        word: tuple(variant for variant in variants if set(variant) <= set(phones)) or ((UNKNOWN_PHONE,),)
        for word, variants in placed.pronunciations.items()
    }
    for word in guessed:
        unknown = usable[word] == ((UNKNOWN_PHONE,),)
        said = "unknown" if unknown else " or ".join(" ".join(map(without_position, one)) for one in usable[word])
        say(f"not in the dictionary: {word}, pronounced {said}")
    return merge(known, usable)


def _scores(
    system: Recogniser, frames: Path, audio: Sequence[OwnAudio], *, one_speaker: bool
) -> RecogniserScores:
    """Scores of the files, each of which is a speaker's of its own, unless `one_speaker`."""
    speakers = {piece.name: "one" if one_speaker else item.pieces[0].name for item in audio for piece in item.pieces}
    return RecogniserScores(system, frames, speakers)


@dataclass(frozen=True)
class _Task:
    """What a worker needs to align."""

    system: Recogniser
    scores: bytes
    lexicon: Lexicon


def _task(system: Recogniser, scores: Scores, lexicon: Lexicon) -> _Task:
    return _Task(system, pickle.dumps(scores), lexicon)


@lru_cache(maxsize=1)
def _topology(path: Path) -> Topology | OneStateTopology:
    return load_topology(path)


def _align(
    item: tuple[str, Sequence[str]], task: _Task
) -> tuple[tuple[WordSegment, ...], tuple[PhoneSegment, ...]] | None:
    name, words = item
    return align_words(task.system, unpickled_scores(task.scores)(name), words, task.lexicon)


def align_words(
    system: Recogniser, scores: NDArray[np.float32], words: Sequence[str], lexicon: Lexicon
) -> tuple[tuple[WordSegment, ...], tuple[PhoneSegment, ...]] | None:
    """Words and phones in time; None if there is no path.

    Args:
        system: which made the scores.
        scores: (frames, pdfs) log posterior - log prior; times are those of all frames where these are every third.
        words: what was said.
        lexicon: with the pronunciations of these words.
    """
    align = system.settings.align
    graph = training_graph(words, lexicon, _topology(system.topology), silence_probability=align.silence_probability)
    path = best_path(scores, graph, beam=align.beam, retry_beam=align.retry_beam)
    if path is None:
        return None
    timed, stride = word_segments(path, words, scores + system.log_prior), system.stride
    if stride == 1:
        return tuple(timed), path.phones
    phones = [_at_all_frames(one, stride) for one in path.phones]
    return tuple(_at_all_frames(one, stride) for one in timed), tuple(phones)


Segment = TypeVar("Segment", WordSegment, PhoneSegment)


def _at_all_frames(item: Segment, stride: int) -> Segment:
    return replace(item, start_frame=stride * item.start_frame, num_frames=stride * item.num_frames)


def _within(item: Segment, frames: int) -> Segment:
    """A segment that ends with the audio, which the last of every third frame may not."""
    return replace(item, num_frames=min(item.num_frames, frames - item.start_frame))


def _in_time(
    task: _Task, audio: Sequence[OwnAudio], said: Mapping[str, Sequence[str]], workers: Workers
) -> tuple[list[Timed], list[Failure]]:
    """Times of the words said in each piece, and the files where they cannot be aligned."""
    pieces = [piece for item in audio for piece in item.pieces]
    results = workers.map(
        partial(_align, task=task),
        [(piece.name, said[piece.name]) for piece in pieces],
        description="times of words",
        unit="files",
    )
    found = dict(zip((piece.name for piece in pieces), results, strict=True))
    longest = task.system.longest_phone
    frame_shift = task.system.settings.features.frame_shift
    timed: list[Timed] = []
    failures: list[Failure] = []
    for item in audio:
        words: list[WordSegment] = []
        phones: list[PhoneSegment] = []
        for piece in item.pieces:
            result = found[piece.name]
            if result is None:
                count = sum(len(said[piece.name]) for piece in item.pieces)
                reason = f"cannot be aligned: no path for {count} words in {item.seconds:.1f} s of audio"
                failures.append(Failure(item.file, reason))
                break
            own_words = [_within(word, piece.frames) for word in result[0]]
            own_phones = [_within(phone, piece.frames) for phone in result[1]]
            words += [replace(word, start_frame=word.start_frame + piece.first_frame) for word in own_words]
            phones += [replace(phone, start_frame=phone.start_frame + piece.first_frame) for phone in own_phones]
        else:
            against = doubts(words, phones, longest=longest, frame_shift=frame_shift)
            timed.append(Timed(item.file, item.seconds, frame_shift, tuple(words), tuple(phones), against))
    return timed, failures
