"""A user's own audio through a trained system: `kd-asr transcribe`, and `kd-asr align` with files.

Nothing is kept in the run: frames live in a temporary folder, results go to the caller.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from kd_asr.alignment.ctm import TimedPhone, write_ctm
from kd_asr.alignment.g2p import Guess, guess_pronunciations, spelt_with
from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon, merge, read_lexicon, select, with_positions
from kd_asr.alignment.store import AlignmentStore, PhoneSegment
from kd_asr.alignment.topology import UNKNOWN_PHONE, Topology, without_position
from kd_asr.alignment.viterbi import best_path
from kd_asr.alignment.words import (
    WordSegment,
    phones_in_time,
    word_segments,
    words_in_time,
    write_text_grid,
)
from kd_asr.artifacts import load_artifact
from kd_asr.console import say
from kd_asr.corpora.transcripts import normalise_words
from kd_asr.decoding.decoder import Decoder, Search, search_set, unpickled_scores
from kd_asr.decoding.nbest import Alternative
from kd_asr.device import find_device
from kd_asr.errors import UserError
from kd_asr.features.frames import normalise
from kd_asr.features.store import FrameStore, create_store
from kd_asr.jobs.systems import Average, NetworkRef
from kd_asr.parallel import Workers
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.features import frames_of_file
from kd_asr.stages.lexicon import dictionary_file
from kd_asr.stages.recognise import NetworkScores, log_prior, recognising_workers
from kd_asr.stages.settings import Settings, load_settings
from kd_asr.stages.systems import run_systems


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


@dataclass(frozen=True)
class Timed:
    """What was found in one file.

    Attributes:
        file: the audio.
        seconds: its length.
        frame_shift: seconds from frame to frame.
        words: with their times in frames.
        phones: the same.
        alternatives: word sequences, the cheapest first, if they were asked for.
    """

    file: Path
    seconds: float
    frame_shift: float
    words: tuple[WordSegment, ...]
    phones: tuple[PhoneSegment, ...]
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A file that gave nothing, and why."""

    file: Path
    reason: str


