"""The page of a report: whole, escaped, by itself; its figures against sums by hand."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import random_tree
from digits_page import filters_content, write_page_of_digits
from page_checks import check_page
from page_run import HOSTILE, HOSTILE_PHONE, HOSTILE_WORD, SECONDS, Page, hostile, write_hostile_page

from kd_asr.alignment.topology import Topology
from kd_asr.evaluation.wer import align_words
from kd_asr.jobs.systems import Group, NetworkRef, System, Systems
from kd_asr.reporting.banner import banner
from kd_asr.reporting.filters_figures import QUESTIONS
from kd_asr.reporting.page.digits import Mistakes
from kd_asr.reporting.page.errors import error_rates, length_class, side_by_side, wer_by, word_errors_table
from kd_asr.reporting.page.posteriors import LOWEST, Confusions, phone_posteriors, phones_of_pdfs, quantised
from kd_asr.reporting.page.utterances import choose
from kd_asr.reporting.page.verdict import judged, verdict
from kd_asr.reporting.run_results import DecodedUtterance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return check_page(folder)


def test_hostile_names_stay_text(folder: Path, page: Page) -> None:
    source = (folder / "index.html").read_text()
    assert "<script>alert" not in source
    assert "<img" not in source
    assert page.text.count(HOSTILE) >= 2
    assert HOSTILE_WORD in page.text  # of the table of words
    utterances = page.data["utterances"]
    assert [one["id"] for one in utterances] == [hostile(f"{10 + n % 7}-test-{n:04d}") for n in range(50)]
    assert any(HOSTILE_WORD in one["reference"] for one in utterances)
    assert page.data["phones"] == ["SIL", "AH", "B", "IY", HOSTILE_PHONE]
    for spec in page.data["plots"]:
        assert HOSTILE_PHONE not in json.dumps(spec)  # which plotly would take for markup


def test_banner_verdict_and_table(page: Page) -> None:
    assert "Preset tiny: shows the path, not the quality." in page.text
    assert "On test the ensemble is better than the baseline in frame accuracy" in page.text
    assert "paper: WER %" in page.text
    assert [one["label"] for one in page.data["groups"]] == ["baseline", "ensemble", "distilled"]
    assert {one["href"] for one in page.all("a")} >= {"wer.png", "report.md"}
    assert "frame_accuracy.png" not in {one["href"] for one in page.all("a")}  # which there is not


def test_plots_of_controls(page: Page) -> None:
    of_name = {spec["name"]: spec["data"] for spec in page.data["plots"]}
    dev, dev_dots, test, _ = of_name["teachers"]
    assert (dev["x"], dev["y"], test["y"]) == ([1, 2], [51.0, 51.0], [51.0, 51.0])
    assert (dev_dots["x"], dev_dots["y"]) == ([1, 1, 2, 2], [50.0, 52.0, 50.0, 52.0])
    assert dev["meta"] == {"group": 1}  # the ensemble's
    assert [(one["name"], one["x"]) for one in of_name["sweep"]] == [
        ("hard weight 0", [1, 2]), ("hard weight 0.5", [1, 2]),
    ]  # fmt: skip
    assert len(of_name["unlabelled"]) == 2


def _details(folder: Path, number: int) -> dict[str, Any]:
    text = (folder / "utterances" / f"{number:04d}.js").read_text()
    found = re.fullmatch(rf"kdAsr\.arrived\({number},(.*)\);\n", text, flags=re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_details_of_utterances(folder: Path, page: Page) -> None:
    of_file = {one["file"]: one for one in page.data["utterances"] if one["file"] is not None}
    assert sorted(of_file) == [0, 1, 2]
    for number, one in of_file.items():
        found = _details(folder, number)
        phones, frames = len(page.data["phones"]), found["frames"]
        assert sum(length for _, _, length, _ in found["phones"]) == frames
        assert [page.data["phones"][place] for *_, place in found["phones"]] == ["SIL", "AH", "B", "IY"]
        assert [word for word, _, _ in found["words"]] == ["A", "BEE"]
        assert len(found["posteriors"]) == 3
        for by_temperature in found["posteriors"]:
            assert len(by_temperature) == len(page.data["temperatures"])
            for one_map in by_temperature:
                values = np.frombuffer(base64.b64decode(one_map), dtype=np.uint8).reshape(frames, phones)
                sums = np.exp(LOWEST * (1 - values / 255)).sum(axis=1)
                assert np.abs(sums - 1).max() < 0.06
        if one["silent"]:
            assert one["id"] == hostile("12-test-0002")
            assert found["audio"] is None
        else:
            info = soundfile.info(folder / "utterances" / found["audio"])
            assert (info.channels, info.samplerate) == (1, 16000)
            assert info.duration == pytest.approx(SECONDS, abs=1e-3)
    assert "The audio of 1 cannot be read now (unreadable audio: No such file or directory)" in page.text


def test_size_is_bounded(tmp_path: Path) -> None:
    one = write_hostile_page(tmp_path, megabytes=0.035)
    files = list((one / "utterances").iterdir())
    assert 0 < sum(path.stat().st_size for path in files) <= 35_000
    scripts = sum(path.suffix == ".js" for path in files)
    assert scripts < 3
    assert f"{scripts} of 50 can be heard" in Page(one / "index.html").text


def test_chosen_utterances_are_spread() -> None:
    rates = {f"u{number:03d}": number / 100 for number in range(101)}
    assert set(choose(rates, 5)) == {"u000", "u025", "u050", "u075", "u100"}
    assert {choose(rates, 101)[place] for place in range(101)} == set(rates)
    first = sorted(rates[name] for name in choose(rates, 40)[:8])
    assert max(np.diff([0, *first, 1])) < 0.3  # a beginning is spread as well
    assert choose({}, 3) == []


def test_phone_posteriors_by_hand() -> None:
    topology = Topology.uniform(("SIL", "AH0", "AH1"))
    names, owners = phones_of_pdfs(topology)
    assert names == ("SIL", "AH")
    assert owners.tolist() == [0] * 3 + [1] * 6
    logits = np.array([[4.0, 0, 0, 2, 0, 0, 0, 0, 0]], dtype=np.float32)
    for temperature in (1.0, 4.0):
        weights = np.exp(np.array([4, 0, 0, 2, 0, 0, 0, 0, 0]) / temperature)
        expected = [weights[:3].sum() / weights.sum(), weights[3:].sum() / weights.sum()]
        # A constant added to the logits, as in log-posteriors, changes nothing; impossible pdfs have nothing.
        assert phone_posteriors(logits - 7, owners, temperature)[0] == pytest.approx(expected, rel=1e-5)
    logits[0, 3:] = -np.inf
    assert phone_posteriors(logits, owners, 10.0)[0] == pytest.approx([1, 0])


def test_phones_of_tied_states() -> None:
    phones = ("SIL", "AH0_B", "AH1_E", "B_S")
    tree = random_tree(phones, 4)
    topology = Topology.uniform(phones, tree=tree)
    names, owners = phones_of_pdfs(topology)
    for left in phones:
        for phone in phones:
            for pdf in topology.pdfs(phone, left, "SIL"):
                assert names[owners[pdf]] == re.sub(r"[012]?(_[BIES])?$", "", phone)


def test_quantised_logarithms() -> None:
    probabilities = np.array([1.0, 0.5, 1e-3, 1e-9, 0.0], dtype=np.float32)
    bytes_ = quantised(probabilities)
    assert bytes_.tolist()[0] == 255
    assert bytes_.tolist()[-2:] == [0, 0]
    logs = LOWEST * (1 - bytes_ / 255)
    assert np.abs(logs[:3] - np.log(probabilities[:3])).max() <= -LOWEST / 255 / 2 + 1e-6


def test_confusions_by_hand() -> None:
    found = Confusions(("A", "B"))
    found.add(np.array([0, 0, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]], dtype=np.float32))
    assert found.means == pytest.approx(np.array([[0.6, 0.4], [0.1, 0.9]]))
    assert found.alike(1) == [("A", "B", pytest.approx(0.4))]


def test_words_side_by_side() -> None:
    said = ("A B C", "X A B C", "A C", "A B Y Z C W")
    found = side_by_side([align_words(["A", "B", "C"], words.split()) for words in said])
    assert found.reference == (None, "A", "B", None, None, "C", None)
    assert found.rows == (
        (None, "A", "B", None, None, "C", None),
        ("X", "A", "B", None, None, "C", None),
        (None, "A", None, None, None, "C", None),
        (None, "A", "B", "Y", "Z", "C", "W"),
    )


def _decoded(name: str, reference: str, hypothesis: str) -> DecodedUtterance:
    return DecodedUtterance(name, align_words(reference.split(), hypothesis.split()), 1.0, 0.1)


def test_errors_by_class_and_word() -> None:
    networks = (Group("one", "one", "reference"), Group("two", "two", "student"))
    systems = Systems(
        networks,
        (*(System(f"{group.name}-{n}", group.name, (NetworkRef(f"{group.name}/{n}"),)) for group in networks
           for n in range(2)),),
    )  # fmt: skip
    right = [_decoded("a", "CAT SAT", "CAT SAT"), _decoded("b", "CAT", "CAT"), _decoded("c", "", "")]
    wrong = [_decoded("a", "CAT SAT", "HAT SAT ON"), _decoded("b", "CAT", ""), _decoded("c", "", "UH")]
    decoded = {"one-0": right, "one-1": right, "two-0": wrong, "two-1": right}
    found = wer_by(decoded, systems, {"a": "x", "c": "y", "b": "x"})
    assert found.classes == ("x", "y")
    assert found.words == (3, 0)
    assert found.rates == {"one": [0.0, None], "two": [pytest.approx(0.5), None]}
    assert error_rates(decoded) == {"a": 2 / 8, "b": 1 / 4, "c": 1.0}
    assert word_errors_table(decoded, systems).rows == (("CAT", "2", "0", "1", "HAT, (left out)"),)
    assert [length_class(words) for words in (0, 4, 5, 24, 25)] == [
        "0 to 4", "0 to 4", "5 to 8", "17 to 24", "25 or more",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "higher", "lower"),
    [([0.1, 0.2], "better", "worse"), ([-0.2, -0.1], "worse", "better"), ([-0.1, 0.1], *["not to be told apart"] * 2),
     ([0.0, 0.0], "equal", "equal")],
)  # fmt: skip
def test_judgements(interval: list[float], higher: str, lower: str) -> None:
    assert judged({"interval": interval}, higher_is_better=True) == higher
    assert judged({"interval": interval}, higher_is_better=False) == lower


def _verdict(teacher_gain: float, student_gain: float, share: float | None) -> list[str]:
    roles = (("b", "baseline", "reference"), ("e", "ensemble", "teacher"), ("s", "distilled", "student"))
    groups = tuple(Group(*one) for one in roles)  # type: ignore[arg-type]
    systems = Systems(groups, tuple(System(one.label, one.name, (NetworkRef(one.name),)) for one in groups))

    def apart(value: float) -> dict[str, Any]:
        return {"value": value, "interval": [value - 0.01, value + 0.01]}

    gains = {"e - b": teacher_gain, "s - b": student_gain, "s - e": student_gain - teacher_gain}
    return verdict(
        {
            "groups": systems.to_json(),
            "sizes": {"b": {"parameters": 10}, "e": {"parameters": 100}, "s": {"parameters": 10}},
            "figures": {
                "systems": {one: {"test": {"wer": 0.25, "utterances": 297}} for one in "bes"},
                "share_of_gain": {"test": {"frame_accuracy": {"s": {"value": share, "interval": [0.4, 0.6]}}}},
                "comparisons": {
                    "test": {
                        "frame_accuracy": {name: apart(value) for name, value in gains.items()},
                        "wer": {name: apart(-value) for name, value in gains.items()},
                    }
                },
            },
        }
    )


def test_verdict_says_what_the_figures_say() -> None:
    gain, kept, cost = _verdict(0.04, 0.02, 0.5)
    assert gain == (
        "On test the ensemble is better than the baseline in frame accuracy (+4.00 points, 95 % interval +3.00 to "
        "+5.00) and better than it in word error rate (-4.00 points, 95 % interval -5.00 to -3.00)."
    )
    assert kept.startswith("The distilled keeps 50 % of the gain in frame accuracy (95 % interval 40 to 60); ")
    assert "its word error rate better (-2.00 points" in kept
    assert "10 parameters, the ensemble 10 times as many" in cost
    assert "word error rate of 25.00 % over 297 utterances" in cost
    _, kept, _ = _verdict(0.04, 0.005, 0.125)
    assert "its frame accuracy is not certainly another (+0.50 points" in kept
    _, kept, _ = _verdict(0.005, -0.02, -4.0)
    assert kept.startswith("There is no certain gain for the distilled to keep; ")
    assert "its frame accuracy is worse (-2.00 points" in kept


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mistakes]:
    """The folder of a page of digits, and the mistakes on it."""
    made = tmp_path_factory.mktemp("digits")
    return made, write_page_of_digits(made)


def test_page_of_digits(of_digits: tuple[Path, Mistakes]) -> None:
    where, found = of_digits
    assert found.total == 41
    # Wrong in both students on hard labels and in both others; then in one of them.
    assert found.labels[:6] == (5, 6, 7, 8, 9, 0)
    assert [found.shares[name][5] for name in "ths"] == [0.0, 1.0, 0.5]
    assert found.shares["t"][-1] == 0.5
    page = check_page(where)
    digits = page.data["digits"]
    assert digits["side"] == 8
    assert len(digits["pictures"]) == 20 + 41 == len(page.all("canvas"))
    assert all(one["aria-label"] for one in page.all("canvas"))
    last = np.arange(99 * 64, 100 * 64).astype(np.uint8)  # image 99
    assert base64.b64decode(digits["pictures"][20 + 40]) == last.tobytes()
    assert [one["label"] for one in digits["targets"]] == [number // 2 for number in range(20)]
    assert digits["targets"][0]["logs"][3] == -100  # JSON has no infinity
    assert "41 of 41 test images" in page.text
    assert "closes 48 % of the gap" in page.text
    assert "not the quality" in page.text


def test_section_on_what_is_inherited(of_digits: tuple[Path, Mistakes]) -> None:
    where, _ = of_digits
    page, content = Page(where / "index.html"), filters_content()
    of_name = {spec["name"]: spec for spec in page.data["plots"]}
    [matched] = of_name["filters-matched"]["data"]
    tiles = np.array(matched["z"], dtype=float)
    assert tiles.shape == (3 * 4, 3 * 5)  # three kinds by three filters of 3 x 4, and a gap
    # The second filter of a student on hard labels is matched to the teacher's first, the first to the third.
    first, second = (np.array(one) for one in content["pictures"]["hard"]["filters"])
    assert tiles[4:7, 0:4] == pytest.approx(second)
    assert tiles[4:7, 10:14] == pytest.approx(first)
    assert np.isnan(tiles[4:7, 5:9]).all()
    notes = [one["text"] for one in of_name["filters-matched"]["layout"]["annotations"]]
    assert notes == ["0.25", "0.50", "0.90", "-0.10"]
    assert "answers" not in "".join(name for name in of_name if name.startswith("filters-training"))
    curves = {one["name"]: one["y"] for one in of_name["filters-training-3"]["data"]}
    expected = [np.mean(each) for each in content["curves"]["logits"]["distilled"]["own"]]
    assert curves["distilled, own teacher"] == pytest.approx(expected, abs=1e-4)
    assert {one["name"] for one in of_name["filters-tests"]["data"]} == set(QUESTIONS.values())
    assert HOSTILE in page.text
    for name in ("filters.png", "filters_responses.png", "filters_training.png"):
        assert (where / name).read_bytes().startswith(b"\x89PNG")
        assert name in {one["href"] for one in page.all("a")}


def test_banner_of_the_smallest_presets_only() -> None:
    assert all("not the quality" in banner(preset) for preset in ("tiny", "mnist_tiny"))
    assert not any(map(banner, ("quick", "standard", "mine", "mnist_quick")))
