"""Settings of every method on digits, chosen on dev with equal effort: three trials each, one seed.

    python -m benchmarks.methods_on_digits --mnist DIR --out FOLDER

The trials are runs of the experiment `table` whose test set is 5,000 training images, which no network of them sees.
Writes FOLDER/trials.md and FOLDER/methods.yaml, a preset for `kd-asr run digits --preset FOLDER/methods.yaml`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kd_asr.artifacts import read_array
from kd_asr.corpora.mnist import load_mnist
from kd_asr.experiments.mnist import digits
from kd_asr.experiments.mnist.settings import DigitDataSettings, MnistSettings
from kd_asr.experiments.mnist.table import table, table_plans
from kd_asr.settings.files import parse_settings_of

DEV = 5000
# Teachers of 300 units teach students of 100, so that the table takes minutes and leaves something to distil.
BUDGET: dict[str, Any] = {
    "preset": "methods_on_digits",
    "members": 3,
    "ensemble_students": 3,
    "held_out": 0.1,
    "teacher": {"network": {"dnn": {"hidden_units": 300}}, "epochs": 4},
    "hard": {"network": {"dnn": {"hidden_units": 100}}, "epochs": 2, "batch_images": 256, "learning_rate": 0.003},
    "distilled": {"network": {"dnn": {"hidden_units": 100}}, "epochs": 2, "batch_images": 256, "learning_rate": 0.003},
}


def _both(loss: str, hard: float, **settings: float) -> list[dict[str, Any]]:
    return [{loss: settings, "weight": 1.0}, {"hard": {}, "weight": hard}]


def _soft(temperature: float, hard: float) -> list[dict[str, Any]]:
    return _both("soft", hard, temperature=temperature)


TRIALS: dict[str, list[dict[str, Any]]] = {
    "hinton": [{"losses": _soft(20, 0.01)}, {"losses": _soft(4, 0.5)}, {"losses": _soft(4, 0.05)}],
    "logits": [{"losses": _both("logits", hard)} for hard in (0.0, 0.1, 1.0)],
    "kl": [{"losses": _both("kl", hard, temperature=t)} for t, hard in ((2, 0.5), (4, 0.5), (4, 0.05))],
    "reverse_kl": [{"losses": _both("reverse_kl", 0.5, temperature=t)} for t in (1, 2, 4)],
    "decoupled": [
        {"losses": _both("decoupled", 1.0, temperature=t, other_weight=other)} for t, other in ((2, 8), (4, 8), (4, 2))
    ],
    "born_again": [
        {"losses": [{"soft": {"temperature": 1.0}, "weight": 1.0}]},
        {"losses": _soft(1, 0.5)},
        {"losses": _soft(4, 0.5)},
    ],
    "hints": [{"hint_share": share} for share in (0.1, 0.25, 0.4)],
    "data_distillation": [{"losses": _soft(1, 1.0)}, {"losses": _soft(4, 0.5)}, {"losses": _soft(4, 0.05)}],
    "mutual": [
        {"losses": [{"peers": {}, "weight": weight}, {"hard": {}, "weight": 1.0}]} for weight in (0.3, 1.0, 3.0)
    ],
    "distribution": [{"losses": [{"dirichlet": {"least_divergence": least}}]} for least in (1e-4, 1e-3, 1e-2)],
    "heads": [{"losses": [{"heads": {"temperature": t}}]} for t in (1, 2, 4)],
    "specialists": [{"losses": _soft(2, 0.5)}, {"losses": _soft(4, 0.5)}, {"losses": _soft(4, 0.05)}],
    "facilitator": [
        {"losses": _soft(t, 0.0), "last_weights": [1.0, last]} for t, last in ((2, 0.5), (4, 0.5), (4, 0.05))
    ],
}


def main() -> None:
    """Try, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="folder of MNIST's four files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run_dir = arguments.out / "trials"
    run_dir.mkdir(exist_ok=True)
    found: dict[str, list[tuple[int, float]]] = {}
    for trial in range(max(map(len, TRIALS.values()))):
        methods = [{name: trials[trial]} for name, trials in TRIALS.items()]
        for name, errors, nats in _tried(arguments.mnist, run_dir, methods):
            found.setdefault(name, []).append((errors, nats))
    chosen = {name: min(range(len(trials)), key=lambda one: found[name][one]) for name, trials in TRIALS.items()}
    best = [{name: TRIALS[name][one]} for name, one in chosen.items()]
    (arguments.out / "methods.yaml").write_text(yaml.safe_dump({**BUDGET, "methods": best}), encoding="utf-8")
    lines = [f"| method | trial | errors of {DEV:,} | dev cross-entropy, nats | chosen |", "|---|---|---:|---:|---|"]
    for name, trials in TRIALS.items():
        for number, trial_settings in enumerate(trials):
            errors, nats = found[name][number]
            mark = "yes" if number == chosen[name] else ""
            lines.append(f"| `{name}` | `{json.dumps(trial_settings)}` | {errors} | {nats:.4f} | {mark} |")
    (arguments.out / "trials.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tried(mnist: Path, run_dir: Path, methods: list[dict[str, Any]]) -> list[tuple[str, int, float]]:
    """Errors and mean cross-entropy on dev of the first student of each method."""
    file = run_dir / "trial.yaml"
    file.write_text(yaml.safe_dump({**BUDGET, "methods": methods}), encoding="utf-8")
    settings = parse_settings_of(MnistSettings, ["--seeds=1", "--jobs=1", "--device=cpu", f"--data.root={mnist}"], file)
    digits._arrays = _without_dev  # the only thing that differs from a run on test
    made = table(run_dir, settings)
    of_labels = read_array(made.path / "label_log_posteriors.npy")
    systems = [(group["name"], system) for group in made.metrics["groups"] for system in group["systems"]]
    rows = {group: number for number, (group, _) in reversed(list(enumerate(systems)))}
    firsts = [_first_group(settings, number) for number in range(len(methods))]
    return [
        (next(iter(method)), int(made.metrics["test_errors"][group][0]), float(-np.mean(of_labels[rows[group]])))
        for method, group in zip(methods, firsts, strict=True)
    ]


def _first_group(settings: MnistSettings, number: int) -> str:
    # The first plan is that of networks on hard labels; of generations the last is what the method is for.
    plan = table_plans(settings)[1 + number]
    names = [group.name for group in plan.groups]
    generations = [name for name in names if name.startswith("born-again-") and name[-1].isdigit()]
    return generations[-1] if generations else names[0]


def _without_dev(data: DigitDataSettings) -> dict[str, np.ndarray]:
    """Training images alone: the last of a fixed order are the test set."""
    loaded = load_mnist(Path(data.root))
    order = np.random.default_rng(1).permutation(len(loaded.train_labels))
    train, dev = order[:-DEV], order[-DEV:]
    return {
        "train_images": loaded.train_images[train],
        "train_labels": loaded.train_labels[train],
        "test_images": loaded.train_images[dev],
        "test_labels": loaded.train_labels[dev],
    }


if __name__ == "__main__":
    main()
