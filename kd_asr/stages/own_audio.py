"""A user's own audio through a trained system: `kd-asr transcribe`, and `kd-asr align` with files.

Nothing is kept in the run: frames live in a temporary folder, results go to the caller.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from kd_asr.alignment.doubts import doubts, longest_phone
from kd_asr.alignment.g2p import Guess, guess_pronunciations, spelt_with
from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon, merge, read_lexicon, select, with_positions
from kd_asr.alignment.store import AlignmentStore, PhoneSegment
from kd_asr.alignment.topology import UNKNOWN_PHONE, Topology, without_position
from kd_asr.alignment.viterbi import best_path
from kd_asr.alignment.words import (
    WordSegment,
    word_segments,
)
from kd_asr.artifacts import load_artifact
from kd_asr.console import say
from kd_asr.corpora.settings import SpellingSettings
from kd_asr.corpora.spelling import normalise_words
from kd_asr.decoding.decoder import Decoder, Search, search_set, unpickled_scores
from kd_asr.decoding.nbest import Alternative
from kd_asr.device import find_device
from kd_asr.errors import UserError
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.jobs.systems import Average, NetworkRef
from kd_asr.parallel import Workers
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.features import USUAL_SPEAKER_FILE
from kd_asr.stages.lexicon import dictionary_file
from kd_asr.stages.own_frames import PIECE_SECONDS, Failure, OwnAudio, store_frames
from kd_asr.stages.own_results import Timed, check_results, write_results
from kd_asr.stages.recognise import NetworkScores, log_prior, recognising_workers
from kd_asr.stages.settings import Settings, load_settings
from kd_asr.stages.systems import run_systems
from kd_asr.text import shown

# All scores of a file that is aligned are in memory at once.
MOST_ALIGNED_SECONDS = 600.0


@dataclass(frozen=True)
class TrainedSystem:
    """Networks of a run, and the run they are from.

    Attributes:
        run_dir: the run.
        settings: of the run.
        scaled_as: the compared system whose acoustic scale and insertion penalty hold: a member of an ensemble has
            those of the first system of one network.
        networks: combined if several.
        average: how they are combined.
    """

    run_dir: Path
    settings: Settings
    scaled_as: str
    networks: tuple[NetworkRef, ...]
    average: Average


def find_system(model: Path) -> TrainedSystem:
    """The system in a folder such as `RUN/distil/student-00`, `RUN/baseline/baseline-00` or `RUN/ensemble`.

    Raises:
        UserError: the folder is no system of a run, or one of its networks is not trained, or was trained with other
            settings than those of the run now.
    """
    place = model.resolve()
    run_dir = next((folder for folder in place.parents if (folder / SETTINGS_FILE).is_file()), None)
    example = "RUN/distil/student-00, RUN/baseline/baseline-00 or RUN/ensemble"
    if run_dir is None:
        raise UserError(f"{model} is not in a run folder: name a trained system, such as {example}")
    settings = load_settings(run_dir)
    name = place.relative_to(run_dir).as_posix()
    systems = run_systems(settings)
    for system in systems.systems:
        own = [network for network in system.members if network.artifact == name]
        if name == system.name or own:
            single = name != system.name and len(system.members) > 1
            chosen = tuple(own[:1]) if single else system.members
            for network in chosen:
                load_artifact(run_dir, network.artifact)
            check_agreement(run_dir, settings, [network.artifact for network in chosen])
            of_one = [one.name for one in systems.systems if len(one.members) == 1]
            scaled_as = of_one[0] if single and of_one else system.name
            return TrainedSystem(run_dir, settings, scaled_as, chosen, system.combine)
    raise UserError(f"{model} is not a system of the run {run_dir}: name {example}")


def _system_on(device: str, model: Path, jobs: int) -> TrainedSystem:
    """`find_system` for another device and number of processes than those of its run."""
    find_device(device)
    system = find_system(model)
    return replace(system, settings=replace(system.settings, device=device, jobs=jobs))


def transcribe(
    model: Path,
    files: Sequence[Path],
    *,
    one_speaker: bool = False,
    channel: int | None = None,
    alternatives: int = 0,
    jobs: int = 0,
    device: str = "auto",
    piece_seconds: float = PIECE_SECONDS,
) -> tuple[list[Timed], list[Failure]]:
    """Words of audio files, in time.

    Args:
        model: see `find_system`.
        files: in any format that soundfile reads, at any rate.
        one_speaker: normalise the frames of all files together, as those of a speaker in training, and adapt the
            networks to all of them, where the run adapts; otherwise to each file for itself.
        channel: the one that is used, counted from 1; None: the mean of all.
        alternatives: word sequences wanted of each file, of which the cheapest is what was said; 0: the single best.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.
        piece_seconds: longer files are recognised in pieces, cut where they are quietest.

    Raises:
        UserError: the system or the decoding graph is missing, or has not been decoded with.
    """
    system = _system_on(device, model, jobs)
    graph = load_artifact(system.run_dir, "graph")
    decoded = load_artifact(system.run_dir, f"decode/{system.scaled_as}")
    check_agreement(system.run_dir, system.settings, [graph.name, decoded.name])
    decode = system.settings.decode
    search = Search(
        acoustic_scale=decoded.metrics["acoustic_scale"],
        insertion_penalty=decoded.metrics["insertion_penalty"],
        beam=decode.beam,
        max_active=decode.max_active,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd_asr-")))
        features = system.settings.features
        audio, failed = store_frames(
            files,
            folder / "frames",
            features,
            usual=_usual_speaker(system),
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
        prior = _prior(system)
        scores = _scores(system, folder / "frames", audio, prior, one_speaker=one_speaker)
        pieces = [piece for item in audio for piece in item.pieces]
        wanted = [(piece.name, piece.frames) for piece in pieces]
        lists: list[list[Alternative]] = [[] for _ in pieces]
        searched = partial(
            search_set, graph.path, wanted, scores, search, workers, scratch=folder, description="transcribe"
        )
        if alternatives:
            lattice_beam = system.settings.rescore.lattice_beam
            lists = searched(method=partial(Decoder.alternatives, count=alternatives, lattice_beam=lattice_beam))
            words = [found[0].words if found else () for found in lists]
        else:
            words = [hypothesis.words for hypothesis in searched(method=Decoder.decode)]
        lexicon = read_lexicon(system.run_dir / "lexicon" / "lexicon.txt")
        used, _ = select(lexicon, {word for line in words for word in line})
        said = {piece.name: line for piece, line in zip(pieces, words, strict=True)}
        timed, unaligned = _in_time(_task(system, scores, prior, used), audio, said, workers)
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
) -> tuple[list[Timed], list[Failure]]:
    """Align audio files with their transcripts; write `<name>.TextGrid` and `<name>.ctm` of each into `out`.

    The transcript of `a.wav` is `a.txt` beside it. Words that neither the run's lexicon nor its dictionary has are
    pronounced by espeak-ng, and named. How sure each word is (`WordSegment.posterior`) is the sixth field of the CTM
    and the tier `confidence` of the TextGrid.

    Args:
        model: see `find_system`.
        files: in any format that soundfile reads, at any rate.
        out: folder, made if it is not there.
        one_speaker: as in `transcribe`.
        channel: as in `transcribe`.
        overwrite: replace results that are in `out` already.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.

    Raises:
        UserError: the system is missing, two files have the same name, or `out` cannot be written into or has results.
    """
    system = _system_on(device, model, jobs)
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
            usual=_usual_speaker(system),
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
        prior = _prior(system)
        scores = _scores(system, folder / "frames", audio, prior, one_speaker=one_speaker)
        said = {item.pieces[0].name: transcripts[item.file] for item in audio}
        timed, unaligned = _in_time(_task(system, scores, prior, lexicon), audio, said, workers)
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


def _pronounced(system: TrainedSystem, words: Iterable[str]) -> Lexicon:
    """Pronunciations of all words in the phones of the run."""
    known, missing = select(read_lexicon(system.run_dir / "lexicon" / "lexicon.txt"), words)
    if not missing:
        return known
    with dictionary_file(system.settings) as path:
        if not path.is_file():
            say(f"{path}, the run's dictionary, is gone: the words that its lexicon lacks are guessed")
        whole = read_lexicon(path, system.settings.spelling) if path.is_file() else Lexicon({})
    found, guessed = select(whole, missing)
    more = [Guess(word, variants, (), word) for word, variants in found.pronunciations.items()]
    more += guess_pronunciations(guessed, whole.pronunciations)
    phones = Topology.load(system.run_dir / "align" / "topology.json").phones
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
    system: TrainedSystem, frames: Path, audio: Sequence[OwnAudio], prior: torch.Tensor, *, one_speaker: bool
) -> NetworkScores:
    """Scores of the files, each of which is a speaker's of its own, unless `one_speaker`."""
    speakers = {piece.name: "one" if one_speaker else item.pieces[0].name for item in audio for piece in item.pieces}
    return NetworkScores(
        system.run_dir, frames, system.networks, system.settings, prior, average=system.average, speakers=speakers
    )


