"""Stated is done: settings are compared with those of which artifacts were made."""

from dataclasses import replace
from pathlib import Path

import pytest
from miniature_run import settings, write_artifact, write_run

from kd_asr.errors import UserError
from kd_asr.settings.files import save_settings
from kd_asr.stages.agreement import check_agreement, decided
from kd_asr.stages.report import report
from kd_asr.stages.settings import parse_settings
from kd_asr.stages.unlabelled import stated


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--methods.hinton.losses.soft.temperature=5"],
         "losses.soft.temperature is 5.0 in {run}/settings.yaml, but distil/student-00 was made with 2.0: run "
         "`kd-asr distil {run}`"),
        (["--train.epochs=9"], "train.epochs is 9 in {run}/settings.yaml, but baseline/baseline-00 was made with 4"),
        (["--seed=7"], "seed is 7 in {run}/settings.yaml, but baseline/baseline-00 was made with another one"),
        (["--features.frame_shift_ms=12.5"], "features.frame_shift_ms is 12.5 in"),
        (["--decode.beam=5"], "decode.beam is 5.0 in {run}/settings.yaml, but decode/tuning-baseline was made with 13"),
        (["--adapt.prior_frames=50"], "adapt.prior_frames is 50 in"),
        (["--ensemble.average=geometric"], "average is 'geometric' in"),
        (["--network.dnn.hidden_units=7"], "networks.model.dnn.hidden_units is 7 in"),
        (["--network=cnn"], "networks.model.name is 'cnn' in"),
        (["--prepare.min_seconds=0.7"], "prepare.min_seconds is 0.7 in {run}/settings.yaml, but prepare was made with"),
        (["--corpus.librispeech.test=other"], "corpus.librispeech.test is 'other' in"),
    ],
)  # fmt: skip
def test_a_report_with_other_settings_is_refused(tmp_path, flags: list[str], sentence: str) -> None:
    """Settings that were changed after the work are no settings of the work; with the right ones it is done."""
    chosen = settings()
    write_run(tmp_path, chosen)
    save_settings(tmp_path, chosen)
    other = parse_settings(flags, tmp_path / "settings.yaml")
    with pytest.raises(UserError) as error:
        report(tmp_path, other)
    assert sentence.format(run=tmp_path) in str(error.value)
    assert "or set it back with `kd-asr configure`" in str(error.value)
    assert not (tmp_path / "report").exists()
    check_agreement(tmp_path, chosen, ["decode/student-00", "evaluate"])


def test_inputs_are_compared_and_those_left_out_named(tmp_path) -> None:
    """The store of three teachers is none of two, and a student of it is none either."""
    three = settings(members=3)
    decides = decided(three)
    for name in ("ensemble/member-02", "posteriors", "distil/student-00"):
        write_artifact(tmp_path, name, {}, decided_by=decides[name])
    made_of(tmp_path, "posteriors", "ensemble/member-02")
    made_of(tmp_path, "distil/student-00", "posteriors")
    check_agreement(tmp_path, three, ["distil/student-00"])
    sentence = "posteriors was made with ensemble/member-02, which .* leave out: run `kd-asr posteriors"
    with pytest.raises(UserError, match=sentence):
        check_agreement(tmp_path, settings(members=2), ["distil/student-00"])
    kept = replace(three, ensemble=replace(three.ensemble, top_k=5))
    with pytest.raises(UserError, match=r"ensemble.top_k is 5 in .*, but posteriors was made with 20"):
        check_agreement(tmp_path, kept, ["distil/student-00"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--unlabelled.folders=[/other]"],
         "unlabelled.folders is '/other' in {run}/settings.yaml, but unlabelled was made with '/audio': run "
         "`kd-asr unlabelled {run}`"),
        (["--unlabelled.speaker=^(.)"], "unlabelled.speaker is '^(.)' in"),
        (["--unlabelled.normalisation=folder"], "unlabelled.normalisation is 'folder' in"),
        (["--unlabelled.copies=2"], "unlabelled.copies is 2 in {run}/settings.yaml, but unlabelled was made with 0"),
        (["--unlabelled.longest_seconds=20"], "longest_seconds is 20.0 in"),
        (["--unlabelled.longest_silence=0.5"], "unlabelled.longest_silence is 0.5 in"),
        (["--unlabelled.folders=[]"], "posteriors was made with unlabelled, which the settings in"),
    ],
)  # fmt: skip
def test_unlabelled_audio_is_compared_too(tmp_path, flags: list[str], sentence: str) -> None:
    """Which audio, and how it was used; all that is stated of it must be what was done."""
    chosen = parse_settings(["--unlabelled.folders=[/audio]"])
    decides = decided(chosen)
    write_artifact(tmp_path, "unlabelled", {"stated": stated(chosen)}, decided_by=decides["unlabelled"])
    write_artifact(tmp_path, "posteriors", {}, decided_by=decides["posteriors"])
    made_of(tmp_path, "posteriors", "unlabelled")
    check_agreement(tmp_path, chosen, ["posteriors"])
    save_settings(tmp_path, chosen)
    with pytest.raises(UserError) as error:
        check_agreement(tmp_path, parse_settings(flags, tmp_path / "settings.yaml"), ["posteriors"])
    assert sentence.format(run=tmp_path) in str(error.value)


def test_posteriors_without_the_audio_that_is_named_are_refused(tmp_path) -> None:
    chosen = settings()
    write_artifact(tmp_path, "posteriors", {}, decided_by=decided(chosen)["posteriors"])
    named = replace(chosen, unlabelled=replace(chosen.unlabelled, folders=("/audio",)))
    with pytest.raises(UserError, match=r"unlabelled audio is named in .* but posteriors was made without"):
        check_agreement(tmp_path, named, ["posteriors"])


def made_of(run: Path, name: str, of: str) -> None:
    file = run / name / "manifest.json"
    file.write_text(file.read_text().replace('"inputs": {}', f'"inputs": {{"{of}": "fingerprint-of-{of}"}}'))
