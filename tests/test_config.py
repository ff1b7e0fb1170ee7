from pathlib import Path

import pytest

from kd_asr.config import Settings, load_settings, parse_settings, save_settings
from kd_asr.errors import UserError

PRESETS = sorted((Path(__file__).parent.parent / "recipes" / "conf").glob("*.yaml"))


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
