"""Settings of a whole run of the main job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from kd_asr.alignment.settings import AlignSettings, LexiconSettings
from kd_asr.corpora.base import corpus_of
from kd_asr.corpora.settings import PrepareSettings, SpellingSettings
from kd_asr.corpora.unlabelled import UnlabelledSettings
from kd_asr.decoding.settings import BeamsSettings, DecodeSettings, LanguageModelSettings, RescoreSettings
from kd_asr.device import device_problems
from kd_asr.distillation.objectives import HARD
from kd_asr.distillation.settings import BaselineSettings, DistilSettings, EnsembleSettings
from kd_asr.errors import UserError
from kd_asr.experiments.filters.settings import FiltersSettings
from kd_asr.experiments.heard.settings import HeardSettings
from kd_asr.experiments.reduced_data.settings import ReducedSettings
from kd_asr.features.settings import AugmentSettings, FeatureSettings
from kd_asr.features.store import MARGIN
from kd_asr.jobs.stacks import BatchJobs
from kd_asr.networks.base import problems_of, view_of
from kd_asr.networks.settings import AdaptSettings, StudentSettings, TeacherSettings
from kd_asr.networks.sizes import WIDTH
from kd_asr.registry import Named, Weighted, find, named
from kd_asr.reporting.page.settings import PageSettings
from kd_asr.sequence.settings import SequenceSettings
from kd_asr.settings.files import load_settings_of, parse_settings_of
from kd_asr.settings.ranges import AtLeast, AtMost, DecidesNothing, NotEmpty, OfKind
from kd_asr.tasks.targets import Targets, targets_of
from kd_asr.training.settings import TrainSettings


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run. Each stage sees its own sections only, so that a change leaves the others valid.

    Attributes:
        preset: Name of the budget, shown in the report.
        seed: Seed of everything random in the run, except the embedded corpus.
        jobs: Processes to use; 0: one for each core. Never changes a result.
        device: Where networks are trained and applied: `cpu`, `cuda` (all graphics cards), `cuda:N` (one of them), or
            `auto`, the graphics cards if there are some.
        batch_jobs: Whether networks that differ only in seed, losses' weights or temperatures are trained as one, their
            matrix products made together: `auto` where that is faster, on graphics cards; `always`; `never`. Changes
            at most the last bits of a result.
        executor: Where work is spread: `local`, the processes of this machine, or the jobs of a cluster, `submitit`
            (Slurm) or `ray`. Never changes a result.
        corpus: Where the speech comes from.
        prepare: Which utterances of it are used.
        spelling: Tokens that are no words.
        unlabelled: Audio without transcripts, for the students.
        features: Acoustic features.
        lexicon: Pronunciations.
        language_model: Language model.
        align: Aligner.
        network: Network that is trained, unless teachers or students have one of their own.
        teacher: Network of the teachers.
        student: Network of the students.
        augment: Variation of the training data.
        train: Training of a network.
        losses: Losses of teachers and baselines, the networks that have no teacher, and their weights. With `lfmmi`,
            such as `[{lfmmi: {}, weight: 1}]`, all networks learn whole stretches of speech by lattice-free maximum
            mutual information (Povey and others 2016), and the search takes every third frame; see `sequence`.
        sequence: Graphs of sequence training.
        methods: Ways of teaching the students, each a row of the report, such as `[hinton, {mutual: {networks: 4}}]`;
            `all` on the command line: those of the preset, and all others that can work with these settings.
        ensemble: Teachers.
        baseline: Networks on hard labels.
        distil: Students.
        adapt: Adaptation to speakers.
        decode: Search.
        beams: Comparison of search beams.
        rescore: Rescoring with another language model.
        page: What can be heard and seen on the page of the report.
        reduced: Reduced-data experiment.
        filters: What students inherit of their teachers' filters and layers.
        privileged: Students that hear less than their teachers.
    """

    preset: Annotated[str, DecidesNothing()] = "quick"
    seed: Annotated[int, AtLeast(0)] = 1
    jobs: Annotated[int, AtLeast(0), AtMost(4096), DecidesNothing()] = 0
    device: Annotated[str, DecidesNothing()] = "auto"
    batch_jobs: Annotated[BatchJobs, DecidesNothing()] = "auto"
    executor: Annotated[Named, OfKind("executor"), DecidesNothing()] = field(
        default_factory=lambda: named("executor", "local")
    )
    corpus: Annotated[Named, OfKind("corpus")] = field(default_factory=lambda: named("corpus", "librispeech"))
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    spelling: SpellingSettings = field(default_factory=SpellingSettings)
    unlabelled: UnlabelledSettings = field(default_factory=UnlabelledSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    lexicon: LexiconSettings = field(default_factory=LexiconSettings)
    language_model: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    network: Annotated[Named, OfKind("network")] = field(default_factory=lambda: named("network", "dnn"))
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    losses: Annotated[tuple[Weighted, ...], NotEmpty] = HARD
    sequence: SequenceSettings = field(default_factory=SequenceSettings)
    methods: Annotated[tuple[Annotated[Named, OfKind("method")], ...], NotEmpty] = (named("method", "hinton"),)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    baseline: BaselineSettings = field(default_factory=BaselineSettings)
    distil: DistilSettings = field(default_factory=DistilSettings)
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    beams: BeamsSettings = field(default_factory=BeamsSettings)
    rescore: RescoreSettings = field(default_factory=RescoreSettings)
    page: PageSettings = field(default_factory=PageSettings)
    reduced: ReducedSettings = field(default_factory=ReducedSettings)
    filters: FiltersSettings = field(default_factory=FiltersSettings)
    privileged: HeardSettings = field(default_factory=HeardSettings)

    @property
    def unlabelled_folders(self) -> tuple[str | Path, ...]:
        """Folders of audio without transcripts, the corpus's own first."""
        return (*corpus_of(self.corpus).unlabelled, *self.unlabelled.folders)

    @property
    def targets(self) -> Targets:
        """What the networks learn."""
        return targets_of(self.losses, leaky=self.sequence.leaky)

    def check_frames(self, what: str) -> None:
        """Raise a `UserError` if the networks learn sequences; `what` is not for these."""
        if self.targets.stride > 1:
            raise UserError(f"{what}: not for networks that learn sequences (losses: lfmmi), only for those of frames")

    @property
    def teacher_network(self) -> Named:
        """Network of the teachers."""
        return self.teacher.network or self.network

    @property
    def student_network(self) -> Named:
        """Network of the students."""
        return self.student.network or self.network

    @property
    def views_differ(self) -> str:
        """Why the teachers' networks cannot be asked with a student's inputs, after "teachers"; empty: they can."""
        teaching, learning = self.teacher_network, self.student_network
        if view_of(teaching) == view_of(learning):
            return ""
        return (
            f"see what the student sees, but the networks of teachers ({teaching.name}) and students ({learning.name}) "
            "have different windows or stretches of frames; give them the same"
        )

    def problems(self) -> list[str]:
        """What does not go together, of different sections."""
        found, mask = device_problems(self.device), self.augment.frequency_mask
        if mask > self.features.num_mel_bins:
            found.append(f"augment.frequency_mask: {mask} is more than features.num_mel_bins")
        for section, network in (
            ("network", self.network),
            ("teacher.network", self.teacher.network),
            ("student.network", self.student.network),
        ):
            found += self._problems_of(section, network) if network is not None else []
        if self.reduced.draw == "frames" and view_of(self.student_network).labels_per_example > 1:
            found.append(
                f"reduced.draw: the network {self.student_network.name} learns from stretches of frames, so parts "
                "cannot consist of single frames; use utterances"
            )
        found += self._sequence_problems()
        asked = self.distil.teacher.name
        if find("teacher", asked).source == "networks" and self.views_differ:
            found.append(f"distil.teacher: {asked} teachers {self.views_differ}, or use stored")
        if self.ensemble.held_out > 0 and self.augment.copies > 0:
            found.append("ensemble.held_out: members see no augment.copies then; set one of the two to 0")
        if self.distil.dropout is not None and not hasattr(self.student_network.settings, "dropout"):
            found.append(f"distil.dropout: the network {self.student_network.name} has no setting dropout")
        spoken = getattr(self.corpus.settings, "language", self.spelling.language)
        if spoken != self.spelling.language:
            found.append(
                f"spelling.language: {self.spelling.language}, but the corpus speaks {spoken}: give --language once"
            )
        for name in ("unlabelled_fractions", "sweep_labelled_shares"):
            if getattr(self.distil, name) and not self.unlabelled_folders:
                found.append(f"distil.{name}: there is no unlabelled audio; name a folder of it with --unlabelled")
        if self.distil.sizes and not hasattr(self.student_network.settings, WIDTH):
            found.append(f"distil.sizes: the network {self.student_network.name} has no setting {WIDTH} to reduce")
        if self.distil.sweep_decides and "hinton" not in {method.name for method in self.methods}:
            found.append("distil.sweep_decides: hinton is not among the methods, so there is nothing to decide")
        return found

    def _sequence_problems(self) -> list[str]:
        """What does not go together with sequence training, which has the training set and its copies alone."""
        if self.targets.stride == 1:
            return []
        has = {
            "unlabelled": bool(self.unlabelled_folders),
            "align.networks": self.align.networks > 0,
            "distil.sweep_temperatures": bool(self.distil.sweep_temperatures),
            "ensemble.held_out": self.ensemble.held_out > 0,
        }
        found = [
            f"{name}: not for networks that learn sequences (losses: lfmmi); leave it out" for name in has if has[name]
        ]
        losses = {item.loss.name for method in self.methods for item in getattr(method.settings, "losses", ())}
        wanted = {"sequence_soft": "posteriors", "occupations": "occupations"}
        found += [
            f"sequence.taught: the loss {name} learns {kind}, not {self.sequence.taught}"
            for name, kind in wanted.items()
            if name in losses and kind != self.sequence.taught
        ]
        return found

    def _problems_of(self, section: str, network: Named) -> list[str]:
        view = view_of(network)
        found = [
            f"{section}.{problem}" for problem in problems_of(network, view.input_shape(self.features.num_mel_bins))
        ]
        if max(view.context) > MARGIN:
            before, after = view.context
            found.append(
                f"{section}: {network.name} sees {before} frames before and {after} after each, more than {MARGIN}"
            )
        if self.train.batch_frames % view.labels_per_example:
            found.append(
                f"train.batch_frames: {self.train.batch_frames} is not a multiple of the {view.labels_per_example} "
                f"frames that {section}.{network.name} learns from together"
            )
        return found


def parse_settings(flags: Sequence[str], config: Path | None = None) -> Settings:
    """Settings of a run from a YAML file and flags, as `parse_settings_of` reads them."""
    return parse_settings_of(Settings, flags, config)


def load_settings(run_dir: Path) -> Settings:
    """The settings of a run that `kd-asr configure` has written."""
    return load_settings_of(Settings, run_dir, "configure")