def find_system(model: Path) -> TrainedSystem:
    """The system in a folder such as `RUN/distil/student-00`, `RUN/baseline/baseline-00` or `RUN/ensemble`.

    Raises:
        UserError: the folder is no system of a run, or one of its networks is not trained.
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
    alternatives: int = 0,
    jobs: int = 0,
    device: str = "auto",
) -> tuple[list[Timed], list[Failure]]:
    """Words of audio files, in time.

    Args:
        model: see `find_system`.
        files: in any format that soundfile reads, at any rate.
        one_speaker: normalise the frames of all files together, as those of a speaker in training, and adapt the
            networks to all of them, where the run adapts; otherwise to each file for itself.
        alternatives: word sequences wanted of each file, of which the cheapest is what was said; 0: the single best.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.

    Raises:
        UserError: the system or the decoding graph is missing, or has not been decoded with.
    """
    system = _system_on(device, model, jobs)
    graph = load_artifact(system.run_dir, "graph")
    decoded = load_artifact(system.run_dir, f"decode/{system.scaled_as}")
    decode = system.settings.decode
    search = Search(
        acoustic_scale=decoded.metrics["acoustic_scale"],
        insertion_penalty=decoded.metrics["insertion_penalty"],
        beam=decode.beam,
        max_active=decode.max_active,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd_asr-")))
        audio, failed = _extract(files, folder / "frames", system.settings, one_speaker=one_speaker)
        if not audio:
            return [], failed
        workers = stack.enter_context(recognising_workers(system.settings))
        prior = _prior(system)
        scores = _scores(system, folder / "frames", audio, prior, one_speaker=one_speaker)
        wanted = [(item.name, item.frames) for item in audio]
        lists: list[list[Alternative]] = [[] for _ in audio]
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
        timed, unaligned = _in_time(_task(system, scores, prior, used), audio, words, workers)
        of_file = {item.file: tuple(found) for item, found in zip(audio, lists, strict=True)}
        return [replace(item, alternatives=of_file[item.file]) for item in timed], [*failed, *unaligned]


def align_files(
    model: Path, files: Sequence[Path], out: Path, *, one_speaker: bool = False, jobs: int = 0, device: str = "auto"
) -> tuple[list[Timed], list[Failure]]:
    """Align audio files with their transcripts; write `<name>.TextGrid` and `<name>.ctm` of each into `out`.

    The transcript of `a.wav` is `a.txt` beside it. Words that neither the run's lexicon nor its dictionary has are
    pronounced by espeak-ng, and named.

    Args:
        model: see `find_system`.
        files: in any format that soundfile reads, at any rate.
        out: folder, made if it is not there.
        one_speaker: as in `transcribe`.
        jobs: processes, 0 for one per core.
        device: where the networks are applied, see `find_device`.

    Raises:
        UserError: the system is missing, or two files have the same name.
    """
    system = _system_on(device, model, jobs)
    stems = [file.stem for file in files]
    for file in files:
        if stems.count(file.stem) > 1:
            raise UserError(f"two files are called {file.stem}, and their results would be too: align them one by one")
    failed: list[Failure] = []
    transcripts: dict[Path, tuple[str, ...]] = {}
    for file in files:
        found = _transcript(file)
        if isinstance(found, str):
            failed.append(Failure(file, found))
        else:
            transcripts[file] = found
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kd_asr-")))
        audio, unreadable = _extract(list(transcripts), folder / "frames", system.settings, one_speaker=one_speaker)
        failed += unreadable
        if not audio:
            return [], failed
        lexicon = _pronounced(system, {word for item in audio for word in transcripts[item.file]})
        workers = stack.enter_context(recognising_workers(system.settings))
        words = [transcripts[item.file] for item in audio]
        prior = _prior(system)
        scores = _scores(system, folder / "frames", audio, prior, one_speaker=one_speaker)
        timed, unaligned = _in_time(_task(system, scores, prior, lexicon), audio, words, workers)
    out.mkdir(parents=True, exist_ok=True)
    for item in timed:
        words_then = words_in_time(item.words, item.frame_shift)
        phones_then = phones_in_time(item.phones, item.frame_shift)
        write_text_grid(
            out / f"{item.file.stem}.TextGrid", {"words": words_then, "phones": phones_then}, item.seconds
        )
        as_ctm = [TimedPhone(label, start, end - start) for label, start, end in words_then]
        write_ctm(out / f"{item.file.stem}.ctm", [(item.file.stem, as_ctm)])
    return timed, [*failed, *unaligned]


@dataclass(frozen=True)
class _Audio:
    """A file whose frames are in the store, under `name`."""

    file: Path
    name: str
    frames: int
    seconds: float


def _extract(
    files: Sequence[Path], folder: Path, settings: Settings, *, one_speaker: bool
) -> tuple[list[_Audio], list[Failure]]:
    """Write a frame store of the files that can be read."""
    audio: list[_Audio] = []
    blocks: list[np.ndarray] = []
    failed: list[Failure] = []
    for number, file in enumerate(files):
        frames = frames_of_file(file, settings.features)
        if isinstance(frames, str):
            failed.append(Failure(file, frames))
        elif not len(frames):
            failed.append(Failure(file, "shorter than one frame"))
        elif (frames == frames[0]).all():
            failed.append(Failure(file, "nothing but digital silence"))
        else:
            audio.append(_Audio(file, f"{number:06d}", len(frames), soundfile.info(file).duration))
            blocks.append(frames)
    if audio:
        create_store(folder, [item.name for item in audio], [item.frames for item in audio], settings.features)
        store = FrameStore(folder, writable=True)
        normalised = normalise(blocks) if one_speaker else [normalise([block])[0] for block in blocks]
        for item, block in zip(audio, normalised, strict=True):
            store.write(item.name, block)
    return audio, failed


def _transcript(file: Path) -> tuple[str, ...] | str:
    """The words beside an audio file, or the reason why there are none."""
    path = file.with_suffix(".txt")
    try:
        words = normalise_words(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return f"there is no transcript {path}"
    except (UnicodeDecodeError, OSError) as error:
        return f"the transcript {path} cannot be read: {error}"
    return words or f"the transcript {path} holds no words"


def _pronounced(system: TrainedSystem, words: Iterable[str]) -> Lexicon:
    """Pronunciations of all words in the phones of the run."""
    known, missing = select(read_lexicon(system.run_dir / "lexicon" / "lexicon.txt"), words)
    if not missing:
        return known
    with dictionary_file(system.settings) as path:
        whole = read_lexicon(path)
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
    system: TrainedSystem, frames: Path, audio: Sequence[_Audio], prior: torch.Tensor, *, one_speaker: bool
) -> NetworkScores:
    """Scores of the files, each of which is a speaker's of its own, unless `one_speaker`."""
    speakers = {item.name: "one" if one_speaker else item.name for item in audio}
    return NetworkScores(
        system.run_dir, frames, system.networks, system.settings, prior, average=system.average, speakers=speakers
    )


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
    task: _Task, audio: Sequence[_Audio], words: Sequence[Sequence[str]], workers: Workers
) -> tuple[list[Timed], list[Failure]]:
    """Times of words that are known, and the files where they cannot be aligned."""
    found = workers.map(
        partial(_align, task=task),
        [(item.name, line) for item, line in zip(audio, words, strict=True)],
        description="times of words",
        unit="files",
    )
    timed: list[Timed] = []
    failures: list[Failure] = []
    for item, line, result in zip(audio, words, found, strict=True):
        if result is None:
            reason = f"cannot be aligned: no path for {len(line)} words in {item.seconds:.1f} s of audio"
            failures.append(Failure(item.file, reason))
        else:
            timed.append(Timed(item.file, item.seconds, task.settings.features.frame_shift_ms / 1000, *result))
    return timed, failures
