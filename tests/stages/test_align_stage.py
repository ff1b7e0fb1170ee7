from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_prepared

from kd_asr.alignment.graphs import training_graph
from kd_asr.alignment.lexicon import Lexicon, write_lexicon
from kd_asr.alignment.settings import AlignSettings
from kd_asr.alignment.store import AlignmentStore
from kd_asr.alignment.topology import Topology
from kd_asr.alignment.viterbi import best_path
from kd_asr.artifacts import build_artifact, load_artifact
from kd_asr.corpora.embedded import EmbeddedSettings
from kd_asr.corpora.true_phones import FILE_NAME, TruePhone, write_true_phones
from kd_asr.features.store import FrameStore
from kd_asr.features.windows import FrameWindows
from kd_asr.jobs.systems import NetworkRef
from kd_asr.networks.inference import log_posteriors_of_batch
from kd_asr.registry import named
from kd_asr.stages import align_training
from kd_asr.stages.align import align
from kd_asr.stages.features import features
from kd_asr.stages.realign import FIRST_ALIGNMENT
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import load_networks

LEXICON = Lexicon({"ONE": (("W", "AH1", "N"),), "TWO": (("T", "UW1"),)})
# The beam is wide: a model of two seconds of noise finds other noise very unlikely.
SHORT = AlignSettings(cepstral_iterations=2, discriminant_iterations=1, gaussians=40, retry_beam=1e6)


