"""Rules and composites as data: names, values, YAML, and which node gets which rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lrptool.engine import Program, canonise
from lrptool.errors import ConfigError, UnsupportedError
from lrptool.graph import Graph
from lrptool.rules import CATALOGUE, Composite, Match, Places, Row, Rule, preset_names
from tests import nets, oracle
from tests.nets import NETS, Net

WEIGHTED = {"match": {"op": ["Conv", "Gemm"]}, "rule": "epsilon"}
VARIED: dict[str, Any] = {
    "epsilon": 0.125,
    "clip": True,
    "relative": True,
    "bias": False,
    "gamma": 3,
    "alpha": 3,
    "beta": 2,
    "low": [-1, -2.5, 0],
    "high": 7,
}


def varied(name: str) -> Rule:
    """The rule with no parameter at its default."""
    parameters = CATALOGUE[name].parameters
    return Rule.of(
        name,
        **{k: not parameters[k].default if isinstance(v, bool) else v for k, v in VARIED.items() if k in parameters},
    )


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_rule_survives_yaml(name: str) -> None:
    for rule in (Rule.of(name), varied(name)):
        written = yaml.safe_dump(rule.to_data())
        assert Rule.from_data(yaml.safe_load(written)) == rule
    assert Rule.of(name).to_data() == str(Rule.of(name)) == name
    assert {key for key, _ in varied(name).parameters} == set(CATALOGUE[name].parameters)


def test_a_rule_prints_what_differs_from_the_defaults() -> None:
    assert str(Rule.of("epsilon", epsilon="1e-2", clip=True)) == "epsilon(clip=yes, epsilon=0.01)"
    assert str(Rule.of("zbox", low=[-1, -2.5], high=3)) == "zbox(high=3, low=[-1, -2.5])"
    assert str(Rule.of("alpha-beta", alpha=2, beta=1)) == "alpha-beta"


def test_rules_compare_by_value() -> None:
    assert Rule.of("epsilon", epsilon=1e-6) == Rule.of("epsilon")
    assert Rule.of("epsilon", epsilon=1) == Rule.of("epsilon", epsilon=1.0) != Rule.of("epsilon", epsilon=2)
    assert Rule.of("epsilon", epsilon=1) != Rule.of("zplus", epsilon=1)
    assert len({Rule.of("gamma", gamma=1), Rule.of("gamma", gamma=1.0), Rule.of("gamma")}) == 2
    assert Rule.of("gamma", gamma=1)["gamma"] == 1
    assert Rule.of("gamma")["epsilon"] == 1e-6


@pytest.mark.parametrize(
    ("name", "parameters", "message", "hint"),
    [
        ("epsilonn", {}, "unknown rule 'epsilonn'", "did you mean 'epsilon'?"),
        ("epsilon", {"epsilom": 1}, "rule 'epsilon' has no parameter 'epsilom'", "did you mean 'epsilon'?"),
        ("flat", {"gamma": 1}, "rule 'flat' has no parameter 'gamma'", "known: clip, epsilon, relative"),
        ("alpha-beta", {"alpha": 2, "beta": 2}, "expected alpha − beta = 1, found 2 − 2", "for alpha 2 take beta 1"),
        ("alpha-beta", {"alpha": 1, "beta": 1}, "expected alpha − beta = 1, found 1 − 1", "for alpha 1 take beta 0"),
        ("zbox", {"low": 2, "high": 1}, "expected low ≤ high", None),
        ("zbox", {"low": [0, 1], "high": [1, 1, 1]}, "one per channel, found 2 low, 3 high", None),
        ("zbox", {"low": [], "high": []}, "one per channel, found 0 low", None),
        ("epsilon", {"epsilon": 10**400}, "expected a number of at least 0", None),
        ("epsilon", {"epsilon": 1e39}, "expected a number of at least 0", None),
        ("epsilon", {"rule": 1}, "rule 'epsilon' has no parameter 'rule'", "known: bias, clip, epsilon, relative"),
        ("epsilon", {"epsilon": -1}, "expected a number of at least 0, found -1", None),
        ("epsilon", {"epsilon": "small"}, "expected a number of at least 0, found 'small'", None),
        ("epsilon", {"epsilon": float("nan")}, "expected a number of at least 0, found nan", None),
        ("epsilon", {"epsilon": True}, "expected a number of at least 0, found True", None),
        ("epsilon", {"clip": 1}, "expected true or false, found 1", None),
        ("zbox", {"low": -1}, "expected both low and high or neither", "give the other bound, too"),
        ("zbox", {"low": [-1, "x"], "high": 1}, "expected a number, found 'x'", None),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(name: str, parameters: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        Rule.of(name, **parameters)
    assert message in str(caught.value)
    assert caught.value.hint == hint


@pytest.mark.parametrize("data", [3, None, {"epsilon": 1}, {"name": 4}, ["epsilon"]])
def test_what_is_no_rule_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="expected a rule's name or a mapping with 'name'"):
        Rule.from_data(data)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_yaml_and_fits_the_nets(name: str, tmp_path: Path) -> None:
    composite = Composite.load(name)
    assert composite.title
    assert composite.source
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(composite.to_data()), encoding="utf-8")
    assert Composite.load(file) == composite
    for make in NETS.values():
        graph = make()
        Program(graph, composite, bounds=(-1.0, 1.0))
        assert set(composite.assign(graph)) == {node.name for node in graph.nodes}


def test_composites_compare_by_value() -> None:
    assert Composite.load("epsilon") == Composite.load("epsilon", epsilon=1e-6) != Composite.load("epsilon", epsilon=1)


def test_everything_wrong_with_a_composite_is_said_at_once() -> None:
    data = {
        "name": "mine",
        "rowz": [],
        "start": "nothing",
        "parameters": {"gamma": 1},
        "rows": [
            {"match": {"op": "Convv", "depth": [0.5, 0.1]}, "rule": "zpluss"},
            {"match": {"opp": "Conv", "position": "middle"}, "rule": {"name": "gamma", "gamma": "$gama"}},
            {"match": {"name": 3, "after": 4}, "rule": {"name": "epsilon", "epsilom": 1}},
            {"rule": "epsilon"},
            {"match": "conv1", "rule": "epsilon"},
        ],
    }
    with pytest.raises(ConfigError) as caught:
        Composite.from_data(data, "mine.yaml", epsilon=1)
    message = str(caught.value)
    assert "\n" not in message
    for problem in (
        "mine.yaml: ",
        "unknown key 'rowz' (did you mean 'rows'?)",
        "it has no parameter 'epsilon'",
        "start: expected one of score, one, contrast, found 'nothing'",
        "row 1.match.op: unknown operator 'Convv' (did you mean 'Conv'?)",
        "row 1.match.depth: expected two fractions from 0 to 1 in order, found [0.5, 0.1]",
        "row 1: unknown rule 'zpluss' (did you mean 'zplus'?)",
        "row 2.match: unknown key 'opp' (did you mean 'op'?)",
        "row 2.match.position: expected 'first' or 'last', found 'middle'",
        "row 2: '$gama' is not declared under 'parameters'",
        "row 3.match.name: expected a name or a list of names, found 3",
        "row 3.match.after: expected a layer's name, found 4",
        "row 3: rule 'epsilon' has no parameter 'epsilom' (did you mean 'epsilon'?)",
        "row 4: expected 'match' and 'rule', found {'rule': 'epsilon'}",
        "row 5.match: expected a mapping of conditions, found 'conv1'",
    ):
        assert problem in message


@pytest.mark.parametrize("data", [None, [], {"name": "x"}, {"rows": []}, {"rows": {"match": {}}}])
def test_a_composite_needs_rows(data: Any) -> None:
    with pytest.raises(ConfigError, match="expected a mapping with a list under 'rows'"):
        Composite.from_data(data)


def test_loading_says_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown composite 'epsilon-pluss'") as caught:
        Composite.load("epsilon-pluss")
    assert caught.value.hint == "did you mean 'epsilon-plus'?"
    with pytest.raises(ConfigError, match=r"gone.yaml: cannot be read: No such file"):
        Composite.load(tmp_path / "gone.yaml")
    (tmp_path / "torn.yaml").write_text("rows: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"torn.yaml: not YAML"):
        Composite.load(tmp_path / "torn.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"bytes.yaml: cannot be read: not a text file"):
        Composite.load(tmp_path / "bytes.yaml")


def test_parameters_fill_rules_and_conditions() -> None:
    rows = [{"match": {"op": "Gemm", "until": "$switch"}, "rule": {"name": "gamma", "gamma": "$gamma"}}, WEIGHTED]
    data = {"parameters": {"gamma": 2, "switch": None}, "rows": rows}
    # a row whose condition is unset is left out
    assert [str(row.rule) for row in Composite.from_data(data).rows] == ["epsilon"]
    made = Composite.from_data(data, switch="fc1", gamma=5)
    assert made.rows[0] == Row(Match(op=("Gemm",), until="fc1"), Rule.of("gamma", gamma=5))


def test_one_rule_everywhere() -> None:
    graph = nets.vgg()
    rules = Composite.uniform("alpha-beta", alpha=1, beta=0).assign(graph)
    weighted = {node.name for node in graph.nodes if node.op in ("Conv", "Gemm")}
    assert {name for name, rule in rules.items() if rule == Rule.of("alpha-beta", alpha=1, beta=0)} == weighted
    with pytest.raises(ConfigError, match="rule 'route' does not apply to layers with weights"):
        Composite.uniform("route")


def matched(graph: Graph, **conditions: Any) -> set[str]:
    """The names of the nodes that match."""
    match, problems = Match.from_data(conditions, "match")
    assert not problems
    places = Places(graph)
    return {node.name for node in graph.nodes if match.matches(node, places)}


def test_matching() -> None:
    graph = nets.vgg()  # conv1 relu1 conv2 relu2 pool flat fc1 relu3 fc2
    everything = {node.name for node in graph.nodes}
    assert matched(graph) == everything
    assert matched(graph, op="Conv") == {"conv1", "conv2"}
    assert matched(graph, op=["Gemm", "MaxPool"]) == {"fc1", "fc2", "pool"}
    assert matched(graph, name="conv*") == {"conv1", "conv2"}
    assert matched(graph, name=["*1", "pool"]) == {"conv1", "relu1", "fc1", "pool"}
    assert matched(graph, name="CONV1") == set()
    assert matched(graph, op="Relu", name="*1") == {"relu1"}
    assert matched(graph, position="first") == {"conv1"}
    assert matched(graph, position="last") == {"fc2"}
    assert matched(graph, before="conv2") == {"conv1", "relu1"}
    assert matched(graph, until="conv2") == {"conv1", "relu1", "conv2"}
    assert matched(graph, after="fc1") == {"relu3", "fc2"}
    assert matched(graph, since="fc1") == {"fc1", "relu3", "fc2"}
    assert matched(graph, after="conv1", until="relu2") == {"relu1", "conv2", "relu2"}
    # four trained layers stand at 0, 1/3, 2/3 and 1
    assert matched(graph, depth=[0, 0.3]) == {"conv1", "relu1"}
    assert matched(graph, depth=[0.3, 0.7]) == {"conv2", "relu2", "pool", "flat", "fc1", "relu3"}
    assert matched(graph, depth=[1, 1]) == {"fc2"}


def test_first_and_last_in_branching_nets() -> None:
    net = Net()
    left = net.relu("relu", net.conv("left", "x", 4))
    deeper = net.conv("deeper", left, 3)
    right = net.conv("right", net.add("Sigmoid", "squashed", "x"), 3)
    joined = net.flatten("flat", net.add("Concat", "both", "x", deeper, right, axis=1))
    graph = canonise(net.finish(net.add("Sum", "sum", net.dense("a", joined, 2), net.dense("b", joined, 2))))
    assert matched(graph, position="first") == {"left", "right"}
    assert matched(graph, position="last") == {"a", "b"}
    assert matched(nets.inception(), position="first") == {"conv1"}


def test_the_first_row_that_matches_decides_and_prepended_rows_come_first() -> None:
    graph = nets.vgg()
    composite = Composite.load("epsilon-plus-flat").prepend([Row(Match(name=("conv1",)), Rule.of("wsquare"))])
    rules = {name: str(rule) for name, rule in composite.assign(graph).items()}
    assert rules == {
        "conv1": "wsquare",
        "conv2": "zplus",
        "fc1": "epsilon",
        "fc2": "epsilon",
        "pool": "route",
        "flat": "route",
        **dict.fromkeys(("relu1", "relu2", "relu3"), "pass"),
    }
    assert composite.name == "epsilon-plus-flat"


@pytest.mark.parametrize("key", ["before", "after", "until", "since"])
def test_a_condition_on_a_layer_that_is_not_there(key: str) -> None:
    composite = Composite.from_data({"rows": [{"match": {key: "conv9"}, "rule": "flat"}, WEIGHTED]})
    with pytest.raises(ConfigError, match=f"'{key}: conv9' names no node of 'net'") as caught:
        composite.assign(nets.vgg())
    assert caught.value.hint in {"did you mean 'conv1'?", "did you mean 'conv2'?"}


def test_a_glob_that_matches_nothing_is_a_mistake() -> None:
    rows = [{"match": {"name": ["conv1", "konv*"]}, "rule": "flat"}, WEIGHTED]
    with pytest.raises(ConfigError, match=r"composite 'mine': 'name: konv\*' matches no node"):
        Composite.from_data({"name": "mine", "rows": rows}).assign(nets.vgg())


def test_a_layer_without_a_rule_is_refused() -> None:
    composite = Composite.from_data({"name": "mine", "rows": [{"match": {"op": "Conv"}, "rule": "zplus"}]})
    with pytest.raises(UnsupportedError, match=r"composite 'mine' has no rule for node 'fc1' \(Gemm\)") as caught:
        composite.assign(nets.vgg())
    assert caught.value.hint == "add a row: {match: {op: Gemm}, rule: epsilon}"


def test_a_rule_that_does_not_apply_to_its_operator_is_refused() -> None:
    row = {"match": {"op": "MaxPool"}, "rule": "epsilon"}
    with pytest.raises(UnsupportedError, match=r"node 'pool' \(MaxPool\): rule 'epsilon' does not apply") as caught:
        Program(nets.vgg(), Composite.from_data({"rows": [row, WEIGHTED]}))
    assert caught.value.hint == "it takes: gradient, route"
    with pytest.raises(UnsupportedError, match=r"node 'fc2' \(Gemm\): rule 'route' does not apply"):
        Program(nets.vgg(), Composite.from_data({"rows": [{"match": {"name": "fc2"}, "rule": "route"}, WEIGHTED]}))


def test_zbox_belongs_to_the_layer_that_reads_pixels_and_needs_bounds() -> None:
    everywhere = Composite.uniform("zbox", low=-1, high=1)
    with pytest.raises(ConfigError, match="node 'fc2' does not"):
        Program(nets.vgg(), everywhere)
    with pytest.raises(ConfigError, match="rule 'zbox' needs the smallest and largest value of a pixel") as caught:
        Program(nets.vgg(), Composite.load("deep-taylor"))
    assert "--set low=" in (caught.value.hint or "")
    Program(nets.vgg(), Composite.load("deep-taylor", low=-1, high=1))
    Program(nets.vgg(), Composite.load("deep-taylor", low=[-1, -1, -2], high=[1, 1, 2]))


def test_zbox_reads_the_bounds_through_a_flatten() -> None:
    net = Net()
    graph = canonise(net.finish(net.dense("fc", net.flatten("flat", "x"), 5)))
    low, high = np.array([-1.0, -2, -3]).reshape(3, 1, 1), np.array([1.0, 4, 2]).reshape(3, 1, 1)
    program = Program(graph, Composite.load("deep-taylor"), bounds=(low, high))
    x = np.random.default_rng(0).uniform(low, high, (2, 3, 7, 6)).astype(np.float32)
    r = np.zeros((2, 5), np.float32)
    r[:, 2] = 1
    found = program.backward(program.forward(x), r)["x"]
    weight = graph.constants["fc/weight"].astype(float)
    spread = [np.broadcast_to(bound, (3, 7, 6)).ravel() for bound in (low, high)]
    wanted = [
        oracle.zbox(weight, item.ravel().astype(float), None, row, *spread) for item, row in zip(x, r, strict=True)
    ]
    np.testing.assert_allclose(found.reshape(2, -1), wanted, atol=1e-6)


def test_alpha_and_beta_say_each_other() -> None:
    assert Rule.of("alpha-beta", alpha=3) == Rule.of("alpha-beta", alpha=3, beta=2)
    assert Rule.of("alpha-beta", beta=0) == Rule.of("alpha-beta", alpha=1, beta=0)
    assert Composite.uniform("alpha-beta", alpha=1).rows[0].rule.shares == Rule.of("alpha-beta", alpha=1, beta=0).shares


def test_a_composite_tells_and_keeps_its_parameters() -> None:
    plain, changed = Composite.load("epsilon"), Composite.load("epsilon", epsilon=0.5)
    assert (str(plain), str(changed)) == ("epsilon", "epsilon(epsilon=0.5)")
    assert str(Composite.load("epsilon", epsilon="1e-6")) == "epsilon"
    switched = Composite.load("toolbox-102", switch="conv1")
    assert switched.to_data()["parameters"] == {"epsilon": 0.01, "alpha": 1, "beta": 0, "switch": "conv1"}
    assert Composite.from_data(switched.to_data()).rows == switched.rows
    # The row whose condition is not set is gone from the rules, not from the file to start one's own from.
    unset = Composite.load("toolbox-102")
    assert len(unset.rows) == len(switched.rows) - 1
    assert unset.to_data()["rows"] == switched.to_data()["rows"]


@pytest.mark.parametrize("key", ["cls", "where", "data", "name_or_path", "rule"])
def test_no_parameter_collides_with_an_argument(key: str) -> None:
    with pytest.raises(ConfigError, match=f"no parameter '{key}'"):
        Composite.load("epsilon", **{key: 1})
    if key != "rule":
        with pytest.raises(ConfigError, match=f"no parameter '{key}'"):
            Composite.uniform("epsilon", **{key: 1})


@pytest.mark.parametrize("text", ["rows: 2020-13-45", "[" * 5000, "rows: [1]\nrows: [2]", "{1: 2, b: ["])
def test_what_is_no_yaml_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not YAML") as caught:
        Composite.load(file)
    assert "\n" not in caught.value.message


def test_names_of_any_type_and_length_are_unknown_not_a_crash() -> None:
    for name in (3, "x" * 300, "../epsilon", ""):
        with pytest.raises(ConfigError, match="unknown composite"):
            Composite.load(name)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="it has no parameter 'x'"):
        Composite.from_data({"rows": [WEIGHTED], "parameters": {1: 2, "b": 3}}, x=1)


def test_bounds_have_to_fit_the_channels() -> None:
    with pytest.raises(ConfigError, match="expected one bound or 3, one per channel, found 2"):
        Program(nets.vgg(), Composite.load("deep-taylor", low=[-1, -1], high=[1, 1]))
