from pathlib import Path

import pytest

from kd_asr.config import Settings, load_settings, load_settings_of, parse_settings, parse_settings_of, save_settings
from kd_asr.errors import UserError
from kd_asr.mnist_config import MnistSettings, flags_for_bundled_digits
from kd_asr.presets import find_preset, preset_names

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
        ["--network.dropout", "1.0"],
        ["--network.dropout", "-0.1"],
        ["--distil.dropout", "-0.1"],
        ["--distil.dropout", "1"],
        ["--train.frame_stride", "0"],
        ["--train.frame_stride", "3"],  # a DNN has no chunks
        ["--train.learning_rate", "0"],
        ["--distil.temperature", "0"],
        ["--distil.soft_weight", "0", "--distil.hard_weight", "0"],
        ["--ensemble.members", "0"],
        ["--ensemble.top_k", "65536"],
        ["--decode.acoustic_scales", "[]"],
        ["--decode.beam", "0"],
        ["--align.leaves", "-1"],
        ["--align.leaf_min_frames", "0"],
        ["--align.tied_gaussians", "0"],
        ["--align.tied_iterations", "-1"],
        ["--corpus.dev", "train-clean-5"],
        ["--language_model.arpa", "no/such.arpa"],
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
    with pytest.raises(UserError, match=r"train\.epochs: 0 is less than 1; .*network\.dropout: 2\.0 is not below 1"):
        parse_settings(["--train.epochs", "0", "--network.dropout", "2"])


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid_and_names_itself(preset: Path) -> None:
    assert parse_settings([], preset).preset == preset.stem


@pytest.mark.parametrize("preset", MNIST_PRESETS, ids=lambda path: path.stem)
def test_every_mnist_preset_is_valid_and_names_itself(preset: Path) -> None:
    assert parse_settings_of(MnistSettings, [], preset).preset == preset.stem


def test_mnist_settings_go_through_the_same_parser(tmp_path) -> None:
    (tmp_path / "conf.yaml").write_text("seeds: 5\nteacher:\n  epochs: 7\n")
    settings = parse_settings_of(MnistSettings, ["--distil.temperature", "8"], tmp_path / "conf.yaml")
    assert (settings.seeds, settings.teacher.epochs, settings.distil.temperature) == (5, 7, 8.0)
    assert (settings.teacher.hidden_units, settings.hard.hidden_units) == (1200, 800)  # the paper's
    save_settings(tmp_path, settings)
    assert load_settings_of(MnistSettings, tmp_path, "mnist configure") == settings
    (tmp_path / "conf.yaml").write_text("teacher:\n  epoch: 7\n")
    with pytest.raises(UserError, match=r"unknown setting 'teacher\.epoch'; do you mean 'teacher\.epochs'"):
        parse_settings_of(MnistSettings, [], tmp_path / "conf.yaml")


@pytest.mark.parametrize(
    "flags",
    [
        ["--seeds", "0"],
        ["--teacher.dropout", "1"],
        ["--hard.epochs", "0"],
        ["--distilled.max_norm", "-1"],
        ["--teacher.learning_rate", "0"],
        ["--transfer.temperature", "0"],
        ["--distil.soft_weight", "0", "--distil.hard_weight", "0"],
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
