import json
import os
from pathlib import Path

import pytest

from kd_asr import artifacts, checksums
from kd_asr.artifacts import build_artifact, load_artifact, write_json
from kd_asr.cli import main
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


def keep_time(path: Path, content: bytes) -> None:
    """Change a file as a failing disk does."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "missing"),
        (lambda path: path.write_bytes(b""), "0 bytes instead of 1"),
        (lambda path: path.write_bytes(b"9"), "not what was written"),
    ],
)
def test_a_file_that_is_not_as_it_was_made_is_named_and_made_again(tmp_path, damage, reason, capsys) -> None:
    made = build(tmp_path)
    dependent = build(tmp_path, "align", inputs=[made])
    damage(made.path / "result")
    with pytest.raises(UserError, match=rf"features/result is damaged \(.*{reason}.*run the stage again"):
        load_artifact(tmp_path, "features")
    assert load_artifact(tmp_path, "align") == dependent  # of what it was made from the fingerprint counts alone
    capsys.readouterr()
    assert build(tmp_path).fingerprint == made.fingerprint
    assert "features is made again" in capsys.readouterr().err
    assert (made.path / "result").read_text() == "1"
    assert load_artifact(tmp_path, "align") == dependent


@pytest.mark.parametrize("change", [("1.5", "2.5"), ('"metrics"', '"metricz"'), ('"blake2b"', '"blake3b"')])
def test_a_manifest_is_as_it_was_written(tmp_path, change) -> None:
    made = build(tmp_path)
    path = made.path / "manifest.json"
    fields = json.loads(path.read_text())
    text = json.dumps({**fields, "metrics": {"wer": 1.5}}).replace(*change)
    for broken in (text, path.read_text().replace(made.fingerprint, "0" * 16)):
        path.write_text(broken)
        with pytest.raises(UserError, match=r"manifest.json is damaged \(its content is not what was written\)"):
            load_artifact(tmp_path, "features")


def test_large_files_are_read_where_asked_or_where_their_time_changed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checksums, "_READ_BYTES", 0)
    made = build(tmp_path)
    checksums._checksum.cache_clear()
    keep_time(made.path / "result", b"9")
    assert load_artifact(tmp_path, "features") == made
    assert artifacts.fault(made, thorough=True) == (made.path / "result", "its content is not what was written")
    (made.path / "result").write_bytes(b"7")
    with pytest.raises(UserError, match="not what was written"):
        load_artifact(tmp_path, "features")


def test_check_reads_all_and_says_what_to_run(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(checksums, "_READ_BYTES", 0)
    first = build(tmp_path)
    build(tmp_path, "ensemble/member-00", inputs=[first])
    checksums._checksum.cache_clear()
    assert main(["check", str(tmp_path)]) == 0
    assert "2 files of 2 artifacts are as they were made" in capsys.readouterr().err
    checksums._checksum.cache_clear()
    keep_time(tmp_path / "ensemble" / "member-00" / "result", b"9")
    assert main(["check", str(tmp_path)]) == 2
    assert f"1 of 2 artifacts are damaged: run `kd-asr ensemble {tmp_path}`" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "nothing")]) == 2


def test_an_older_manifest_without_checksums_will_do_and_a_malformed_one_not(tmp_path) -> None:
    made = build(tmp_path)
    manifest = made.path / "manifest.json"
    fields = json.loads(manifest.read_text())
    files = fields.pop("files")
    del fields["blake2b"]
    assert set(files) == {"result"}
    write_json(manifest, fields)
    assert load_artifact(tmp_path, "features").fingerprint == made.fingerprint
    for wrong in ([1], {"result": 3}, {"result": {}}):
        write_json(manifest, {**fields, "files": wrong})
        with pytest.raises(UserError, match=r"manifest\.json is damaged \(malformed checksums"):
            load_artifact(tmp_path, "features")


def test_json_is_never_half_written(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
