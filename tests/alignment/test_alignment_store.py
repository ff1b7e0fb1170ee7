"""The HMM topology and the alignment store on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_asr.alignment.store import Alignment, AlignmentStore, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology


def test_every_state_of_every_phone_has_its_own_pdf() -> None:
    topology = Topology.uniform(("SIL", "SPN", "AA1"), 0.6)
    pdfs = [topology.pdf(phone, state) for phone in topology.phones for state in range(3)]
    assert pdfs == list(range(topology.num_pdfs)) == list(range(9))
    assert topology.self_loop == (0.6,) * 9
    with pytest.raises(KeyError):
        topology.pdf("ZZ", 0)


def test_topology_reads_back_exactly(tmp_path: Path) -> None:
    topology = Topology.uniform(("SIL", "SPN", "AA1")).with_self_loop(np.linspace(0.1, 0.9, 9) ** 3)
    topology.save(tmp_path / "topology.json")
    assert Topology.load(tmp_path / "topology.json") == topology


def test_alignments_read_back(tmp_path: Path) -> None:
    alignments = [
        Alignment("b-1", np.array([0, 1, 2, 2], np.int32), (PhoneSegment("SIL", 0, 4),)),
        Alignment("a-1", np.array([6, 7, 8, 3, 4, 5], np.int32), (PhoneSegment("K", 0, 3), PhoneSegment("SPN", 3, 3))),
    ]
    write_alignments(tmp_path / "train", alignments)
    store = AlignmentStore.open(tmp_path / "train")
    assert store.utterance_ids == ["b-1", "a-1"]  # the order they were written in
    for alignment in alignments:
        pdfs = store.pdfs(alignment.utterance_id)
        assert pdfs.dtype == np.int32
        np.testing.assert_array_equal(pdfs, alignment.pdfs)
        assert tuple(store.phones(alignment.utterance_id)) == alignment.phones


def test_empty_store_and_unknown_utterance(tmp_path: Path) -> None:
    write_alignments(tmp_path / "empty", [])
    store = AlignmentStore.open(tmp_path / "empty")
    assert store.utterance_ids == []
    with pytest.raises(KeyError):
        store.pdfs("x")
