"""Other libraries in the bench: the torch copy computes the same scores, and they the same relevance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrptool import Model, load
from tests.bench.__main__ import COMPOSITES
from tests.bench.rows import pictures
from tests.test_bench import small

torch = pytest.importorskip("torch", reason="the bench extra is not installed")

from tests.bench.peers import check_scores, explainer  # noqa: E402
from tests.bench.torch_net import NotPossible, constants_of  # noqa: E402

# What other libraries warn of while they load and hook is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(small(tmp_path), weights="random:0", threads=1)


@pytest.mark.parametrize(("library", "composites"), [("zennit", COMPOSITES), ("captum", ("epsilon",))])
def test_same_relevance(library: str, composites: tuple[str, ...], model: Model) -> None:
    pytest.importorskip(library)
    constants, x = constants_of(model.graph), pictures(model, 2)
    check_scores(model, constants)
    for composite in composites:
        ours = model.explain(x, "top", composite)
        theirs = explainer(library, model, constants, composite)(torch.from_numpy(x), torch.from_numpy(ours.target))
        assert np.abs(theirs.detach().numpy() - ours.relevance).max() <= 1e-3 * np.abs(ours.relevance).max()


def test_other_scores_are_refused(model: Model) -> None:
    constants = {name: 1.01 * value for name, value in constants_of(model.graph).items()}
    with pytest.raises(NotPossible, match="other scores"):
        check_scores(model, constants)


def test_what_a_library_cannot_do_is_a_reason(model: Model) -> None:
    pytest.importorskip("captum")
    with pytest.raises(NotPossible, match="no rules for epsilon-plus"):
        explainer("captum", model, constants_of(model.graph), "epsilon-plus")