def _usual_speaker(system: TrainedSystem) -> UsualSpeaker | None:
    """That of the training set; None in a run of an older version, which has none."""
    path = load_artifact(system.run_dir, "features").path / USUAL_SPEAKER_FILE
    return UsualSpeaker.load(path) if path.exists() else None


def _prior(system: TrainedSystem) -> torch.Tensor:
    aligned = load_artifact(system.run_dir, "align")
    num_pdfs = Topology.load(aligned.path / "topology.json").num_pdfs
    return log_prior(AlignmentStore.open(aligned.path / "train"), num_pdfs)


@dataclass(frozen=True)
class _Task:
    """What a worker needs to align."""

    run_dir: Path
    settings: Settings
    scores: bytes
    prior: tuple[float, ...]
    lexicon: Lexicon


def _task(system: TrainedSystem, scores: NetworkScores, prior: torch.Tensor, lexicon: Lexicon) -> _Task:
    return _Task(system.run_dir, system.settings, pickle.dumps(scores), tuple(prior.tolist()), lexicon)


@lru_cache(maxsize=1)
def _topology(path: Path) -> Topology:
    return Topology.load(path)


def _align(
    item: tuple[str, Sequence[str]], task: _Task
) -> tuple[tuple[WordSegment, ...], tuple[PhoneSegment, ...]] | None:
    name, words = item
    scores = unpickled_scores(task.scores)(name)
    align = task.settings.align
    topology = _topology(task.run_dir / "align" / "topology.json")
    graph = training_graph(words, task.lexicon, topology, silence_probability=align.silence_probability)
    path = best_path(scores, graph, beam=align.beam, retry_beam=align.retry_beam)
    if path is None:
        return None
    log_posteriors = scores + np.asarray(task.prior, dtype=np.float32)
    return tuple(word_segments(path, words, log_posteriors)), path.phones


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
    longest = longest_phone(AlignmentStore.open(task.run_dir / "align" / "train"))
    frame_shift = task.settings.features.frame_shift
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
            words += [replace(word, start_frame=word.start_frame + piece.first_frame) for word in result[0]]
            phones += [replace(phone, start_frame=phone.start_frame + piece.first_frame) for phone in result[1]]
        else:
            against = doubts(words, phones, longest=longest, frame_shift=frame_shift)
            timed.append(Timed(item.file, item.seconds, frame_shift, tuple(words), tuple(phones), against))
    return timed, failures
