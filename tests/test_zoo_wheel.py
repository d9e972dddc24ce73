"""What a wheel holds: every card, all class names, the bundled model; and that they are found in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    return Path(next(builders.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))


def test_cards_and_labels_are_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("models", "configs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".yaml", ".txt", ".caffemodel", ".prototxt"):
                assert f"lrptool/data/{path.relative_to(ROOT).as_posix()}" in names


def test_models_are_found_in_it(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "LRPTOOL_CACHE": str(tmp_path / "cache")}
    environment.pop("LRPTOOL_MODELS", None)

    def said(*args: str) -> str:
        command = [sys.executable, "-m", "lrptool", "models", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        return done.stdout

    assert said("where", "lenet").splitlines() == [
        str(tmp_path / "site/lrptool/data/models/lenet" / name) for name in ("deploy.prototxt", "lenet.caffemodel")
    ]
    listed = {record["name"]: record["state"] for record in json.loads(said("list", "--json"))}
    assert listed["lenet"] == "bundled"
    assert listed["bvlc_googlenet"] == "remote"
    assert len(listed) == len(list((ROOT / "models").glob("*/card.yaml")))
