"""The command line as a whole: usage, help, listings, what it imports, and how it behaves in a pipe."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

from lrptool.cli.main import cli
from lrptool.cli.options import COLOUR_MAPS
from lrptool.cli.sources import Failure, Source, in_batches
from lrptool.errors import InputError
from lrptool.imaging.colormap import COLORMAPS
from lrptool.rules import CATALOGUE, Composite, preset_names
from lrptool.version import VERSION
from tests.command import DIGIT, EIGHT, lenet, listing, run
from tests.conftest import ROOT

COMMANDS = (
    *("explain", "batch", "render", "predict", "inspect", "check", "convert"),
    *("models", "rules", "composites"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Missing argument 'IMAGE...'"),
        ((DIGIT, EIGHT, "-o", "-"), "-o - takes one picture and one target"),
        ((DIGIT, EIGHT, "-o", "-", "--batch-size", "1"), "-o - takes one picture and one target"),
        ((DIGIT, "-o", "-", "--top", "2"), "-o - takes one picture and one target"),
        ((DIGIT, "-o", "-", "--save", "png,npy"), "-o - takes one format"),
        ((DIGIT, "-o", "-", "--json"), "-o - and --json both write to stdout"),
        ((DIGIT, "-o", "-", "--overlay", "--panel"), "-o - takes one picture: --overlay or --panel"),
        ((DIGIT, "-o", "x.npy", "--save", "png"), "-o x.npy is a .npy, but --save asks for png"),
        ((DIGIT, "-o", "{stm}.png"), "unknown field {stm}, known: {stem}"),
        ((DIGIT, "-o", "{stem"), "expected '}' before end of string"),
        ((DIGIT, "-o", "{index:05d}"), "fields are bare names: {stem}, {target}"),
        ((DIGIT, "-o", "{stem:>{index}}"), "fields are bare names"),
        ((DIGIT, "-o", "{stem!r}"), "fields are bare names"),
        ((DIGIT, "-o", "{stem.__class__}"), "unknown field {stem.__class__}"),
        ((DIGIT, "-o", "heat.jpg"), "heat.jpg: expected .png, .npy, .npz, .json or a folder"),
        ((DIGIT, "-o", "{stem}.JPG"), "expected .png, .npy, .npz, .json or a folder"),
        ((DIGIT, "-o", ""), "expected a folder, a file or a pattern, found ''"),
        ((DIGIT, "-o", "x.png", "--top", "3"), "-o with a plain file name takes one picture and one target"),
        ((DIGIT, "-o", "x.npy", "-t", "3", "-t", "8"), "takes one picture and one target"),
        ((DIGIT, EIGHT, "-o", "x.png"), "takes one picture and one target"),
        ((DIGIT, "missing.png", "-o", "x.png", "--batch-size", "1"), "takes one picture and one target"),
        ((DIGIT, "-w", ""), "expected a name or a file, found nothing"),
        ((DIGIT, "--raw-scale", "nan"), "expected a finite number, found 'nan'"),
        ((DIGIT, "--input-scale", "1e39"), "expected a finite number"),
        ((DIGIT, "--mean", "1,inf"), "expected finite numbers, found '1,inf'"),
        ((DIGIT, "--percentile", "nan"), "expected a finite number"),
        ((DIGIT, "--save", "gif"), "expected some of png, npy, npz, json, found 'gif'"),
        ((DIGIT, "--save", ""), "found nothing"),
        ((DIGIT, "--top", "2", "-t", "3"), "--top and --target exclude each other"),
        ((DIGIT, "-c", "epsilon", "--rule", "epsilon"), "--composite and --rule exclude each other"),
        ((DIGIT, "--epsilon", "1"), "--epsilon goes with --rule or --composite"),
        ((DIGIT, "--rule", "epsilon", "--set", "gamma"), "expected KEY=VALUE, found 'gamma'"),
        ((DIGIT, "--start", "two"), "'two' is not one of 'score', 'one', 'contrast'"),
        ((DIGIT, "--traget", "3"), "--target"),
    ],
)
def test_usage(args: tuple[object, ...], message: str) -> None:
    done = run("explain", *args, "-m", "lenet")
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("Usage: ")
    assert message in done.err
    assert listing(Path()) == []


def test_no_model_at_all() -> None:
    for name in ("explain", "predict"):
        done = run(name, DIGIT, "-m", "")
        assert (done.code, done.out) == (2, b"")
        assert "expected a name or a file, found nothing" in done.err


@pytest.mark.parametrize("size", [1, 8])
def test_an_array_of_several_for_one_file(size: int) -> None:
    np.save("two.npy", lenet().read([DIGIT, EIGHT]))
    done = run("explain", "two.npy", "-m", "lenet", "-o", "x.png", "--batch-size", size)
    assert (done.code, done.out, listing(Path())) == (2, b"", ["two.npy"])
    assert "takes one picture and one target" in done.err


@pytest.mark.parametrize("key", ["rule", "cls", "where", "name", "data", "self", "name_or_path"])
def test_parameters_called_like_ours(key: str) -> None:
    rule = run("explain", DIGIT, "-m", "lenet", "--rule", "epsilon", "--set", f"{key}=1")
    composite = run("explain", DIGIT, "-m", "lenet", "-c", "epsilon", "--set", f"{key}=1")
    for done in (rule, composite):
        assert (done.code, done.out) == (6, b"")
        assert f"no parameter '{key}'" in done.err


def test_settings_that_are_no_yaml() -> None:
    done = run("explain", DIGIT, "-m", "lenet", "--rule", "epsilon", "--set", "epsilon=[1")
    assert (done.code, done.out) == (6, b"")
    assert done.err.startswith("lrptool: error: --set epsilon: not YAML: ")


def test_an_unknown_command() -> None:
    done = run("explian", DIGIT)
    assert (done.code, done.out) == (2, b"")
    assert "No such command 'explian' (did you mean 'explain'?)" in done.err


def command(name: str) -> click.Command:
    """One of the commands."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str) -> None:
    done = run(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert run(name, "-h").out == done.out
    assert done.text.startswith(f"Usage: lrptool {name} ")
    options = [option for option in command(name).params if isinstance(option, click.Option)]
    for option in options:
        assert option.help, option.name
        assert max(option.opts, key=len) in done.text


def test_help_and_version_of_the_whole() -> None:
    done = run("--help")
    assert done.code == 0
    listed = re.findall(r"^  (\w+)  +\S", done.text.split("Commands:")[1], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert "…" not in done.text
    assert "..." not in done.text.split("Commands:")[1]
    commands = done.text.split("Commands:\n")[1].splitlines()
    assert len(commands) == len(COMMANDS)
    assert max(map(len, commands)) <= 80
    assert run("--version").text == f"lrptool, version {VERSION}\n"


def _part(name: str, rest: str) -> click.Command:
    """The command that a group's name and the next word stand for; the command itself where it is no group."""
    found = command(name)
    if not isinstance(found, click.Group):
        return found
    part = found.get_command(click.Context(found), rest.split(maxsplit=1)[0])
    assert part is not None, f"lrptool {name}{rest}"
    return part


def test_the_readme_speaks_of_commands_and_options_that_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    blocks = "\n".join(re.findall(r"```\n(.*?)```", text, re.DOTALL))
    shown = re.findall(r"lrptool (\w+)(.*)", blocks)
    assert {name for name, _ in shown} == set(COMMANDS)
    for name, rest in shown:
        known = {opt for one in (command(name), _part(name, rest)) for option in one.params for opt in option.opts}
        for option in re.findall(r"(?<= )--?[a-z][\w-]*", re.split(r"[|#>]", rest)[0]):
            assert option in known, f"lrptool {name} {option}"
    parts = {rest.split()[0] for name, rest in shown if name == "models"}
    group = command("models")
    assert isinstance(group, click.Group)
    assert parts == set(group.list_commands(click.Context(group)))
    commands = [*map(command, COMMANDS), *(_part("models", part) for part in parts)]
    known = {opt for one in commands for option in one.params for opt in option.opts}
    known = {opt for opt in known if opt.startswith("--")}
    assert known <= set(re.findall(r"--[a-z][\w-]*", text))
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) == set(targets)
    assert set(COLORMAPS) == set(COLOUR_MAPS) <= set(re.findall(r"`([\w-]+)`", text))
    known = {opt for option in command("explain").params for opt in option.opts}
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `--"))
    assert len(set(re.findall(r"--[a-z][\w-]*", table))) > 15
    assert set(re.findall(r"--[a-z][\w-]*", table)) <= known


HEAVY = """
import sys
from lrptool.cli import main
def refuse():
    found = {"numba", "onnx", "onnxruntime", "numpy", "google.protobuf", "PIL", "yaml"} & set(sys.modules)
    if found:
        sys.exit(f"imported: {found}")
import lrptool
lrptool.__version__, dir(lrptool)
refuse()
for args in ARGS:
    try:
        main(args)
    except SystemExit as stop:
        assert stop.code == 0
    refuse()
"""


def test_help_imports_nothing_heavy() -> None:
    calls = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    done = subprocess.run(
        [sys.executable, "-c", HEAVY.replace("ARGS", repr(calls))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == len(calls) - 1


def test_help_takes_a_fifth_of_a_second() -> None:
    def seconds() -> float:
        # Time of the processor, not of the clock: other tests run beside this one.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "lrptool", "--help"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.2


def test_rules_as_json() -> None:
    (everything,) = run("rules", "--json").records
    assert list(everything) == list(CATALOGUE)
    (one,) = run("rules", "zbox", "--json").records
    assert one == {"zbox": everything["zbox"]}
    assert run("rules", "zplu", "--json").code == 6


def test_rules() -> None:
    done = run("rules")
    assert (done.code, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0].split()[0] == "rule"
    assert [line.split()[0] for line in lines[1 : 1 + len(CATALOGUE)]] == list(CATALOGUE)
    assert "\x1b" not in done.text


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_rule_is_explained(name: str) -> None:
    done = run("rules", name)
    assert (done.code, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0] == name
    headings = [line for line in lines if not line.startswith(" ")][1:]
    assert set(headings) <= {"What it does", "Use it for", "Formula", "Parameters", "Source"}
    assert {"What it does", "Formula", "Source"} <= set(headings) or not CATALOGUE[name].source
    for parameter in CATALOGUE[name].parameters:
        assert f"  {parameter} (default " in done.text


def test_defaults_of_a_rule_are_told_apart() -> None:
    said = run("rules", "alpha-beta").text
    for line in ("  alpha (default 2): ", "  beta (default 1): ", "  clip (default no): ", "  bias (default yes): "):
        assert line in said


def test_parameters_of_a_composite() -> None:
    lines = run("composites", "epsilon-gamma-box").text.splitlines()
    place = lines.index("Parameters")
    assert lines[place + 1 : place + 5] == [
        "  epsilon (default 1e-06)", "  gamma (default 0.25)", "  low (default none)", "  high (default none)",
    ]  # fmt: skip


def test_failures_come_at_once_and_batches_stay_full() -> None:
    seen: list[int] = []
    item = Source("x", "x", np.zeros((1, 1, 2, 3), np.float32), None)
    failure = Failure("y", InputError("no"))

    def inputs() -> Iterator[Source | Failure]:
        for k, one in enumerate([item, failure, item, failure, item]):
            seen.append(k)
            yield one

    batches = in_batches(inputs(), 2)
    assert next(batches) is failure
    assert seen == [0, 1]
    assert [one if one is failure else len(one) for one in batches] == [2, failure, 1]


def test_composites() -> None:
    lines = run("composites").text.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(preset_names())]] == list(preset_names())
    (data,) = run("composites", "--json").records
    assert [one["name"] for one in data] == list(preset_names())  # type: ignore[index]


@pytest.mark.parametrize("name", preset_names())
def test_a_composite_is_explained_and_survives_its_own_yaml(folder: Path, name: str) -> None:
    preset = Composite.load(name)
    said = run("composites", name)
    assert (said.code, said.text.splitlines()[0]) == (0, name)
    assert said.text.count("  →  ") == len(preset.rows)
    written = run("composites", name, "--yaml")
    (folder / "mine.yaml").write_bytes(written.out)
    assert yaml.safe_load(written.out)["name"] == name
    assert Composite.load("mine.yaml") == preset
    assert run("composites", "mine.yaml").out == said.out
    (data,) = run("composites", name, "--json").records
    assert Composite.from_data(data) == preset


@pytest.mark.parametrize(("what", "word", "near"), [("rules", "zplu", "zplus"), ("composites", "lrpcmp", "lrp-cmp")])
def test_names_nobody_knows(what: str, word: str, near: str) -> None:
    done = run(what, word)
    assert (done.code, done.out) == (6, b"")
    assert done.err == f"lrptool: error: unknown {what[:-1]} '{word}'\n  hint: did you mean '{near}'?\n"


def many(folder: Path, count: int) -> Path:
    """An array of many pictures, so that a command has something to do for a while."""
    np.save(folder / "many.npy", np.broadcast_to(lenet().read(EIGHT), (count, 1, 28, 28)))
    return folder / "many.npy"


def test_a_reader_who_leaves_is_no_error(folder: Path) -> None:
    # 4000 lines are far more than a pipe holds.
    args = [sys.executable, "-m", "lrptool", "predict", str(many(folder, 4000)), "-m", "lenet"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    assert first.startswith(f"{folder / 'many.npy'}[0]".encode())


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "args", [("--help",), ("rules",), ("predict", DIGIT, "-m", "lenet"), ("explain", DIGIT, "-m", "lenet", "-o", "-")]
)
def test_a_stdout_that_takes_nothing(folder: Path, args: tuple[object, ...], unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not here")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lrptool", *map(str, args)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    said = done.stderr.replace("note: compiling kernels (once)\n", "")
    assert (done.returncode, said) == (9, "lrptool: error: stdout: cannot be written: No space left on device\n")


def test_ctrl_c(folder: Path) -> None:
    # A shell that starts jobs in the background has them ignore SIGINT; they would not hear ours.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import lrptool.cli as c; c.main()"
    args = [sys.executable, "-c", start, "explain", str(many(folder, 2000)), "-m", "lenet", "-o", "out"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read().decode()
        assert process.wait(60) == 130
    assert "lrptool: interrupted" in said
    assert "Traceback" not in said
    left = listing(folder / "out")
    assert 0 < len(left) < 2000
    assert all(name.endswith(".png") for name in left)
