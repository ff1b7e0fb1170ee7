"""Costs of trainings and of what they learnt from, counted by hand."""

from pathlib import Path

import pytest

from kd_asr.artifacts import Artifact, build_artifact, load_artifact
from kd_asr.jobs.costs import Cost, Costs, labels_seen
from kd_asr.jobs.job import Job
from kd_asr.networks.operations import MultiplyAdds
from kd_asr.stages.plan import member_jobs, student_jobs
from kd_asr.stages.settings import parse_settings

FLAGS = ["--ensemble.members=2", "--distil.students=1", "--train.batch_frames=32", "--distil.copies=0"]
EACH = MultiplyAdds(training=100.0, inference=30.0)
UPDATES, FRAMES = 5, 1000


def costs_of(run: Path, *flags: str) -> Costs:
    """A run of two teachers and students, each trained with 5 updates, and of a store with 1000 frames."""
    settings = parse_settings([*FLAGS, *flags])
    jobs = {job.name: job for job in (*member_jobs(settings), *student_jobs(settings))}

    def make(name: str, inputs: list[Artifact], metrics: dict[str, int]) -> Artifact:
        return build_artifact(
            run, name, code="kd_asr.jobs.costs", settings={}, inputs=inputs, work=lambda folder: metrics
        )

    made = {"features": make("features", [], {})}
    trained = {"updates": UPDATES, "examples": 10_000}
    members = [make(job.name, [made["features"]], trained) for job in member_jobs(settings)]
    made["posteriors"] = make("posteriors", [made["features"], *members], {"frames": FRAMES})
    for job in student_jobs(settings):
        known = {**made, **{one.name: one for one in members}}
        make(job.name, [known[name] for name in job.artifacts() if name in known], trained)

    def labels(store: Artifact) -> int:
        return int(store.metrics["frames"])

    return Costs(run, jobs, lambda job, network: EACH, labels)


ONE = 2 * EACH.training * UPDATES * 32


def test_a_student_of_a_store(run_dir) -> None:
    costs = costs_of(run_dir)
    assert costs.of_training("distil/student-00").operations == ONE
    everything = costs.of_everything(["distil/student-00"])
    # Two teachers, their outputs for every frame of the store, and the student.
    assert everything.operations == 3 * ONE + 2 * 2 * EACH.inference * FRAMES
    names = ("ensemble/member-00", "ensemble/member-01", "posteriors", "distil/student-00")
    assert everything.seconds == pytest.approx(sum(load_artifact(run_dir, name).own_seconds for name in names))
    assert costs.of_everything(["ensemble/member-00", "ensemble/member-01"]).operations == 2 * ONE


def test_a_student_of_live_teachers_asks_them_in_every_update(run_dir) -> None:
    costs = costs_of(run_dir, "--distil.teacher=live")
    own = ONE + 2 * 2 * EACH.inference * UPDATES * 32
    assert costs.of_training("distil/student-00").operations == own
    assert costs.of_everything(["distil/student-00"]).operations == own + 2 * ONE


def test_networks_that_teach_each_other_are_all_trained(run_dir) -> None:
    costs = costs_of(run_dir, "--methods=[{mutual: {networks: 4}}]")
    assert costs.of_everything(["distil/mutual-4-00"]).operations == 4 * ONE


@pytest.mark.parametrize(
    ("flags", "examples", "expected"),
    [
        ([], 10_000, 5 * 32),
        ([], 20, 5 * 20),  # fewer than a batch
        (["--network=tdnn", "--network.tdnn.chunk_frames=10", "--train.batch_frames=40"], 10_000, 5 * 40),
        (["--network=tdnn", "--network.tdnn.chunk_frames=10", "--train.batch_frames=40"], 3, 5 * 30),
    ],
)
def test_labels_of_full_batches(flags: list[str], examples: int, expected: int) -> None:
    job: Job = member_jobs(parse_settings([*FLAGS, *flags]))[0]
    assert labels_seen(job, updates=5, examples=examples) == expected


def test_costs_add_up() -> None:
    assert Cost(1.0, 2.0) + Cost(3.0, 4.0) == Cost(4.0, 6.0)
