from pathlib import Path

import pytest

from kd_asr.errors import UserError
from kd_asr.experiments.mnist.settings import MnistSettings, flags_for_bundled_digits
from kd_asr.presets import find_preset, preset_names
from kd_asr.registry import FOLDERS, find, names
from kd_asr.settings.fields import known_names, settings_of
from kd_asr.settings.files import load_settings_of, parse_settings_of, save_settings
from kd_asr.settings.help import help_text, sentences
from kd_asr.settings.ranges import DecidesNothing
from kd_asr.stages.settings import Settings, load_settings, parse_settings

PRESETS = [find_preset(name) for name in preset_names()]
MNIST_PRESETS = [find_preset(name, digits=True) for name in preset_names(digits=True)]


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path) -> None:
    (tmp_path / "conf.yaml").write_text("seed: 7\ntrain:\n  epochs: 5\n  batch_frames: 64\n")
    settings = parse_settings(["--train.epochs", "9", "--decode.acoustic_scales", "[0.1, 0.2]"], tmp_path / "conf.yaml")
    assert (settings.seed, settings.train.epochs, settings.train.batch_frames) == (7, 9, 64)
    assert settings.decode.acoustic_scales == (0.1, 0.2)
    assert settings.network == Settings().network


def test_a_run_folder_gives_back_its_settings(tmp_path) -> None:
    settings = parse_settings(["--ensemble.average", "geometric", "--lexicon.stress", "false", "--seed=3"])
    save_settings(tmp_path, settings)
    assert load_settings(tmp_path) == settings
    assert settings.lexicon.stress is False


def test_a_folder_without_settings_says_what_to_run(tmp_path) -> None:
    with pytest.raises(UserError, match=r"not a run folder.*kd-asr configure"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian:\n  epochs: 3\n", "unknown setting 'trian'; do you mean 'train'"),
        ("train:\n  epoch: 3\n", "unknown setting 'train.epoch'; do you mean 'train.epochs'"),
        ("train: [1, 2\n", "not valid YAML"),
        ("- a\n- b\n", "must hold `key: value` lines"),
        ("train:\n  epochs: many\n", r"train\.epochs.*many"),
        ("train:\n  precision: fp8\n", "precision"),
    ],
)
def test_wrong_files_are_named_with_what_is_wrong(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "conf.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        parse_settings([], path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no settings file .*nothing\.yaml"):
        parse_settings([], tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    "flags",
    [
        ["--train.epochs", "0"],
        ["--network.dnn.dropout", "1.0"],
        ["--network.dnn.dropout", "-0.1"],
        ["--distil.dropout", "-0.1"],
        ["--distil.dropout", "1"],
        ["--network.tdnn.frame_stride", "0"],
        ["--network.dnn.frame_stride", "3"],  # a DNN has no chunks
        ["--train.learning_rate", "0"],
        ["--methods.hinton.losses.soft.temperature", "0"],
        ["--methods", "[]"],
        ["--methods", "[hinton, nothing]"],
        ["--distil.sweep_hard_weights", "[0.5, -0.1]"],
        ["--ensemble.members", "0"],
        ["--ensemble.top_k", "65536"],
        ["--reduced.fractions", "[]"],
        ["--reduced.fractions", "[0.5, 1.1]"],
        ["--align.retry_beam", "199"],
        ["--prepare.max_seconds", "0.2"],
        ["--features.frame_length_ms", "9"],
        ["--augment.frequency_mask", "41"],
        ["--network.dnn.principal_components", "601"],
        ["--network.tdnn.dilations", "[1]", "--train.batch_frames", "50"],
        ["--network.tdnn.dilations", "[]", "--train.batch_frames", "40"],
        ["--network.tdnn.dilations", "[16, 17]", "--train.batch_frames", "40"],
        ["--network.dnn.left_context", "33"],
        ["--student.network.cnn.pooled_bins", "7"],
        ["--teacher.network", "none"],
        ["--decode.acoustic_scales", "[]"],
        ["--decode.beam", "0"],
        ["--align.leaves", "-1"],
        ["--align.leaf_min_frames", "0"],
        ["--align.tied_gaussians", "0"],
        ["--align.tied_iterations", "-1"],
        ["--corpus.librispeech.dev", "train-clean-5"],
        ["--features.sample_rate", "7999"],
        ["--train.epochs", "two"],
        ["--train.epoch", "3"],
        ["--nothing", "3"],
    ],
)
def test_values_just_outside_their_range_and_unknown_flags_are_refused(flags: list[str]) -> None:
    with pytest.raises(UserError):
        parse_settings(flags)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError, match=r"network\.dnn\.dropout: 2 is not below 1; train\.epochs: 0 is less than 1"):
        parse_settings(["--train.epochs", "0", "--network.dnn.dropout", "2"])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_names_itself(preset: Path) -> None:
    assert parse_settings([], preset).preset == preset.stem


