import numpy as np
import pytest

from kd_asr.evaluation.bias import add_bias, best_bias


def errors(log_probs: np.ndarray, labels: np.ndarray, classes: list[int], bias: float) -> int:
    return int((add_bias(log_probs, classes, bias).argmax(axis=1) != labels).sum())


@pytest.mark.parametrize("classes", [[3], [0, 1, 2, 3], [1, 4]])
@pytest.mark.parametrize("seed", range(4))
def test_no_bias_of_a_fine_grid_makes_fewer_errors(classes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 60)
    log_probs = rng.normal(size=(60, 5)) + 2 * np.eye(5)[labels]
    log_probs[:, classes] -= 3.0
    found = best_bias(log_probs, labels, classes)
    grid = [errors(log_probs, labels, classes, bias) for bias in np.arange(-10, 10, 0.01)]
    assert errors(log_probs, labels, classes, found) == min(grid)
    assert errors(log_probs, labels, classes, 0.0) > min(grid)


def test_the_middle_of_the_best_stretch_by_hand() -> None:
    # The class 1 of two is wanted from a bias of 1 on for one image and must not have the other, at 4.
    log_probs = np.array([[1.0, 0.0], [4.0, 0.0]])
    assert best_bias(log_probs, np.array([1, 0]), [1]) == 2.5


def test_a_bias_that_can_change_nothing_is_0() -> None:
    log_probs = np.array([[1.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    assert best_bias(log_probs, np.array([2, 2]), [1]) == 0.0


def test_only_the_named_classes_are_raised() -> None:
    assert add_bias(np.zeros((1, 4)), [1, 3], 2.5).tolist() == [[0.0, 2.5, 0.0, 2.5]]
