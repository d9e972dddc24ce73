"""Paths that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# No test reaches beyond this machine; those that fetch from it allow it for themselves.
os.environ["LRPTOOL_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of trained networks, photos and reference relevance beside the project; skips where there is none."""
    if not SHARED.is_dir():
        pytest.skip("reference data (../shared) is not here")
    return SHARED
