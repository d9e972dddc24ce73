"""Single-layer relevance of other implementations, spoken in this project's words.

`layer_cases` and `stabiliser_cases` read ``../shared/golden`` and are empty where it is absent. A case names its rule
and parameters in our vocabulary:

========================  ====================================================  ========================================
rule                      parameters                                            layers
========================  ====================================================  ========================================
epsilon                   stabiliser                                            dense, conv, sumpool (of the plain sum)
zplus, zplus-literal      stabiliser                                            dense, conv
alpha-beta                alpha, beta, stabiliser                               dense, conv, sumpool
gamma, gamma-literal      gamma, stabiliser                                     dense, conv
zbox                      low, high (number, or one per input channel)          dense, conv
wsquare, flat             stabiliser; wsquare's b^2 goes with zero_bias         dense, conv, sumpool, maxpool (flat)
proportion                stabiliser, at the scale of the pooled output         avgpool
route, pass               none                                                  maxpool; conv
========================  ====================================================  ========================================

Stabiliser parameters are epsilon, clip and relative; ``zero_bias=True`` means the rule does without the layer's bias.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import SHARED

GOLDEN = SHARED / "golden"

# Which fixtures (a pattern their whole id matches) follow another convention than their rule's name says, and why.
# tests/test_oracle.py proves every reason: the fixture is not the rule, and is the rule under that convention.
DIFFERS: dict[str, str] = {
    r"toolbox__dense__nonneg__alphabeta_2_slow": "no stabiliser at all: a zero denominator makes the sample NaN",
    r"toolbox__sumpool__mixed__alphabeta_2": "the negative share is multiplied by the output's relevance twice",
    r"toolbox__maxpool__nonneg__simple": "equal maxima share the relevance in equal parts",
}


@dataclass(frozen=True)
class Geometry:
    """How a layer walks over its input; a dense layer uses none of it, only average pooling looks at count_pad."""

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    group: int = 1
    ceil: bool = False
    count_pad: bool = True


@dataclass(frozen=True)
class LayerCase:
    """One layer, one rule, relevance in and out; arrays are float64 and read on first use."""

    id: str
    layer: str
    geometry: Geometry
    rule: str
    parameters: Mapping[str, Any] = field(hash=False)
    file: Path

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.file) as stored:
            return {name: stored[name] for name in stored.files}

    @property
    def x(self) -> np.ndarray:
        return self.arrays["x"]

    @property
    def w(self) -> np.ndarray | None:
        return self.arrays.get("w")

    @property
    def b(self) -> np.ndarray | None:
        return self.arrays.get("b")

    @property
    def y(self) -> np.ndarray:
        return self.arrays["y"]

    @property
    def R_out(self) -> np.ndarray:
        """Relevance at the layer's output."""
        return self.arrays["R_out"]

    @property
    def R_in(self) -> np.ndarray:
        """Relevance at the layer's input."""
        return self.arrays["R_in"]

    @property
    def differs(self) -> str | None:
        """The pattern of DIFFERS this case falls under."""
        return next((pattern for pattern in DIFFERS if re.fullmatch(pattern, self.id)), None)


@dataclass(frozen=True)
class StabiliserCase:
    """Denominators (1, J) before and after one stabiliser."""

    id: str
    parameters: Mapping[str, Any] = field(hash=False)
    z: np.ndarray = field(hash=False)
    out: np.ndarray = field(hash=False)


def entries(kind: str) -> list[dict[str, Any]]:
    """Fixtures of one kind, as the index describes them."""
    index = GOLDEN / "index.json"
    if not index.is_file():
        return []
    return [entry for entry in json.loads(index.read_text())["cases"] if entry["kind"] == kind]


def layer_cases() -> list[LayerCase]:
    """Every single-layer fixture."""
    cases = []
    for entry in entries("layer"):
        layer, geometry = _layer(entry)
        rule, parameters = _rule(entry, layer)
        cases.append(LayerCase(entry["id"], layer, geometry, rule, parameters, GOLDEN / entry["file"]))
    return cases


def stabiliser_cases() -> list[StabiliserCase]:
    """Every stabiliser fixture."""
    cases = []
    for entry in entries("stabilizer"):
        with np.load(GOLDEN / entry["file"]) as stored:
            cases.append(StabiliserCase(entry["id"], _stabiliser(entry["stabilizer"]), stored["z"], stored["out"]))
    return cases


