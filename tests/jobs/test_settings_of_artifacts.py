"""What of a run's settings decides its artifacts, and the commands that make them."""

from dataclasses import replace

import pytest
from every_setting import changed, leaves

from kd_asr.artifacts import making_command
from kd_asr.cli.stages import FURTHER, STAGES
from kd_asr.errors import UserError
from kd_asr.fingerprints import canonical
from kd_asr.registry import named
from kd_asr.stages.agreement import decided
from kd_asr.stages.settings import parse_settings

WHOLE = parse_settings(["--align.networks=1", "--augment.copies=1", "--network=tdnn", "--train.batch_frames=640"])
# What decides how results are shown or work is shared, what is done outside the main job, and which content is read;
# what decides nothing without unlabelled audio; and what `sweep` itself compares.
NOT_OF_THE_JOB = (
    *("preset", "jobs", "device", "batch_jobs", "page"),
    *(f"{stage.name}." for stage in FURTHER),
    *("sequence.leaky", "sequence.taught"),  # nothing without the loss `lfmmi`
    *("lexicon.path", "language_model.arpa"),
    *("unlabelled.speaker", "unlabelled.normalisation", "unlabelled.longest", "unlabelled.copies"),
    *("unlabelled.silence_posterior", "distil.labelled_share", "distil.unlabelled_fractions"),
    *("distil.sweep_labelled_shares", "distil.sweep_widenings", "distil.sweep_decides"),
)


@pytest.mark.parametrize("path", [path for path, _ in leaves(WHOLE)], ids=".".join)
def test_every_setting_is_compared_with_an_artifact(path: tuple[str, ...]) -> None:
    """Whatever setting is changed, some artifact of the main job differs from what the settings say."""
    name = ".".join(path)
    try:
        other = canonical(decided(changed(WHOLE, path)))
    except (UserError, ValueError):
        return  # such settings are refused
    alike = other == canonical(decided(WHOLE))
    assert alike == (name.startswith(NOT_OF_THE_JOB) or name == "train.checkpoint_seconds"), name


def test_every_remedy_is_a_command(tmp_path) -> None:
    """Each artifact of a run with everything in it has a command that exists."""
    commands = {stage.name for stage in (*STAGES, *FURTHER)}
    everything = replace(WHOLE, methods=tuple(named("method", name) for name in ("hinton", "mutual")))
    for name in [*decided(everything), "reduced_networks/soft-0.1-00", "reduced", "rescore/student-00", "beams"]:
        assert making_command(tmp_path, name).split()[1] in commands, name
    (tmp_path / "digits").mkdir()
    for name in ("networks/hard-00", "posteriors/teacher-00", "table", "digits", "omit3"):
        assert making_command(tmp_path, name).startswith("kd-asr mnist ")
