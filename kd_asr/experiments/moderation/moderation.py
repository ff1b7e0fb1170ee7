"""Stage `moderation`: who of the ensemble's members leads for which phones and speakers, how far they are trusted, and
what that is worth beside their uniform average."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from kd_asr.alignment.store import AlignmentStore
from kd_asr.artifacts import Artifact, build_artifact, load_artifact, write_json
from kd_asr.corpora.base import corpus_of
from kd_asr.corpora.manifest import read_manifest
from kd_asr.device import HOST, Device, find_device
from kd_asr.distillation.losses.lead import moderated
from kd_asr.errors import UserError
from kd_asr.features.store import FrameStore
from kd_asr.jobs.job import MODEL, Job
from kd_asr.jobs.systems import NetworkRef
from kd_asr.methods.facilitator import FACILITATOR
from kd_asr.networks.base import Network
from kd_asr.networks.ensemble import average_log_posteriors
from kd_asr.networks.files import load_network
from kd_asr.networks.inference import evaluation_mode
from kd_asr.reporting.tables import Table, decimal, percent, to_markdown, to_rich
from kd_asr.stages.networks import posteriors_of
from kd_asr.stages.plan import member_names, student_jobs
from kd_asr.stages.settings import Settings
from kd_asr.stages.systems import load_networks

# The rarest phones and speakers say little.
_LEAST_FRAMES = 100


@dataclass(frozen=True)
class Moderated:
    """Frames of dev.

    Attributes:
        lead: (frames, members) weight of each member.
        trust: (frames,) probability, as the facilitator sees it, that the mixture's most probable class is the label.
        right: (frames, 2) whether that of the uniform average, and that of the mixture, is.
        nats: (frames, 2) -log posterior of the label, likewise.
        phones: (frames,) names.
        speakers: (frames,) names.
    """

    lead: NDArray[np.float64]
    trust: NDArray[np.float64]
    right: NDArray[np.bool_]
    nats: NDArray[np.float64]
    phones: NDArray[np.str_]
    speakers: NDArray[np.str_]


def moderation(run_dir: Path, settings: Settings) -> Artifact:
    """Write `moderation/moderation.md` and `.json`, of the first facilitator.

    Raises:
        UserError: the method facilitator is not among the methods, or has not been trained.
    """
    job = _facilitator(settings)
    names = ("prepare", "features", "align", job.name, *member_names(settings))
    inputs = [load_artifact(run_dir, name) for name in names]

    def work(folder: Path) -> dict[str, Any]:
        found = _on_dev(run_dir, settings, job, find_device(settings.device))
        content = {"title": f"What the facilitator has learnt on {corpus_of(settings.corpus).label}", **figures(found)}
        write_json(folder / "moderation.json", content)
        (folder / "moderation.md").write_text(page(content), encoding="utf-8")
        return content

    return build_artifact(
        run_dir,
        "moderation",
        code=__name__,
        settings={"average": settings.ensemble.average, "precision": settings.train.precision},
        inputs=inputs,
        work=work,
    )


def print_table(artifact: Artifact) -> None:
    """Print the comparison with the uniform average on standard output."""
    console = Console(file=sys.stdout, highlight=False)
    console.print(to_rich(compared_table(artifact.metrics)))
    console.print(f"Page: {artifact.path / 'moderation.md'}", markup=False, soft_wrap=True)


def _facilitator(settings: Settings) -> Job:
    found = [job for job in student_jobs(settings) if NetworkRef(job.name).name == f"{FACILITATOR}-00"]
    if not found:
        raise UserError("the method facilitator is not among the methods: name it with --methods, and run distil")
    return found[0]


@torch.inference_mode()
def _on_dev(run_dir: Path, settings: Settings, job: Job, device: Device) -> Moderated:
    store, alignments = FrameStore.open(run_dir / "features" / "dev"), AlignmentStore.open(run_dir / "align" / "dev")
    members = device.put(load_networks(run_dir, list(map(NetworkRef, member_names(settings))), store.features))
    facilitator = device.put(load_network(run_dir / job.name / f"{MODEL}.safetensors", store.features))
    speaker_of = {one.utterance_id: one.speaker_id for one in read_manifest(run_dir / "prepare" / "dev.jsonl")}
    parts: list[Moderated] = []
    for name in alignments.utterance_ids:
        log_posteriors = posteriors_of(members, store, [name], precision=settings.train.precision)
        logits = _logits(facilitator, store, name, device)
        mixture, trust = moderated(logits, log_posteriors)
        weights = logits[:, : len(members)].softmax(dim=1)
        labels = device.put(torch.from_numpy(alignments.pdfs(name).astype(np.int64)))
        uniform = average_log_posteriors(log_posteriors, settings.ensemble.average)
        both = (uniform, mixture)
        phones = [segment.phone for segment in alignments.phones(name) for _ in range(segment.num_frames)]
        parts.append(
            Moderated(
                HOST.put(weights.double()).numpy(),
                HOST.put(trust.double().sigmoid()).numpy(),
                HOST.put(torch.stack([one.argmax(dim=1) == labels for one in both], dim=1)).numpy(),
                HOST.put(torch.stack([-one.gather(1, labels[:, None])[:, 0] for one in both], dim=1).double()).numpy(),
                np.array(phones),
                np.array([speaker_of[name]] * len(phones)),
            )
        )
    return Moderated(*(np.concatenate([getattr(one, key) for one in parts]) for key in Moderated.__dataclass_fields__))


def _logits(model: Network, store: FrameStore, utterance_id: str, device: Device) -> torch.Tensor:
    with evaluation_mode(model):
        return torch.cat([model(device.put(one)).float() for one in model.own_view.utterances(store, [utterance_id])])


def figures(found: Moderated) -> dict[str, Any]:
    """Means over all frames, and over those of each phone and each speaker with some."""
    return {
        "frames": len(found.trust),
        "lead": found.lead.mean(axis=0).tolist(),
        "trust": float(found.trust.mean()),
        "accuracy": found.right.mean(axis=0).tolist(),
        "cross_entropy": found.nats.mean(axis=0).tolist(),
        "phones": _by(found, found.phones),
        "speakers": _by(found, found.speakers),
    }


def _by(found: Moderated, names: NDArray[np.str_]) -> list[dict[str, Any]]:
    rows = []
    for name in sorted(set(names.tolist())):
        own = names == name
        if own.sum() >= _LEAST_FRAMES:
            rows.append(
                {
                    "name": name,
                    "frames": int(own.sum()),
                    "lead": found.lead[own].mean(axis=0).tolist(),
                    "trust": float(found.trust[own].mean()),
                    "accuracy": found.right[own].mean(axis=0).tolist(),
                }
            )
    return rows


def compared_table(content: Mapping[str, Any]) -> Table:
    """The members averaged uniformly, and as the facilitator weighs them."""
    kinds = ("uniform average", "as the facilitator weighs them")
    rows = [
        (kind, percent(accuracy), decimal(nats, 4))
        for kind, accuracy, nats in zip(kinds, content["accuracy"], content["cross_entropy"], strict=True)
    ]
    return Table(("members", "dev frame accuracy %", "dev cross-entropy, nats"), tuple(rows), content["title"])


def _table(rows: Sequence[Mapping[str, Any]], what: str) -> Table:
    members = len(rows[0]["lead"]) if rows else 0
    heads = (what, "frames", *(f"member {number}" for number in range(members)), "trust", "mixture right %")
    return Table(
        heads,
        tuple(
            (
                row["name"],
                str(row["frames"]),
                *(decimal(weight, 3) for weight in row["lead"]),
                decimal(row["trust"], 3),
                percent(row["accuracy"][1], 1),
            )
            for row in rows
        ),
    )


def page(content: Mapping[str, Any]) -> str:
    """The page in Markdown."""
    whole = {**content, "name": "all"}
    return "\n\n".join(
        [
            f"# {content['title']}",
            f"{content['frames']:,} frames of dev. A member's column is the mean weight that the facilitator gives it; "
            "trust is the probability, as the facilitator sees it, that the mixture's most probable class is the "
            "label, and beside it stands how often that is so.",
            to_markdown(compared_table(content)).rstrip("\n"),
            "## By phone",
            to_markdown(_table([whole, *content["phones"]], "phone")).rstrip("\n"),
            "## By speaker",
            to_markdown(_table(content["speakers"], "speaker")).rstrip("\n"),
        ]
    ) + "\n"
