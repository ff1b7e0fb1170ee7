"""Systems of a run as recognisers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kd_asr.alignment.doubts import longest_phone
from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import load_artifact
from kd_asr.decoding.decoder import Search
from kd_asr.errors import UserError
from kd_asr.features.usual_speaker import UsualSpeaker
from kd_asr.jobs.systems import Average, NetworkRef
from kd_asr.recognition.recogniser import Recogniser
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.agreement import check_agreement
from kd_asr.stages.features import USUAL_SPEAKER_FILE
from kd_asr.stages.settings import Settings, load_settings
from kd_asr.stages.systems import run_systems
from kd_asr.tasks.sequences import TOPOLOGY


@dataclass(frozen=True)
class TrainedSystem:
    """Networks of a run, and the run they are from.

    Attributes:
        run_dir: the run.
        settings: of the run.
        name: of the system, or of the network where that is one of several.
        group: name of the group of systems that it is of; empty: of none, as a member of an ensemble.
        scaled_as: the compared system whose acoustic scale and insertion penalty hold: a member of an ensemble has
            those of the first system of one network.
        networks: combined if several.
        average: how they are combined.
    """

    run_dir: Path
    settings: Settings
    name: str
    group: str
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
        raise UserError(
            f"{model} is neither in a run folder nor an export folder: name a trained system, such as {example}, or "
            "what `kd-asr export` wrote"
        )
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
            called, group = (chosen[0].name, "") if single else (system.name, system.group)
            return TrainedSystem(run_dir, settings, called, group, scaled_as, chosen, system.combine)
    raise UserError(f"{model} is not a system of the run {run_dir}: name {example}")


def recogniser_of(system: TrainedSystem, *, searching: bool) -> Recogniser:
    """A system of a run as a recogniser.

    Args:
        system: see `find_system`.
        searching: with the decoding graph and the parameters of the search; otherwise it can only align.

    Raises:
        UserError: an artifact is missing or damaged; for `searching`, the system has not been decoded with, or with
            other settings than those of the run now.
    """
    run_dir = system.run_dir
    targets = system.settings.targets
    aligned, features = load_artifact(run_dir, targets.artifact), load_artifact(run_dir, "features")
    alignments = AlignmentStore.open(aligned.path / "train")
    usual = features.path / USUAL_SPEAKER_FILE
    found = Recogniser(
        name=system.name,
        settings=system.settings,
        networks=tuple(load_artifact(run_dir, one.artifact).path / one.file for one in system.networks),
        average=system.average,
        prior=tuple(targets.log_prior(run_dir).tolist()),
        topology=aligned.path / TOPOLOGY,
        lexicon=run_dir / "lexicon" / "lexicon.txt",
        usual=UsualSpeaker.load(usual) if usual.exists() else None,
        longest_phone=longest_phone(alignments),
    )
    if not searching:
        return found
    graph = load_artifact(run_dir, "graph")
    decoded = load_artifact(run_dir, f"decode/{system.scaled_as}")
    check_agreement(run_dir, system.settings, [graph.name, decoded.name])
    decode, chosen = system.settings.decode, decoded.metrics
    search = Search(
        chosen["acoustic_scale"], chosen["insertion_penalty"], beam=decode.beam, max_active=decode.max_active
    )
    return replace(found, graph=graph.path, search=search)
