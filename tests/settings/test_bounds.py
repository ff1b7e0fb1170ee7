"""Settings that cannot work are refused before the work: bounds, repeated values, filterbanks, files."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest

from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings
from kd_asr.features.frames import log_mel
from kd_asr.features.settings import FeatureSettings
from kd_asr.jobs.job import as_name, check_names
from kd_asr.registry import FOLDERS, find, names
from kd_asr.settings.build import build
from kd_asr.settings.fields import settings_of
from kd_asr.stages.lexicon import check_given_files
from kd_asr.stages.plan import student_jobs, sweep_axes, sweep_jobs, sweep_points
from kd_asr.stages.settings import Settings, parse_settings
from kd_asr.stages.systems import run_systems


def leaves(cls: type, path: tuple[str, ...] = ()):
    for name, setting in settings_of(cls).items():
        if setting.shape == "section":
            yield from leaves(setting.type, (*path, name))
        yield (*path, name), setting


@pytest.mark.parametrize("cls", [Settings, MnistSettings])
def test_no_setting_takes_nothing_a_nan_or_an_infinity(cls) -> None:
    """An empty value in YAML, .nan and .inf, alone or in a list, anywhere: a sentence that names the setting."""
    for path, setting in leaves(cls):
        for value in (None, math.nan, math.inf, -math.inf, [math.nan], [None], [[1]], 10**30):
            if value is None and setting.optional:
                continue
            content = value
            for key in reversed(path):
                content = {key: content}
            with pytest.raises(UserError, match="settings that cannot work: .*" + path[0]):
                build(cls, content)


def counts() -> list[tuple[str, type, str]]:
    """Every whole number among the settings, those of networks, losses and methods included."""
    classes: list[tuple[str, type]] = [("speech", Settings), ("digits", MnistSettings)]
    classes += [(f"{kind} {name}", find(kind, name).Settings) for kind in FOLDERS for name in names(kind)]
    return [
        (label, cls, ".".join(path))
        for label, cls in classes
        for path, setting in leaves(cls)
        if setting.shape == "value" and setting.type is int and "seed" not in path[-1]
    ]


@pytest.mark.parametrize(("label", "cls", "name"), counts(), ids=lambda one: one if isinstance(one, str) else "")
def test_a_number_without_end_is_refused(label: str, cls: type, name: str) -> None:
    content: object = 10**12
    for key in reversed(name.split(".")):
        content = {key: content}
    with pytest.raises(UserError, match=f"{name}: 1000000000000 is (more than|not below)"):
        build(cls, content)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--decode.max_active=1", "decode.max_active: 1 is less than 2"),
        ("--features.frame_length_ms=1e9", "features.frame_length_ms: 1000000000.0 is more than 1000"),
        ("--features.frame_length_ms=0.05", "frame_length_ms"),
        ("--features.num_mel_bins=128", "features.num_mel_bins: 128 is more than 126"),
        ("--network.dnn.hidden_units=1000000000000", "network.dnn.hidden_units: 1000000000000 is more than 100000"),
        ("--train.learning_rate=1e30", "train.learning_rate: 1e+30 is more than 100"),
        ("--rescore.weights=[7]", "rescore.weights: 7 is more than 1"),
        ("--distil.sweep_temperatures=[2.0, 2.0]", "distil.sweep_temperatures: 2.0 is there twice"),
        ("--distil.sweep_temperatures=[2, 2.0]", "distil.sweep_temperatures: 2.0 is there twice"),
        ("--distil.sweep_temperatures=[1e-300]", "distil.sweep_temperatures: 1e-300 is less than 0.01"),
        ("--decode.acoustic_scales=[0.1, 0.2, 0.1]", "decode.acoustic_scales: 0.1 is there twice"),
        ("--beams.values=[5, 5]", "beams.values: 5.0 is there twice"),
        ("--reduced.fractions=[0.1, 0.1]", "reduced.fractions: 0.1 is there twice"),
    ],
)
def test_what_was_found_late_is_found_at_once(flag: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        parse_settings([flag])
    assert sentence in str(error.value)


def test_the_largest_run_is_planned_at_once() -> None:
    """What the bounds allow can be listed: a hundred million teachers took all memory here."""
    started = time.monotonic()
    run_systems(parse_settings(["--ensemble.members=1000"]))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("rate", "length"), [(8000, 10.0), (8000, 25.0), (16000, 10.0), (16000, 25.0), (44100, 20.0)])
def test_as_many_filters_as_kaldi_can_fill(rate: int, length: float) -> None:
    """The library refuses one filter more than the largest number that is allowed, and takes that."""
    settings = FeatureSettings(sample_rate=rate, frame_length_ms=length)
    refused = replace(settings, num_mel_bins=500).problems()
    most = int(refused[0].split("more than ")[1].split(";")[0])
    samples = np.zeros(rate, dtype=np.float32)
    assert log_mel(samples, replace(settings, num_mel_bins=most)).shape[1] == most
    assert not replace(settings, num_mel_bins=most).problems()
    assert replace(settings, num_mel_bins=most + 1).problems()
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq, options.frame_opts.frame_length_ms = rate, length
    options.mel_opts.num_bins = most + 1
    with pytest.raises(ValueError, match="num_mel_bins"):
        kaldi_native_fbank.OnlineFbank(options)


def test_names_of_numbers_are_as_short_as_they_can_be_and_their_own() -> None:
    assert [as_name(value) for value in (2.0, 0.5, 1e-7, 2.0000001, 1 / 3)] == [
        *("2", "0.5", "1e-07", "2.0000001", "0.3333333333333333"),
    ]
    settings = parse_settings(["--distil.sweep_temperatures=[2.0, 2.0000001]"])
    jobs = sweep_jobs(settings, sweep_points(sweep_axes(settings)))
    assert len({job.name for job in jobs}) == len(jobs) == 4


def test_two_trainings_of_one_name_are_refused() -> None:
    [job] = student_jobs(parse_settings(["--distil.students=1"]))
    check_names([job, replace(job, name="distil/other")])
    with pytest.raises(UserError, match="two trainings are called distil/student-00"):
        check_names([job, dataclasses.replace(job, seed=2)])


@pytest.mark.parametrize("setting", ["lexicon.path", "language_model.arpa", "rescore.arpa"])
def test_a_named_file_is_read_before_the_work_and_may_be_gone_after_it(tmp_path: Path, setting: str) -> None:
    """A run folder's settings can be read without the file; choosing them takes it."""
    path = tmp_path / "file"
    settings = parse_settings([f"--{setting}={path}"])  # as of a run whose file was moved
    with pytest.raises(UserError, match=rf"{setting}: there is no file {path}"):
        check_given_files(settings)
    path.write_bytes(b"\x00\xff nothing of the kind\n")
    with pytest.raises(UserError, match=str(path)):
        check_given_files(settings)
