from __future__ import annotations

import pytest
from made_up import CLASSES

from kd_asr import registry


@pytest.fixture(autouse=True)
def _only_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known names are the made-up ones while a test of this folder runs."""
    monkeypatch.setattr(registry, "_import_folder", lambda kind: None)
    monkeypatch.setattr(registry, "_CLASSES", {kind: CLASSES.get(kind, {}) for kind in registry.FOLDERS})