def _layer(entry: dict[str, Any]) -> tuple[str, Geometry]:
    """Our name and geometry of a fixture's layer; torch's pooling layers tell part of theirs by repr, part by id."""
    spec = entry["layer"]
    if spec["type"] == "linear":
        return "dense", Geometry()
    if spec["type"] == "conv2d":
        pads = (*spec["padding"], *spec["padding"])
        steps = {name: tuple(spec[key]) for name, key in (("strides", "stride"), ("dilations", "dilation"))}
        return "conv", Geometry(tuple(spec["kernel"]), pads=pads, group=spec["groups"], **steps)
    layer = spec["type"].removesuffix("2d")
    if "kernel" in spec:
        return layer, Geometry(tuple(spec["kernel"]), tuple(spec["stride"]))
    if spec["repr"].startswith("Adaptive"):
        return layer, Geometry(tuple(entry["shapes"]["x"][2:]))
    number = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", spec["repr"])}
    kernel, stride, pad = number["kernel_size"], number["stride"], number["padding"]
    ceil, count_pad = "_ceil_" in entry["id"], "_excl_" not in entry["id"]
    return layer, Geometry((kernel, kernel), (stride, stride), (pad,) * 4, ceil=ceil, count_pad=count_pad)


def _stabiliser(value: float | dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"epsilon": value}
    names = {"epsilon": "epsilon", "clip": "clip", "norm_scale": "relative"}
    return {names[key]: setting for key, setting in value.items()}


def _rule(entry: dict[str, Any], layer: str) -> tuple[str, dict[str, Any]]:
    if entry["tool"].startswith("zennit"):
        return _zennit(entry, layer)
    if entry["tool"].startswith("captum"):
        return _captum(entry)
    if entry["tool"].startswith("torch"):
        return "route", {}
    return _toolbox(entry, layer)


def _zennit(entry: dict[str, Any], layer: str) -> tuple[str, dict[str, Any]]:
    rule = {
        "AlphaBeta": "alpha-beta",
        "Epsilon": "epsilon",
        "Flat": "flat",
        "Gamma": "gamma",
        "Norm": "proportion" if layer == "avgpool" else "epsilon",
        "Pass": "pass",
        "WSquare": "wsquare",
        "ZBox": "zbox",
        "ZPlus": "zplus",
    }[entry["rule"]]
    parameters = {key: entry[key] for key in ("alpha", "beta", "gamma", "low", "high") if key in entry}
    if rule != "pass":
        parameters |= _stabiliser(entry.get("stabilizer", entry.get("epsilon")))
    if entry.get("zero_params") == "bias":
        parameters["zero_bias"] = True
    return rule, parameters


def _captum(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    rule = {"Epsilon": "epsilon", "Gamma": "gamma-literal", "Alpha1_Beta0": "zplus-literal"}[entry["rule"]]
    parameters = {"epsilon": entry.get("epsilon", 1e-9)}
    if "gamma" in entry:
        parameters["gamma"] = entry["gamma"]
    if entry.get("zero_params") == "bias":
        parameters["zero_bias"] = True
    return rule, parameters


def _toolbox(entry: dict[str, Any], layer: str) -> tuple[str, dict[str, Any]]:
    """The numpy LRP Toolbox: its beta is 1 - alpha and added, ours is alpha - 1 and taken away.

    Its stabilisers are fixed: 1e-16, and 1e-12 for the plain rule on sum pooling.
    """
    name, value = entry["rule"].removesuffix("_slow"), entry["param"]
    if name == "alphabeta":
        return "alpha-beta", {"alpha": value, "beta": value - 1, "epsilon": 1e-16}
    if name == "simple":
        return ("route", {}) if layer == "maxpool" else ("epsilon", {"epsilon": 1e-12 if layer == "sumpool" else 1e-16})
    return {
        "epsilon": ("epsilon", {"epsilon": value}),
        "flat": ("flat", {"epsilon": 0.0}),
        "ww": ("wsquare", {"epsilon": 0.0, "zero_bias": True}),
    }[name]
