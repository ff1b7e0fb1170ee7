"""What a student loses by the classes that the posterior store leaves out: dev frame accuracy by k.

The run is a finished main job's, $RUN, whose ensemble says anew what it thinks of every frame, with each k; students
with the same seeds learn from each store, at last from one that keeps all classes. The run itself is not changed: the
copy shares its files.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_asr.artifacts import load_artifact
from kd_asr.errors import UserError
from kd_asr.jobs.run import run
from kd_asr.settings.files import SETTINGS_FILE
from kd_asr.stages.plan import student_jobs
from kd_asr.stages.posteriors import posteriors
from kd_asr.stages.settings import load_settings

SUMMARY = "dev frame accuracy of students by the number of classes kept, of a finished run ($RUN)"
KEPT = (5, 10, 20, 50)
_MADE_HERE = ("posteriors", "distil")


def measure(*, repeats: int) -> dict[str, Any]:
    """Mean dev frame accuracy and cross-entropy of `repeats` students for each k, and bytes a frame."""
    source = Path(os.environ.get("RUN", ""))
    if not (source / SETTINGS_FILE).is_file():
        raise UserError("set RUN to the folder of a finished main job")
    found: dict[str, Any] = {"repeats": repeats}
    with tempfile.TemporaryDirectory(prefix="kd_asr-top_k-", dir=source.parent) as name:
        copy = Path(name) / "run"
        shutil.copytree(source, copy, copy_function=os.link, ignore=shutil.ignore_patterns(*_MADE_HERE, ".*"))
        classes = load_artifact(copy, "align").metrics["pdfs"]
        for kept in [*(one for one in KEPT if one < classes), classes]:
            settings = load_settings(copy)
            settings = replace(
                settings,
                ensemble=replace(settings.ensemble, top_k=kept),
                distil=replace(settings.distil, students=repeats),
            )
            stored = posteriors(copy, settings).metrics
            jobs = student_jobs(settings)
            trained = run(jobs, copy, processes=settings.jobs, description=f"k = {kept}")
            students = [made.metrics for made in trained]
            accuracies = [student["dev_accuracy"] for student in students]
            found[f"k = {kept}"] = {
                "bytes_a_frame": stored["bytes_per_frame"],
                "mass_kept": stored["mass_kept"],
                "dev_frame_accuracy": statistics.mean(accuracies),
                "of_each_student": accuracies,
                "dev_cross_entropy": statistics.mean(student["dev_cross_entropy"] for student in students),
            }
    return found
