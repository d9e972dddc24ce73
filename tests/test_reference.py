"""Scores and relevance against the C++ LRP Toolbox's, case by case; docs/reference.md says how and what differs."""

from __future__ import annotations

import numpy as np
import pytest

from lrptool.engine import Program, initial_relevance, probabilities_of, scores_of
from lrptool.rules import Composite
from tests.conftest import ROOT
from tests.toolbox import (
    REFERENCE,
    Case,
    activations_of,
    cases,
    deviation,
    misplaced,
    net_of,
    reasons_of,
    tables,
)

pytestmark = pytest.mark.skipif(not cases(), reason="reference data (../shared) is not here")

PRECISE = [case for case in cases() if case.grade in "AB"]
LOOSE = [case for case in cases() if case.grade == "C"]
AGREED = 1e-3
"""Largest difference, relative to the largest relevance, of a shipped preset whose conventions are the toolbox's."""

PICTURES = {case.input: case for case in cases()}


@pytest.mark.parametrize("case", PICTURES.values(), ids=[name.removesuffix(".npy") for name in PICTURES])
def test_scores(case: Case) -> None:
    net = net_of(case.options.net)
    expected = np.load(REFERENCE / case.scores)
    scores = scores_of(activations_of(net, (case.input,))[net.graph.output])
    assert scores.shape == expected["scores"].shape
    assert np.abs(scores - expected["scores"]).max() <= 1e-5 * np.abs(expected["scores"]).max()
    probabilities = probabilities_of(scores, net.graph.head)
    assert probabilities is not None
    np.testing.assert_allclose(probabilities, expected["prob"], atol=1e-5)


@pytest.mark.parametrize("case", PRECISE, ids=str)
def test_shipped_preset(case: Case) -> None:
    """Equal where nothing is known to be wrong with the reference, and only there."""
    if reasons_of(case.options):
        assert deviation(case) > case.bound
    else:
        assert deviation(case) <= AGREED


@pytest.mark.parametrize("case", PRECISE, ids=str)
def test_with_the_faults_of_the_toolbox(case: Case) -> None:
    """What differs is what docs/reference.md says: with it, every map is the reference to its own precision."""
    assert deviation(case, frozenset(reasons_of(case.options))) <= case.bound


@pytest.mark.parametrize("case", [case for case in PRECISE if len(reasons_of(case.options)) > 1], ids=str)
def test_every_fault_plays_a_part(case: Case) -> None:
    """Without any one of its faults a map is not the reference."""
    reasons = frozenset(reasons_of(case.options))
    for reason in reasons:
        assert deviation(case, reasons - {reason}) > case.bound, reason


@pytest.mark.parametrize("case", LOOSE, ids=str)
def test_maps_with_isolated_jumps(case: Case) -> None:
    """Where a pool's winner or a ReLU hangs on rounding, single pixels may jump but next to nothing is elsewhere."""
    faults = frozenset(reasons_of(case.options))
    assert misplaced(case, faults) <= AGREED
    assert deviation(case, faults) <= max(AGREED, case.uncertainty)


@pytest.mark.parametrize("case", [case for case in PRECISE if case.options.formula == 11], ids=str)
def test_formula_11_is_the_gradient_times_the_score(case: Case) -> None:
    """The engine end to end: a program with a session of its own, one picture."""
    net = net_of(case.options.net)
    composite = Composite.load("gradient")
    program = Program(net.graph, composite)
    activations = program.forward(np.load(REFERENCE / case.input))
    output = activations[net.graph.output]
    start = initial_relevance(output, np.array([case.target]), composite.start)
    gradient = program.backward(activations, start)[net.graph.input.name]
    score = scores_of(output)[0, case.target]
    assert np.abs(score * gradient - case.relevance).max() <= case.bound * np.abs(case.relevance).max()


def test_the_documented_tables_are_these() -> None:
    """Run ``python -m tests.toolbox`` for the tables as they are."""
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for table in tables():
        assert table in text