@pytest.mark.parametrize("preset", MNIST_PRESETS, ids=lambda path: path.stem)
def test_every_mnist_preset_is_valid_and_names_itself(preset: Path) -> None:
    assert parse_settings_of(MnistSettings, [], preset).preset == preset.stem


def test_mnist_settings_go_through_the_same_parser(tmp_path) -> None:
    (tmp_path / "conf.yaml").write_text("seeds: 5\nteacher:\n  epochs: 7\n")
    flags = ["--methods.hinton.losses.soft.temperature", "8"]
    settings = parse_settings_of(MnistSettings, flags, tmp_path / "conf.yaml")
    soft, hard = settings.methods[0].settings.losses
    assert (settings.seeds, settings.teacher.epochs, soft.loss.settings.temperature, hard.weight) == (5, 7, 8.0, 0.01)
    # The paper's widths.
    assert [one.network.settings.hidden_units for one in (settings.teacher, settings.hard)] == [1200, 800]
    save_settings(tmp_path, settings)
    assert load_settings_of(MnistSettings, tmp_path, "mnist configure") == settings
    (tmp_path / "conf.yaml").write_text("teacher:\n  epoch: 7\n")
    with pytest.raises(UserError, match=r"unknown setting 'teacher\.epoch'; do you mean 'teacher\.epochs'"):
        parse_settings_of(MnistSettings, [], tmp_path / "conf.yaml")


@pytest.mark.parametrize(
    "flags",
    [
        ["--seeds", "0"],
        ["--teacher.network.dnn.dropout", "1"],
        ["--hard.network", "tdnn"],
        ["--data.source", "digits", "--hard.network.cnn.pooled_bins", "3"],
        ["--hard.epochs", "0"],
        ["--distilled.max_norm", "-1"],
        ["--teacher.learning_rate", "0"],
        ["--transfer.temperature", "0"],
        ["--methods.hinton.losses.soft.weight", "-1"],
        ["--temperature.widths", "[30, 100]"],
        ["--temperature.temperatures", "[]"],
        ["--data.dev_images", "60000"],
        ["--data.dev_images", "99"],
    ],
)
def test_mnist_values_just_outside_their_range_are_refused(flags: list[str]) -> None:
    with pytest.raises(UserError, match="settings that cannot work"):
        parse_settings_of(MnistSettings, flags)


def test_small_digits_get_small_batches_and_little_jitter() -> None:
    flags = flags_for_bundled_digits(MnistSettings())
    settings = parse_settings_of(MnistSettings, flags)
    assert {one.batch_images for one in (settings.teacher, settings.hard, settings.distilled)} == {32}
    assert settings.teacher.jitter_pixels == 1


def every_class(cls: type) -> list[type]:
    """A class of settings and those of its sections."""
    inner = [setting.type for setting in settings_of(cls).values() if setting.shape == "section"]
    return [cls, *(found for one in inner for found in every_class(one))]


@pytest.mark.parametrize("kind", ["run", "mnist", *FOLDERS])
def test_every_setting_has_a_sentence(kind: str) -> None:
    """Of a run, of MNIST, and of everything that is registered."""
    whole = {"run": [Settings], "mnist": [MnistSettings]}
    roots = whole[kind] if kind in whole else [find(kind, name).Settings for name in names(kind)]
    for cls in {found for root in roots for found in every_class(root)}:
        assert cls.__doc__
        for name in settings_of(cls):
            sentence = sentences(cls).get(name, "")
            assert sentence, f"{cls.__name__}.{name} has no sentence under Attributes:"
            assert sentence[0].isupper(), sentence
            assert sentence.endswith("."), sentence


def test_help_lists_every_setting() -> None:
    for cls in (Settings, MnistSettings):
        text = help_text(cls)
        listed = {name for name in known_names(cls) if f"--{name} " in text or f"--{name}." in text}
        # Settings of a named thing, such as `network.dnn.dropout`, stand once, with the things of its kind.
        named = {name for name in listed if f"--{name} " in text}
        inside = {name for name in known_names(cls) if any(name.startswith(f"{one}.") for one in named)}
        assert listed | inside == set(known_names(cls))


def test_what_changes_no_result_is_marked() -> None:
    """Speed, resources and names may change between commands."""
    marked = {
        (cls.__name__, setting.name)
        for root in (Settings, MnistSettings)
        for cls in every_class(root)
        for setting in settings_of(cls).values()
        if setting.marker(DecidesNothing)
    }
    names = ("jobs", "device", "batch_jobs", "executor", "preset")
    assert marked == {
        *((cls, name) for cls in ("Settings", "MnistSettings") for name in names),
        ("TrainSettings", "checkpoint_seconds"),
    }