def make_run(folder: Path, settings: Settings, utterances, lexicon: Lexicon = LEXICON) -> Settings:
    """Everything that the stage reads; one train utterance has too many words, one test word is unknown."""
    folder.mkdir(exist_ok=True)
    crowded = replace(utterances["train"][1], words=("ONE", "TWO") * 20)
    strange = replace(utterances["test"][0], words=("ONE", "XYZZY"))
    sets = {
        "train": [utterances["train"][0], crowded, *utterances["train"][2:]],
        "dev": utterances["dev"],
        "test": [strange, *utterances["test"][1:]],
    }
    prepared = make_prepared(folder, sets)
    features(folder, settings)

    def work(path: Path) -> dict[str, int]:
        write_lexicon(path / "lexicon.txt", lexicon)
        (path / "phones.txt").write_text("".join(f"{phone}\n" for phone in lexicon.phones))
        return {}

    chosen = {"lexicon": lexicon}
    build_artifact(
        folder, "lexicon", code="kd_asr.stages.lexicon", settings=chosen, inputs=[prepared], work=work
    )
    return replace(settings, align=SHORT)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_interrupted_and_with_other_jobs_the_bits_are_the_same(
    tmp_path, settings, utterances, monkeypatch: pytest.MonkeyPatch
) -> None:
    subset = tmp_path / "corpus" / "dev"
    subset.mkdir(parents=True)
    known = utterances["dev"][0]
    write_true_phones(subset / FILE_NAME, [(known.utterance_id, [TruePhone("SIL", 0.0, known.seconds)])])
    corpus = named("corpus", "embedded", EmbeddedSettings(root=str(tmp_path / "corpus")))
    whole = make_run(tmp_path / "whole", replace(settings, corpus=corpus, jobs=2), utterances)
    made = align(tmp_path / "whole", whole)

    parts = replace(make_run(tmp_path / "parts", replace(settings, corpus=corpus), utterances), jobs=1)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(align_training, "_discriminants", interrupt)
        with pytest.raises(KeyboardInterrupt):
            align(tmp_path / "parts", parts)
    with monkeypatch.context() as patch:
        patch.setattr(align_training, "_em_pass", interrupt)  # those steps are finished: they must not run again
        resumed = align(tmp_path / "parts", parts)
    assert contents(resumed.path) == contents(made.path)
    assert resumed.metrics == made.metrics

    # What a run leaves behind.
    assert sorted(contents(made.path)) == sorted(
        ["model.safetensors", "rejected.tsv", "topology.json"]
        + [f"{name}/{file}" for name in ("train", "dev", "test")
           for file in ("frames.npy", "pdfs.npy", "phones.jsonl", "utterances.txt")]
    )
    rows = (made.path / "rejected.tsv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[1].startswith(utterances["train"][1].utterance_id)
    assert "no path for 40 words" in rows[1]
    metrics = made.metrics
    assert (metrics["rejected"], metrics["train"]["rejected"], metrics["train"]["utterances"]) == (1, 1, 3)
    assert (metrics["unknown_words"], metrics["test"]["unknown_words"], metrics["dev"]["unknown_words"]) == (1, 1, 0)
    assert [step["step"] for step in metrics["steps"]] == ["equal", "cepstra", "discriminants"]
    topology = Topology.load(made.path / "topology.json")
    assert topology.phones == LEXICON.phones
    assert metrics["pdfs"] == topology.num_pdfs
    store, frames = AlignmentStore.open(made.path / "test"), FrameStore.open(tmp_path / "whole/features/test")
    for name in store.utterance_ids:
        segments = store.phones(name)
        assert sum(item.num_frames for item in segments) == frames.num_frames(name) == len(store.pdfs(name))
        spoken = [item.phone for item in segments if item.phone != "SIL"]
        last = ["SPN"] if name == utterances["test"][0].utterance_id else ["T", "UW1"]
        assert spoken == ["W", "AH1", "N", *last]
    truth = metrics["dev"]["against_true_phones"]
    assert truth["frames"] == len(AlignmentStore.open(made.path / "dev").pdfs(known.utterance_id))
    assert "against_true_phones" not in metrics["test"]
    assert load_artifact(tmp_path / "whole", "align").fingerprint == made.fingerprint


def test_tied_states_are_the_targets_and_an_interrupted_run_ends_with_the_same_bits(
    tmp_path, settings, utterances, monkeypatch: pytest.MonkeyPatch
) -> None:
    tied = replace(SHORT, leaves=24, leaf_min_frames=2, tied_gaussians=40, tied_iterations=1)
    # Phones with other neighbours than elsewhere, or there would be nothing to split.
    other_order = replace(utterances["train"][0], words=("TWO", "ONE"))
    utterances = {**utterances, "train": [other_order, *utterances["train"][1:]]}
    whole = replace(make_run(tmp_path / "whole", settings, utterances), align=tied, jobs=2)
    made = align(tmp_path / "whole", whole)
    parts = replace(make_run(tmp_path / "parts", settings, utterances), align=tied, jobs=1)
    work = align_training._discriminants

    def interrupt_after_tying(*arguments: object) -> object:
        if (tmp_path / "parts/.align.partial/model-04.safetensors").exists():
            raise KeyboardInterrupt
        return work(*arguments)

    def not_again(*arguments: object) -> object:
        assert arguments[-1] != "tie"
        return work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(align_training, "_discriminants", interrupt_after_tying)
        with pytest.raises(KeyboardInterrupt):
            align(tmp_path / "parts", parts)
    with monkeypatch.context() as patch:
        patch.setattr(align_training, "_discriminants", not_again)
        resumed = align(tmp_path / "parts", parts)
    assert contents(resumed.path) == contents(made.path)

    topology = Topology.load(made.path / "topology.json")
    assert topology.tree is not None
    assert made.metrics["targets"] == "tied triphone states"
    assert 21 < made.metrics["pdfs"] == topology.num_pdfs <= 24  # seven phones have 21 states
    assert [step["step"] for step in made.metrics["steps"]] == [
        "equal", "cepstra", "discriminants", "tie", "discriminants"
    ]  # fmt: skip
    for name in ("train", "dev", "test"):
        store = AlignmentStore.open(made.path / name)
        for utterance in store.utterance_ids:
            # The pdfs are those of the phones, between the phones, that stand beside them.
            segments = store.phones(utterance)
            phones = [item.phone for item in segments]
            triphones = zip(["SIL", *phones], phones, [*phones[1:], "SIL"], strict=False)
            for item, (left, phone, right) in zip(segments, triphones, strict=True):
                pdfs = store.pdfs(utterance)[item.start_frame : item.start_frame + item.num_frames]
                changes = pdfs[np.flatnonzero(np.diff(pdfs, prepend=-1))]
                expected = [topology.pdf(phone, state, left, right) for state in range(3)]
                assert changes.tolist() == expected
        # Silence may stand before, between and after the words; counted with one place more of either kind.
        words = {item.utterance_id: len(item.words) for item in utterances[name]}
        places = sum(words[utterance] + 1 for utterance in store.utterance_ids)
        silent = sum(item.phone == "SIL" for utterance in store.utterance_ids for item in store.phones(utterance))
        assert made.metrics[name]["silence_probability"] == (silent + 1) / (places + 2)


def test_networks_align_anew_along_their_best_paths(tmp_path, settings, utterances) -> None:
    made_run = make_run(tmp_path / "run", settings, utterances)
    settings = replace(made_run, align=replace(SHORT, networks=2, network_epochs=1))
    made = align(tmp_path / "run", settings)
    first = load_artifact(tmp_path / "run", FIRST_ALIGNMENT)
    assert sorted(path.name for path in (tmp_path / "run" / "align_networks").iterdir()) == ["network-00", "network-01"]
    assert contents(made.path)["topology.json"] == contents(first.path)["topology.json"]
    assert made.metrics["networks"] == 2
    assert made.metrics["rejected"] == first.metrics["rejected"] == 1
    assert made.metrics["steps"] == first.metrics["steps"]

    # The same by hand: average of the posteriors over the priors of the first alignment, through the transcript.
    topology = Topology.load(made.path / "topology.json")
    store = FrameStore.open(tmp_path / "run" / "features" / "dev")
    models = load_networks(
        tmp_path / "run", [NetworkRef(f"align_networks/network-{number:02d}") for number in range(2)], store.features
    )
    counts = np.bincount(np.load(first.path / "train" / "pdfs.npy"), minlength=topology.num_pdfs).clip(1)
    aligned, before = AlignmentStore.open(made.path / "dev"), AlignmentStore.open(first.path / "dev")
    differ = []
    for item in utterances["dev"]:
        seen = FrameWindows(store, [item.utterance_id], left_context=7, right_context=7)[torch.arange(
            store.num_frames(item.utterance_id))]  # fmt: skip
        outputs = [log_posteriors_of_batch(model, seen, precision=settings.train.precision).exp() for model in models]
        scores = (torch.stack(outputs).mean(dim=0) / torch.from_numpy(counts / counts.sum())).log().float().numpy()
        graph = training_graph(item.words, LEXICON, topology, silence_probability=SHORT.silence_probability)
        path = best_path(scores, graph, beam=SHORT.beam, retry_beam=SHORT.retry_beam)
        assert path is not None
        # Rounding may move a boundary between two paths of the same score, and no more.
        assert (aligned.pdfs(item.utterance_id) == path.pdfs).mean() > 0.95
        differ.append(aligned.pdfs(item.utterance_id) != before.pdfs(item.utterance_id))
    assert made.metrics["frames_changed"]["dev"] == pytest.approx(np.concatenate(differ).mean(), abs=1e-4)
    assert align(tmp_path / "run", settings).fingerprint == made.fingerprint
