"""Whatever names and words hold, they are what they are in tables, pages, terminals, JSON and pictures."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from kd_asr.artifacts import read_json, write_json
from kd_asr.console import console, progress
from kd_asr.corpora.manifest import Rejected, Utterance, read_manifest, write_manifest, write_rejected
from kd_asr.evaluation.wer import align_words
from kd_asr.reporting.plots import new_figure, save_figure
from kd_asr.reporting.run_results import DecodedUtterance, read_rejected
from kd_asr.reporting.tables import Table, to_markdown, to_rich
from kd_asr.reporting.utterance_table import COLUMNS, write_utterance_table
from kd_asr.text import as_code, in_markdown, shown, table_line

NAMES = [
    "<script>alert(1)</script>", "[x](javascript:alert(1))", "x[/b]", "[red]y", "a|b", "a\\tb", "a\\nb", "a\\r\\nb",
    "`code`", "``", "*a* _b_ __c__", "a_b_c", "&amp;", "$x_1^{$", "$", "caf\\udce9", "\\x1b[31mred",
    "\\u2028", "\\u202e", "#1", "![x](y)", "\\\\", "<b>", "~~a~~", "naïve", "\u7530\u4e2d", "", " ",
]  # fmt: skip
TEXT = st.text(st.characters(), max_size=12)  # lone surrogates included, as in names that are not UTF-8


def every_name(test):
    """The test with many texts, those above among them."""
    for name in NAMES:
        test = example(name.encode().decode("unicode_escape") if "\\" in name else name)(test)
    return given(TEXT)(test)


@every_name
def test_a_line_of_a_table_has_the_fields_it_was_given(name: str) -> None:
    line = table_line(("id", name, "end")).encode("utf-8").decode("utf-8")
    assert len(line.splitlines()) == 1
    fields = line.rstrip("\n").split("\t")
    assert (fields[0], fields[2], len(fields)) == ("id", "end", 3)
    assert next(iter(csv.reader(io.StringIO(line), delimiter="\t", quoting=csv.QUOTE_NONE))) == fields
    if name.isprintable():
        assert fields[1] == name


@every_name
def test_markdown_shows_text_as_it_is(name: str) -> None:
    """Every character that Markdown or HTML could take for its own has a backslash or is an entity."""
    written = in_markdown(name)
    written.encode("utf-8")
    assert len(written.splitlines()) <= 1
    bare = written.replace("&lt;", "")
    unescaped = "".join(
        one for place, one in enumerate(bare) if not (place and _backslashes(bare, place) % 2) and one in "`*[]<>|~&"
    )
    assert unescaped == ""
    cells = to_markdown(Table(("a", "b"), ((name, name),))).splitlines()[2]
    assert len([1 for place, one in enumerate(cells) if one == "|" and not _backslashes(cells, place) % 2]) == 3


def _backslashes(text: str, place: int) -> int:
    """Backslashes right before a place."""
    return place - len(text[:place].rstrip("\\"))


@every_name
def test_code_in_markdown_ends_where_it_should(name: str) -> None:
    """The fence is longer than any run of backticks inside."""
    written = as_code(name)
    written.encode("utf-8")
    if written:
        fence = written[: len(written) - len(written.lstrip("`"))]
        assert written.endswith(fence)
        assert fence not in written[len(fence) : -len(fence)].strip(" ") or not fence
        assert len(written.splitlines()) <= 1


def test_markdown_by_hand() -> None:
    assert in_markdown("<script> | [x](y) a_b _c_ *d*") == r"&lt;script\> \| \[x\](y) a_b \_c\_ \*d\*"
    assert as_code("a`b") == "``a`b``"
    assert as_code("`") == "`` ` ``"
    assert shown("a\tb\udcff") == r"a\tb\udcff"
    assert shown("\u7530\u4e2d\t") == "\u7530\u4e2d\\t"


@every_name
def test_the_console_shows_text_as_it_is(name: str) -> None:
    """Brackets are no markup, in tables and beside bars."""
    file = io.StringIO()
    table = Table(("name", name), ((name, "1"),), name)
    Console(file=file, width=200).print(to_rich(table))
    if name.isascii() and name.isprintable() and name.strip():
        assert name.strip() in file.getvalue()
    before, console.file = console.file, io.StringIO()
    try:
        with progress() as bars:
            bars.add_task(shown(name), total=1, unit="files")
    finally:
        console.file = before


@every_name
def test_json_and_manifests_hold_every_name(tmp_path_factory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_json(folder / "one.json", {"name": name, name: [name]})
    assert read_json(folder / "one.json") == {"name": name, name: [name]}
    assert json.loads((folder / "one.json").read_bytes()) == {"name": name, name: [name]}
    utterance = Utterance(name, name, "1", name, 16000, 100, (name,))
    write_manifest(folder / "one.jsonl", [utterance, utterance])
    assert read_manifest(folder / "one.jsonl") == [utterance, utterance]


@every_name
def test_tables_of_rejected_and_decoded_utterances_are_read_back(tmp_path_factory, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / "rejected.tsv"
    write_rejected(path, [Rejected(name, name, name, "prepare"), Rejected("b", "b", "b", "prepare")])
    [first, second] = read_rejected([path])
    assert second == Rejected("b", "b", "b", "prepare")
    assert first.stage == "prepare"
    if name.isprintable():
        assert first.utterance_id == first.path == first.reason == name
    table = path.with_name("decoded.tsv")
    write_utterance_table(table, [DecodedUtterance(name, align_words([name], ["b"]), 1.0, 0.1)])
    lines = table.read_text(encoding="utf-8").splitlines()
    assert [len(line.split("\t")) for line in lines] == [len(COLUMNS)] * 2


@pytest.mark.parametrize("name", ["$", "a$b$c", r"$\\frac$", "x_1^{", "\\", "$x_1^{$"])
def test_pictures_hold_every_name(tmp_path: Path, name: str) -> None:
    """Dollar signs are no formulas; numbers of an axis still are."""
    figure = new_figure(3, 2, name, name)
    axes = figure.subplots()
    axes.plot([1, 2], [1, 100], label=name)
    axes.set_yscale("log")
    axes.set_xlabel(name)
    axes.text(1, 1, name)
    axes.legend()
    save_figure(figure, tmp_path / "picture.png")
    assert Image.open(tmp_path / "picture.png").size == (390, 260)
