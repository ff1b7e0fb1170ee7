import json
from pathlib import Path

import pytest

from kd_asr import artifacts
from kd_asr.artifacts import build_artifact, load_artifact, write_json
from kd_asr.errors import UserError


def build(run_dir: Path, name: str = "features", *, value: int = 1, inputs=(), work=None) -> artifacts.Artifact:
    def default(folder: Path) -> dict[str, int]:
        (folder / "result").write_text(str(value))
        return {"value": value}

    return build_artifact(
        run_dir, name, code="kd_asr.stages.features", settings={"value": value}, inputs=inputs,
        work=work or default,
    )  # fmt: skip


def refuse(folder: Path) -> dict[str, int]:
    raise AssertionError("made again")


def test_done_with_the_same_fingerprint_is_not_made_again(tmp_path) -> None:
    first = build(tmp_path)
    assert (first.path / "result").read_text() == "1"
    assert build(tmp_path, work=refuse) == first
    assert load_artifact(tmp_path, "features") == first
    assert first.metrics == {"value": 1}


def test_other_settings_and_other_inputs_make_it_anew(tmp_path) -> None:
    first = build(tmp_path)
    second = build(tmp_path, value=2)
    assert (second.path / "result").read_text() == "2"
    assert second.fingerprint != first.fingerprint
    made = build(tmp_path, "align", inputs=[second])
    build(tmp_path, value=3)
    with pytest.raises(UserError, match=rf"made from features {second.fingerprint}, but .* is now .* `kd-asr align"):
        load_artifact(tmp_path, "align")
    again = build(tmp_path, "align", inputs=[load_artifact(tmp_path, "features")])
    assert again.fingerprint != made.fingerprint


def test_other_code_makes_it_anew(tmp_path, monkeypatch) -> None:
    first = build(tmp_path)
    monkeypatch.setattr(artifacts, "code_digest", lambda modules: "another version")
    assert build(tmp_path).fingerprint != first.fingerprint


def test_interrupted_work_finds_what_it_left_and_other_work_does_not(tmp_path) -> None:
    seen: list[list[str]] = []

    def broken(folder: Path) -> dict[str, int]:
        seen.append(sorted(path.name for path in folder.iterdir()))
        (folder / "half").write_text("x")
        raise RuntimeError("killed")

    for value in (1, 1, 2):
        with pytest.raises(RuntimeError):
            build(tmp_path, value=value, work=broken)
        assert not (tmp_path / "features").exists()
    assert ["half" in names for names in seen] == [False, True, False]
    finished = build(tmp_path, value=2)
    assert {path.name for path in finished.path.iterdir()} == {"half", "result", "manifest.json"}
    assert not list(tmp_path.glob(".*partial"))


def test_missing_stage_says_what_to_run(tmp_path) -> None:
    with pytest.raises(UserError, match=r"is missing: run `kd-asr ensemble .*` first"):
        load_artifact(tmp_path, "ensemble/member-03")


def test_damaged_manifest_is_a_clear_error(tmp_path) -> None:
    made = build(tmp_path)
    (made.path / "manifest.json").write_text('{"name": ')
    with pytest.raises(UserError, match=r"manifest\.json is damaged \(not valid JSON"):
        load_artifact(tmp_path, "features")


def test_json_is_never_half_written(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
