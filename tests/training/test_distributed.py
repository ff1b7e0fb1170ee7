"""Two processes of torchrun against one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_prepared
from stages.test_network_stages import make_aligned

from kd_asr.cli import main
from kd_asr.distillation.batch import Batch
from kd_asr.distillation.signal import Signal, top_k_targets
from kd_asr.networks.files import load_network
from kd_asr.settings.files import save_settings
from kd_asr.stages.features import features

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]

pytestmark = pytest.mark.early


def run_together(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = [*TORCHRUN, "-m", "kd_asr", stage, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment, timeout=300)


def run_both(stage: str, alone: Path, together: Path) -> None:
    """A stage by this process, and the same by two ranks."""
    assert main([stage, str(alone)]) == 0
    done = run_together(stage, together)
    assert done.returncode == 0, done.stderr


def test_shares_make_the_whole() -> None:
    log_probs = torch.randn(10, 6).log_softmax(1)
    batch = Batch(torch.arange(5), torch.randn(5, 3), torch.arange(10), Signal(top_k_targets(log_probs, 3)))
    shares = [batch.share(rank, 2) for rank in range(2)]
    assert [len(share.examples) for share in shares] == [3, 2]
    assert shares[0].hard_labels.tolist() == [0, 1, 4, 5, 8, 9]
    assert torch.equal(shares[1].inputs, batch.inputs[[1, 3]])
    assert torch.equal(shares[1].signal.targets.log_probs, batch.signal.targets.log_probs[[2, 3, 6, 7]])
    assert batch.share(0, 1) is batch


@pytest.fixture
def runs(tmp_path, run_dir, settings, utterances) -> tuple[Path, Path]:
    """The same run twice, up to its labels. No dropout, which ranks draw for themselves, and plain float32."""
    plain = replace(settings.network.settings, dropout=0.0)
    network = replace(settings.network, settings=plain)
    train = replace(settings.train, precision="fp32", epochs=3, batch_frames=33)
    settings = replace(settings, network=network, train=train)
    save_settings(run_dir, settings)
    make_prepared(run_dir, utterances)
    features(run_dir, settings)
    make_aligned(run_dir, settings)
    return run_dir, Path(shutil.copytree(run_dir, tmp_path / "together"))


def test_two_ranks_train_the_network_that_one_process_trains(runs) -> None:
    run_both("baseline", *runs)
    made = [folder / "baseline" / "baseline-00" for folder in runs]
    first, second = (load_network(folder / "model.safetensors").state_dict() for folder in made)
    for name, value in first.items():
        assert torch.allclose(second[name], value, rtol=1e-3, atol=1e-4), name
    histories = [[json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()] for folder in made]
    assert len(histories[0]) == len(histories[1])
    for one, other in zip(*histories, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
        assert (other["dev_cross_entropy"] is None) == (one["dev_cross_entropy"] is None)
        if one["dev_cross_entropy"] is not None:
            assert other["dev_cross_entropy"] == pytest.approx(one["dev_cross_entropy"], rel=1e-3)


@pytest.mark.slow
def test_members_and_posteriors_are_spread_over_ranks_with_the_same_bits(runs) -> None:
    alone, together = runs
    for stage in ("ensemble", "transfer", "posteriors"):
        run_both(stage, alone, together)
    for name in ("ensemble/member-00", "ensemble/member-01", "posteriors"):
        for path in sorted((alone / name).iterdir()):
            if path.name != "manifest.json":
                assert path.read_bytes() == (together / name / path.name).read_bytes(), path


@pytest.mark.slow
def test_an_error_of_one_rank_is_told_and_ends_all(runs) -> None:
    _, together = runs
    (together / "align" / "train" / "pdfs.npy").write_bytes(b"")
    done = run_together("ensemble", together)
    assert done.returncode != 0
    assert "kd-asr: error:" in done.stderr
