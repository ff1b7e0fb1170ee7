from pathlib import Path

import numpy as np
import pytest

from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon
from kd_asr.alignment.store import PhoneSegment
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.viterbi import best_path
from kd_asr.alignment.words import (
    phones_in_time,
    word_segments,
    words_in_time,
    words_of_phones,
    write_text_grid,
)

PHONES = ("SIL", "SPN", "A", "B")
# "AB" and "A" share phones and "A" is said twice in a row: only the graph tells whose phones are whose.
LEXICON = Lexicon({"A": (("A",),), "AB": (("A", "B"), ("B", "A", "B"))})


def test_words_are_where_the_scores_say() -> None:
    topology = Topology.uniform(PHONES)
    words = ("A", "A", "AB")
    spoken = ["SIL", "A", "A", "SIL", "B", "A", "B"]  # two frames in each of the three states
    pdfs = np.array([pdf for phone in spoken for pdf in topology.pdfs(phone) for _ in range(2)])
    posteriors = np.full((len(pdfs), topology.num_pdfs), 0.02, dtype=np.float32)
    posteriors[np.arange(len(pdfs)), pdfs] = 0.78
    posteriors[6, pdfs[6]] = 0.1  # the first frame of the first word; 0.78 in its five others
    graph = training_graph(words, LEXICON, topology, silence_probability=0.5)
    path = best_path(np.log(posteriors), graph, beam=100.0, retry_beam=100.0)
    assert path is not None
    assert path.words == (-1, 0, 1, -1, 2, 2, 2)
    segments = word_segments(path, words, np.log(posteriors))
    assert [(item.word, item.start_frame, item.num_frames) for item in segments] == [
        ("A", 6, 6),
        ("A", 12, 6),
        ("AB", 24, 18),
    ]
    assert segments[0].posterior == pytest.approx((0.1 * 0.78**5) ** (1 / 6), rel=1e-5)
    assert segments[2].posterior == pytest.approx(0.78, rel=1e-5)
    assert words_in_time(segments, 0.01) == [
        ("A", 0.06, 0.12),
        ("A", 0.12, 0.18),
        ("AB", pytest.approx(0.24), pytest.approx(0.42)),
    ]
    assert [phone for phone, _, _ in phones_in_time(path.phones, 0.01)] == spoken


def test_text_grid_has_every_tier_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    write_text_grid(path, {"words": [("SAY", 0.1, 0.4), ('"HI"', 0.4, 0.7)], "phones": []}, 1.0)
    assert path.read_text().splitlines() == [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        "xmax = 1.000000",
        "tiers? <exists>",
        "size = 2",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "words"',
        "        xmin = 0",
        "        xmax = 1.000000",
        "        intervals: size = 4",
        *interval(1, "", 0.0, 0.1),
        *interval(2, "SAY", 0.1, 0.4),
        *interval(3, '""HI""', 0.4, 0.7),
        *interval(4, "", 0.7, 1.0),
        "    item [2]:",
        '        class = "IntervalTier"',
        '        name = "phones"',
        "        xmin = 0",
        "        xmax = 1.000000",
        "        intervals: size = 1",
        *interval(1, "", 0.0, 1.0),
    ]


def interval(number: int, text: str, start: float, end: float) -> list[str]:
    return [
        f"        intervals [{number}]:",
        f"            xmin = {start:.6f}",
        f"            xmax = {end:.6f}",
        f'            text = "{text}"',
    ]


def test_words_found_from_aligned_phones() -> None:
    def phones(names: str) -> list[PhoneSegment]:
        return [PhoneSegment("SIL" if name == "." else name, 10 * place, 10) for place, name in enumerate(names)]

    found = words_of_phones(phones(".A.AB.A"), ("A", "AB", "A"), LEXICON)
    assert found == [("A", 10, 10), ("AB", 30, 20), ("A", 60, 10)]
    # Which pronunciation of "AB" it is, the word before decides.
    assert words_of_phones(phones("ABAB"), ("A", "AB"), LEXICON) == [("A", 0, 10), ("AB", 10, 30)]
    assert words_of_phones(phones("ABAB"), ("AB", "AB"), LEXICON) == [("AB", 0, 20), ("AB", 20, 20)]
    assert words_of_phones(phones("BAB"), ("AB",), LEXICON) == [("AB", 0, 30)]
    assert words_of_phones(phones("ABB"), ("AB",), LEXICON) == []
    assert words_of_phones(phones("."), (), LEXICON) == []
    marked = [PhoneSegment("A_B", 0, 4), PhoneSegment("B_E", 4, 2)]
    assert words_of_phones(marked, ("AB",), LEXICON) == [("AB", 0, 6)]
