"""Every kind of file that is read: a sound one, and how the program reads it (`kinds_of_speech` has the first of them).

A reader here ends in `UserError` or `UnusableAudio`, or returns; then it has checked that what was read makes sense.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kinds_of_others import OTHERS
from kinds_of_speech import FEATURES, RATE, Kind, audio, beside, kaldi, lhotse, librispeech, table

from kd_asr.alignment.ctm import read_ctm
from kd_asr.alignment.lexicon import Lexicon, read_lexicon, write_lexicon
from kd_asr.alignment.store import Alignment, AlignmentStore, PhoneSegment, write_alignments
from kd_asr.alignment.topology import Topology
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.corpora.manifest import Utterance, read_manifest, write_manifest
from kd_asr.corpora.mnist import IMAGES_MAGIC, read_idx
from kd_asr.corpora.spelling import is_text, normalise_words
from kd_asr.decoding.arpa import read_arpa, read_vocabulary, respell, write_arpa
from kd_asr.decoding.decoder import Decoder, Search
from kd_asr.decoding.fst_arrays import read_fst, write_fst
from kd_asr.decoding.graph import GRAPH_FILE, WORDS_FILE, decoding_graph, write_words
from kd_asr.decoding.ngram import estimate_ngrams
from kd_asr.distillation.posterior_store import PosteriorStore, encode, finish_store, write_shard
from kd_asr.distillation.signal import top_k_targets
from kd_asr.evaluation.score import score_as_json, score_files
from kd_asr.evaluation.transcripts import TextFormat
from kd_asr.features.store import FrameStore, create_store
from kd_asr.networks.base import seeded
from kd_asr.networks.dnn import DnnSettings
from kd_asr.networks.files import load_network, save_network
from kd_asr.registry import named
from kd_asr.settings.files import load_settings_of, parse_settings_of, save_settings
from kd_asr.stages.settings import Settings


def arpa(name: str) -> Kind:
    def read(folder: Path) -> None:
        path, again = folder / name, folder / "again.arpa.gz"
        read_vocabulary(path)
        model, _ = respell(read_arpa(path))
        write_arpa(again, model)
        written = read_arpa(again)
        assert [section.keys() for section in written.log_probabilities] == [
            section.keys() for section in model.log_probabilities
        ]
        for ngrams, wanted in zip(written.log_probabilities, model.log_probabilities, strict=True):
            for ngram, value in ngrams.items():
                assert math.isclose(value, max(-99.0, wanted[ngram]), rel_tol=1e-6, abs_tol=1e-9) and value <= 0
                assert is_text(ngram)
        assert set(read_vocabulary(again)) <= set(written.log_probabilities[0])

    def write(folder: Path) -> None:
        write_arpa(folder / name, estimate_ngrams([line.split() for line in ("ONE TWO", "TWO DON'T", "THREE")], 3))

    return Kind(write, (name,), read)


def lexicon(*, weighted: bool) -> Kind:
    def read(folder: Path) -> None:
        found = read_lexicon(folder / "my.lexicon")
        assert all(is_text(phone) for phone in found.phones)
        write_lexicon(folder / "again", found)
        again = read_lexicon(folder / "again")
        assert again.pronunciations == found.pronunciations and again.costs.keys() == found.costs.keys()
        for word, costs in found.costs.items():
            assert np.allclose(again.costs[word], costs) and min(costs) == 0 and max(costs) < math.inf

    entries = {"ONE": (("W", "AH1", "N"), ("HH", "W", "AH1", "N")), "DON'T": (("D", "OW1", "N", "T"),), "C": (("S",),)}
    made = Lexicon(entries, {"ONE": (0.0, 1.5)} if weighted else {})
    return Kind(lambda folder: write_lexicon(folder / "my.lexicon", made), ("my.lexicon",), read)


def settings_file(name: str) -> Kind:
    def read(folder: Path) -> None:
        if name == "settings.yaml":
            found = load_settings_of(Settings, folder, "configure")
        else:
            found = parse_settings_of(Settings, [], folder / name)
        (folder / "again").mkdir(exist_ok=True)
        save_settings(folder / "again", found)
        assert load_settings_of(Settings, folder / "again", "configure") == found

    def write(folder: Path) -> None:
        save_settings(folder, Settings())
        (folder / "settings.yaml").rename(folder / name)

    return Kind(write, (name,), read)


def manifest() -> Kind:
    items = [
        Utterance("1-1-0000", "1", "1", "/a/1-1-0000.flac", RATE, 6400, ("ONE", "TWO")),
        Utterance("1-1-0001", "1", "1", "/a/b.ark:17", RATE, 6400, ("DON'T",), 800),
    ]

    def read(folder: Path) -> None:
        for item in read_manifest(folder / "train.jsonl"):
            assert all(type(getattr(item, name)) is str for name in ("utterance_id", "speaker_id", "audio_path"))
            assert type(item.sample_rate) is int and type(item.num_samples) is int
            assert item.sample_rate > 0 and item.num_samples > 0 and (item.first_sample or 0) >= 0
            assert all(type(word) is str for word in item.words)

    return Kind(lambda folder: write_manifest(folder / "train.jsonl", items), ("train.jsonl",), read)


def frame_store() -> Kind:
    names = ["1-1-0000", "1-1-0001", "2-1-0000"]

    def write(folder: Path) -> None:
        create_store(folder, names, [5, 7, 3], FEATURES)
        store = FrameStore(folder, writable=True)
        for name in names:
            store.write(name, np.random.default_rng(1).standard_normal((store.num_frames(name), 10)))
        store.matrix.flush()  # type: ignore[attr-defined]

    def read(folder: Path) -> None:
        store = FrameStore.open(folder)
        for name in store.utterance_ids:
            assert store.frames(name).shape == (store.num_frames(name), store.num_mel_bins)
            rows = store.rows(name)
            assert len(rows) > 0 and store.margin <= rows.start and rows.stop + store.margin <= len(store.matrix)
        store.check_finite()

    return Kind(write, ("header.json", "layout.npy", "utterances.txt", "frames.f16"), read)


def alignment_store() -> Kind:
    alignments = [
        Alignment("b-1", np.array([0, 1, 2, 2], np.int32), (PhoneSegment("SIL", 0, 4),)),
        Alignment("a-1", np.array([6, 7, 8, 3, 4, 5], np.int32), (PhoneSegment("K", 0, 3), PhoneSegment("SPN", 3, 3))),
    ]

    def read(folder: Path) -> None:
        store = AlignmentStore.open(folder)
        for name in store.utterance_ids:
            pdfs, phones = store.pdfs(name), store.phones(name)
            assert pdfs.ndim == 1 and pdfs.dtype == np.int32 and pdfs.min(initial=0) >= 0
            assert sum(item.num_frames for item in phones) == len(pdfs)
            assert all(type(item.phone) is str and item.num_frames > 0 for item in phones)

    files = ("utterances.txt", "frames.npy", "pdfs.npy", "phones.jsonl")
    return Kind(lambda folder: write_alignments(folder, alignments), files, read)


def posterior_store() -> Kind:
    def write(folder: Path) -> None:
        full = torch.randn(9, 12, generator=torch.Generator().manual_seed(0)).log_softmax(1)
        for number, rows in enumerate((full[:5], full[5:])):
            write_shard(folder, number, [encode(top_k_targets(rows, 3))])
        options: dict[str, Any] = {"top_k": 3, "tail_prior": torch.ones(12), "fingerprints": {"align": "aa"}}
        finish_store(folder, ["u1", "u2"], [4, 5], shard_frames=[5, 4], **options)

    def read(folder: Path) -> None:
        store = PosteriorStore(folder, expect={"align": "aa"})
        for name in store.utterance_ids:
            found = store.targets(torch.tensor(store.rows(name), dtype=torch.int64))
            assert found.classes.shape == (len(store.rows(name)), store.top_k)
            assert bool((found.classes < store.num_classes).all())
            assert torch.isfinite(found.dense_log_probs(1.0).exp()).all()

    files = ("header.json", "layout.npy", "utterances.txt", "tail_prior.npy", "shard-00000.u16", "shard-00001.u16")
    return Kind(write, files, read)


def network() -> Kind:
    settings = DnnSettings(left_context=1, right_context=1, hidden_layers=1, hidden_units=4)
    made = seeded(named("network", "dnn", settings), (30,), 5, 1)

    def read(folder: Path) -> None:
        found = load_network(folder / "model.safetensors", {"num_mel_bins": 10})
        shapes = {name: tensor.shape for name, tensor in found.state_dict().items()}
        with torch.no_grad():
            logits = found(torch.zeros(2, *found.input_shape))
        assert logits.shape == (2, found.num_classes) and shapes

    return Kind(
        lambda folder: save_network(folder / "model.safetensors", made, {"num_mel_bins": 10}),
        ("model.safetensors",),
        read,
    )


def graph() -> Kind:
    phones = ("SIL", "X", "Y")

    def write(folder: Path) -> None:
        write_arpa(folder / "lm.arpa", estimate_ngrams([["A", "B"], ["B"]], 2))
        words = Lexicon({"A": (("X",), ("Y", "X")), "B": (("Y",),)})
        topology = Topology(phones, (0.5,) * 9)
        fst, labels = decoding_graph(words, folder / "lm.arpa", topology, silence_probability=0.3)
        write_fst(folder / GRAPH_FILE, fst)
        write_words(folder / WORDS_FILE, labels)

    def read(folder: Path) -> None:
        found = read_fst(folder / GRAPH_FILE)
        assert found.arcs["nextstate"].max(initial=0) < found.num_states
        scores = np.random.default_rng(0).standard_normal((12, 9)).astype(np.float32)
        said = Decoder(folder, Search(acoustic_scale=0.5, beam=12.0, max_active=500)).decode("u", scores)
        assert all(map(is_text, said.words))

    return Kind(write, (GRAPH_FILE, WORDS_FILE), read)


def topology() -> Kind:
    def read(folder: Path) -> None:
        found = Topology.load(folder / "topology.json")
        assert all(type(phone) is str for phone in found.phones)
        assert all(0 < value < 1 for value in found.self_loop)
        pdfs = {pdf for phone in found.phones for pdf in found.pdfs(phone)}
        assert pdfs <= set(range(found.num_pdfs))

    made = Topology(("SIL", "SPN", "X"), (0.25,) * 9)
    return Kind(lambda folder: made.save(folder / "topology.json"), ("topology.json",), read)


def idx(*, packed: bool) -> Kind:
    """`packed`: the gzip file is damaged, otherwise what it holds."""

    def write(folder: Path) -> None:
        content = struct.pack(">4I", IMAGES_MAGIC, 3, 4, 4) + bytes(range(48))
        (folder / "images").write_bytes(gzip.compress(content, mtime=0) if packed else content)

    def read(folder: Path) -> None:
        path = folder / "images"
        if not packed:
            path = folder / "images.gz"
            path.write_bytes(gzip.compress((folder / "images").read_bytes(), compresslevel=1))
        found = read_idx(path, IMAGES_MAGIC)
        assert found.dtype == np.uint8 and found.ndim == 3

    return Kind(write, ("images",), read)


def scored(name: str, text: str, text_format: TextFormat = "auto") -> Kind:
    def write(folder: Path) -> None:
        for part in ("reference", "hypothesis"):
            (folder / f"{part}{name}").write_text(text, encoding="utf-8")

    def read(folder: Path) -> None:
        files = folder / f"reference{name}", folder / f"hypothesis{name}"
        result = score_as_json(score_files(*files, text_format=text_format, resamples=10))
        # Counted again from what is shown side by side.
        shown = result["per_utterance"].values()
        words = [word for one in shown for word in one["reference"].split() if set(word) != {"*"}]
        assert result["reference_words"] == len(words)
        assert result["errors"] == result["substitutions"] + result["deletions"] + result["insertions"]
        assert all(is_text(one["reference"] + one["hypothesis"]) for one in shown)
        json.dumps(result, allow_nan=False)

    return Kind(write, (f"reference{name}", f"hypothesis{name}"), read)


def phones_in_time() -> Kind:
    def read(folder: Path) -> None:
        for items in read_ctm(folder / "phones.ctm").values():
            assert all(0 <= item.start < math.inf and 0 <= item.duration < math.inf for item in items)

    text = ";; comment\nu1 1 0.00 0.10 AH0 0.99\nu1 1 0.10 0.25 T\n"
    return Kind(lambda folder: (folder / "phones.ctm").write_text(text), ("phones.ctm",), read)  # type: ignore[arg-type, return-value]


def artifact() -> Kind:
    """All files of a stage: one that differs in any byte is refused."""

    def write(folder: Path) -> None:
        def work(place: Path) -> dict[str, Any]:
            (place / "values.txt").write_text("1 2 3\n")
            return {"wer": 0.125, "of": {"dev": [0.1, 0.2]}}

        made = {"code": "kd_asr.errors", "settings": {"of": 1}, "inputs": []}
        build_artifact(folder, "decode", **made, work=work)  # type: ignore[arg-type]

    def read(folder: Path) -> None:
        found = load_artifact(folder, "decode")
        assert found.metrics == {"wer": 0.125, "of": {"dev": [0.1, 0.2]}}
        assert (found.path / "values.txt").read_text() == "1 2 3\n"

    return Kind(write, ("decode/manifest.json", "decode/values.txt"), read)


def spelt() -> Kind:
    """Any text at all is words or none."""

    def read(folder: Path) -> None:
        text = (folder / "text").read_bytes().decode("utf-8", "replace")
        words = normalise_words(text)
        assert all(word and not any(letter.isspace() for letter in word) for word in words)
        assert normalise_words(" ".join(words)) == words

    text = "\u201cDon\u2019t\u201d \u2014 10:30, $5.50, 1,000; 21st [laughter] <unk> caf\u0065\u0301 C# 3.14 1/2 50%\n"
    return Kind(lambda folder: (folder / "text").write_text(text), ("text",), read)  # type: ignore[arg-type, return-value]


KINDS: dict[str, Kind] = {
    "flac": audio("a.flac"),
    "wav": audio("a.wav"),
    "float wav": audio("a.wav", subtype="FLOAT"),
    "ogg": audio("a.ogg"),
    "mp3": audio("a.mp3"),
    "librispeech": librispeech(),
    "kaldi": kaldi(),
    "lhotse": lhotse(),
    "csv": table("mine.csv"),
    "tsv": table("mine.tsv"),
    "json lines": table("mine.jsonl"),
    "folder": beside(),
    "arpa": arpa("lm.arpa"),
    "packed arpa": arpa("lm.arpa.gz"),
    "lexicon": lexicon(weighted=False),
    "lexicon with probabilities": lexicon(weighted=True),
    "settings": settings_file("my.yaml"),
    "settings of a run": settings_file("settings.yaml"),
    "manifest": manifest(),
    "frames": frame_store(),
    "alignments": alignment_store(),
    "posteriors": posterior_store(),
    "network": network(),
    "graph": graph(),
    "topology": topology(),
    "idx": idx(packed=False),
    "packed idx": idx(packed=True),
    "trn": scored(".trn", "one two (s1-u1)\nthree (s1-u2)\n"),
    "text with ids": scored(".txt", "u1 one two\nu2 three\n"),
    "text": scored(".txt", "one two\nthree four\n", "text"),
    "ctm": scored(".ctm", "u1 1 0.00 0.20 one 0.9\nu1 1 0.20 0.30 two\nu2 1 0.10 0.20 three\n"),
    "ctm of phones": phones_in_time(),
    "artifact": artifact(),
    "spelling": spelt(),
    **OTHERS,
}


def sound_files(kind: Kind, folder: Path) -> dict[str, bytes]:
    """Write a kind, and the contents of what is to be damaged."""
    kind.write(folder)
    return {name: (folder / name).read_bytes() for name in kind.damaged}
