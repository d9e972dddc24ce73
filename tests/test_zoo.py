"""Named models: what a card may say, where files are looked for, and which class a word means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lrptool.errors import ConfigError, InputError, ModelError
from lrptool.resources import bundled
from lrptool.zoo import (
    Card,
    File,
    Labels,
    Output,
    all_cards,
    find_file,
    locate,
    models_path,
    read_card,
    read_label_file,
)
from lrptool.zoo.store import user_models
from tests.command import LENET


@pytest.fixture(autouse=True)
def no_models_path(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs the tests may have a path of their own."""
    monkeypatch.delenv("LRPTOOL_MODELS", raising=False)
    monkeypatch.setenv("LRPTOOL_CACHE", str(tmp_path_factory.mktemp("cache")))


def card(folder: Path, name: str | None = None, **changes: Any) -> Path:
    """Write a card into the folder; a change to None leaves the key out."""
    data = {
        "name": name or folder.name,
        "files": {"architecture": "deploy.prototxt", "weights": "net.caffemodel"},
        "preprocess": {"size": [5, 7]},
    }
    data = {key: value for key, value in (data | changes).items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def files(folder: Path, *names: str) -> Path:
    """Make empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_what_a_card_says(tmp_path: Path) -> None:
    preprocess = {
        "size": [5, 7], "resize": 9, "mode": "shortest", "channels": "RGB", "raw_scale": 1, "mean": [1, 2.5, 3],
        "scale": 0.5, "std": [1, 2, 3], "invert": True, "fit": None,
    }  # fmt: skip
    path = card(
        tmp_path / "net",
        aliases=["n", "m"],
        preprocess=preprocess,
        labels=["a", "b"],
        notes="two\n  lines\n",
        accuracy=99,
    )
    found = read_card(path)
    assert (found.name, found.path, found.aliases) == ("net", path, ("n", "m"))
    assert (found.architecture, found.weights) == ("deploy.prototxt", "net.caffemodel")
    ours = found.preprocess
    assert (ours.size, ours.resize, ours.mode, ours.channels) == ((5, 7), 9, "shortest", "RGB")
    assert (ours.raw_scale, ours.mean, ours.scale, ours.std) == (1, (1, 2.5, 3), 0.5, (1, 2, 3))
    assert (ours.invert, ours.fit) == (True, None)
    assert (found.labels, found.notes, found.accuracy) == (("a", "b"), "two lines", "99")
    assert found.files == (File("deploy.prototxt"), File("net.caffemodel"))
    assert (found.output, found.variant_of, found.size) == (Output(), None, None)


def test_everything_wrong_with_a_card_is_said_at_once(tmp_path: Path) -> None:
    path = card(
        tmp_path / "net", name="../net", titel="x", aliases="n", default_composite=["x"],
        files={"architecture": "a/deploy.prototxt", "wheights": "w"}, output={"kind": "scores"}, archives=["net.rar"],
        preprocess={"size": [5], "mode": "crop", "channels": "GBR", "scale": "big", "invert": "maybe", "sise": 3},
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        read_card(path)
    message = caught.value.message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for mistake in (
        "card: unknown key 'titel' (did you mean 'title'?)",
        "card.name: expected a name, found '../net'",
        "card.aliases: expected a list of names, found 'n'",
        "card.default_composite: expected a composite's name, found ['x']",
        "files.architecture.name: expected a file name, found 'a/deploy.prototxt'",
        "files: unknown key 'wheights' (did you mean 'weights'?)",
        "files: 'weights' is missing, expected a file name or a mapping",
        "output.kind: expected softmax, logits, multilabel or regression, found 'scores'",
        "archives[0].name: expected a file name in .tar.gz, .tgz, .tar, .zip, found 'net.rar'",
        "preprocess.size: expected [height, width], found [5]",
        "preprocess.mode: expected squash or shortest, found 'crop'",
        "preprocess.channels: expected BGR, RGB or GRAY, found 'GBR'",
        "preprocess.scale: expected a number, found 'big'",
        "preprocess.invert: expected true, false or auto, found 'maybe'",
        "preprocess: unknown key 'sise' (did you mean 'size'?)",
    ):
        assert mistake in message, mistake


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "not YAML: "),
        (b"\xff\xfe", "cannot be read: not a text file"),
        (b"", "card: expected a mapping, found None"),
        (b"- a\n- b\n", "card: expected a mapping, found ['a', 'b']"),
        (b"name: x\nfiles: 3\n", "files: expected a mapping, found 3"),
    ],
)
def test_cards_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "card.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_card(tmp_path / "card.yaml")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_card(tmp_path / "missing.yaml")


HUGE = 10**400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {"architecture": "", "weights": "b"}}, "files.architecture.name: expected a file name, found ''"),
        ({"files": {"architecture": "..", "weights": "b"}}, "files.architecture.name: expected a file name"),
        ({"files": {"architecture": "a" * 256, "weights": "b"}}, "files.architecture.name: expected a file name"),
        ({"files": {"architecture": "a\0", "weights": "b"}}, "files.architecture.name: expected a file name"),
        ({"preprocess": {"size": [5, 7], "scale": HUGE}}, "preprocess.scale: expected a number, found 1000"),
        ({"preprocess": {"size": [5, 7], "raw_scale": 1e39}}, "preprocess.raw_scale: expected a number"),
        ({"preprocess": {"size": [5, 7], "std": [1.0, float("nan")]}}, "preprocess.std: expected one number per"),
        ({"preprocess": {"size": [5, 7], "mean": [float("inf")]}}, "preprocess.mean: expected one number per"),
        ({"preprocess": {"size": [5, HUGE]}}, "preprocess.size: expected [height, width], found [5, 1000"),
        ({"preprocess": {"size": {5: 1, 7: 2}}}, "preprocess.size: expected [height, width]"),
        ({"preprocess": {"size": [5, 7], "resize": 20_000}}, "preprocess.resize: expected a side"),
    ],
)
def test_values_that_no_card_can_have(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_card(card(tmp_path / "net", **changes))
    assert message in caught.value.message
    assert len(caught.value.message) < len(str(tmp_path)) + 250


def test_a_card_with_mistakes_is_left_out_until_it_is_wanted(tmp_path: Path) -> None:
    card(tmp_path / "bad", titel="x")
    files(tmp_path / "good", "deploy.prototxt", "net.caffemodel")
    card(tmp_path / "good", aliases=["fine"])
    assert "good" in all_cards(tmp_path)
    assert "bad" not in all_cards(tmp_path)
    for name in ("good", "fine"):
        assert _card(locate(name, models_dir=tmp_path)).name == "good"
    with pytest.raises(ConfigError, match="unknown key 'titel'"):
        locate("bad", models_dir=tmp_path)
    # Where an earlier folder has a good one, the bad one is not looked at.
    card(tmp_path / "first" / "bad")
    files(tmp_path / "first" / "bad", "deploy.prototxt", "net.caffemodel")
    both = os.pathsep.join([str(tmp_path / "first"), str(tmp_path)])
    assert _card(locate("bad", models_dir=both)).name == "bad"


def test_where_models_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_path() == (user_models(), bundled("models"))
    a, b, c, d = (tmp_path / letter for letter in "abcd")
    a.mkdir()
    b.mkdir()
    monkeypatch.setenv("LRPTOOL_MODELS", os.pathsep.join([str(c), "", str(d)]))
    assert models_path(os.pathsep.join([str(a), str(b)])) == (a, b, c, d, user_models(), bundled("models"))
    # The first that has it counts.
    for folder in (d, b):
        card(folder / "net")
        files(folder / "net", "deploy.prototxt", "net.caffemodel")
        found = locate("net", models_dir=os.pathsep.join([str(a), str(b)]))
        assert (found.architecture, found.weights) == (folder / "net/deploy.prototxt", folder / "net/net.caffemodel")


def test_a_card_of_ours_goes_before_the_bundled_one(tmp_path: Path) -> None:
    card(tmp_path / "lenet", title="mine")
    files(tmp_path / "lenet", "deploy.prototxt", "net.caffemodel")
    assert _card(locate("lenet", models_dir=tmp_path)).title == "mine"
    assert _card(locate("lenet")).title != "mine"


def test_a_bundled_card_finds_its_files_on_the_models_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"model 'squeezenet_v1\.0' is not here: 5\.0 MB, deploy\.prototxt \("):
        locate("squeezenet")
    folder = files(tmp_path / "squeezenet_v1.0", "deploy.prototxt")
    with pytest.raises(ModelError, match=r"is not here: 5\.0 MB, squeezenet_v1\.0\.caffemodel \("):
        locate("squeezenet", models_dir=tmp_path)
    # Weights of the caller's make up for the missing ones.
    assert locate("squeezenet", "random:3", tmp_path).weights == "random:3"
    files(folder, "squeezenet_v1.0.caffemodel")
    monkeypatch.setenv("LRPTOOL_MODELS", str(tmp_path))
    for name in ("squeezenet", "squeezenet_v1.0"):
        found = locate(name)
        assert found.architecture == folder / "deploy.prototxt"
        assert found.weights == folder / "squeezenet_v1.0.caffemodel"
        assert _card(found).name == "squeezenet_v1.0"


def _card(found: Any) -> Card:
    """The card of what was found."""
    assert found.card is not None
    return found.card


def test_files_and_folders(tmp_path: Path) -> None:
    bare = files(tmp_path / "bare", "net.prototxt", "net.caffemodel")
    for what in (bare, str(bare), bare / "net.prototxt"):
        found = locate(what)
        # The loader looks for the weights beside it.
        assert (found.architecture, found.weights, found.card) == (bare / "net.prototxt", None, None)
    found = locate("bare", models_dir=tmp_path)
    assert found.architecture == bare / "net.prototxt"
    alone = locate(bare / "net.caffemodel")
    assert (alone.architecture, alone.weights, alone.card) == (None, bare / "net.caffemodel", None)
    other = files(tmp_path, "other.caffemodel") / "other.caffemodel"
    assert locate(bare / "net.prototxt", other).weights == other
    assert locate(bare, "random").weights == "random"


def test_a_card_beside_a_file_counts_when_it_speaks_of_it(tmp_path: Path) -> None:
    card(tmp_path / "net")
    folder = files(tmp_path / "net", "deploy.prototxt", "net.caffemodel", "other.prototxt", "other.caffemodel")
    for name in ("deploy.prototxt", "net.caffemodel"):
        found = locate(folder / name)
        assert (found.architecture, found.weights) == (folder / "deploy.prototxt", folder / "net.caffemodel")
        assert _card(found).name == "net"
    assert locate(folder / "other.prototxt").card is None
    alone = locate(folder / "other.caffemodel")
    assert (alone.architecture, alone.weights, alone.card) == (None, folder / "other.caffemodel", None)


def test_a_copy_of_a_known_folder_without_its_card_is_known_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "lenet"
    folder.mkdir()
    for name in ("deploy.prototxt", "lenet.caffemodel"):
        shutil.copy(LENET / name, folder)
    found = locate(folder)
    assert found.architecture == folder / "deploy.prototxt"
    assert _card(found).name == "lenet"


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ("lenett", "unknown model 'lenett'", "did you mean 'lenet'?"),
        ("mnis", "unknown model 'mnis'", "did you mean 'mnist'?"),
        ("x.prototxt", "x.prototxt: no such file", "a folder or a name"),
        ("a/b", "a/b: no such file", "a folder or a name"),
        ("", "expected a model's name or a path, found nothing", ""),
    ],
)
def test_models_that_are_not_there(model: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        locate(model)
    assert caught.value.message == message
    assert hint in (caught.value.hint or "")


def test_folders_that_do_not_say_which_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a card\.yaml or one \.prototxt or \.onnx, found 0"):
        locate(tmp_path)
    files(tmp_path, "a.prototxt", "b.prototxt")
    with pytest.raises(ModelError, match=r"found 2 \.prototxt") as caught:
        locate(tmp_path)
    assert caught.value.hint == "name the file itself"
    with pytest.raises(ModelError, match=r"no\.caffemodel: no such file"):
        locate(tmp_path / "a.prototxt", tmp_path / "no.caffemodel")


def test_label_files(tmp_path: Path) -> None:
    found = read_card(card(tmp_path / "net", labels="words.txt"))
    with pytest.raises(ConfigError, match=r"labels: no file 'words\.txt' beside the card or among the bundled ones"):
        read_label_file(found)
    folder = files(tmp_path / "labels")
    (folder / "words.txt").write_text("one\ntwo\n")
    assert read_label_file(found) == ("one", "two")
    # The file beside the card goes before the shared one; empty lines are none.
    (tmp_path / "net" / "words.txt").write_text("eins\n\n zwei \n")
    assert read_label_file(found) == ("eins", "zwei")
    assert read_label_file(read_card(card(tmp_path / "bare"))) is None
    (tmp_path / "net" / "words.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match=r"words\.txt: cannot be read: not a .*text file"):
        read_label_file(found)
    assert find_file("words.txt", [tmp_path, folder]) == folder / "words.txt"
    assert find_file("words.txt", [tmp_path]) is None


def test_labels_without_words() -> None:
    for labels in (Labels.of(None, 3), Labels.of(["a", "b"], 3)):
        assert (labels.name(2), labels.synset(2), labels.find("2")) == ("2", None, 2)
        with pytest.raises(InputError, match="class names are not known") as caught:
            labels.find("a")
        assert "--labels" in (caught.value.hint or "")


def test_labels_with_synsets() -> None:
    labels = Labels.of(["n01443537 goldfish, Carassius auratus", "n02123045 tabby, tabby cat", "n02113799 toy"], 3)
    assert (labels.name(0), labels.synset(0)) == ("goldfish", "n01443537")
    for word in ("goldfish", "GOLD", "carassius auratus", "Carass", "n01443537", "0", " goldfish "):
        assert labels.find(word) == 0
    # A whole name goes before the beginnings of several.
    assert labels.find("tabby") == 1
    with pytest.raises(InputError, match=r"target 't' means 2 classes: tabby \(1\), toy \(2\)"):
        labels.find("t")
    # One line without an id, and none of them is one.
    assert Labels.of(["n01443537 goldfish", "tabby"], 2).name(0) == "n01443537 goldfish"


def test_a_folder_that_is_not_there_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lenet", "nowhere", LENET):
        with pytest.raises(ModelError, match=r"--models-dir: .*/nowhere: no such folder"):
            locate(name, models_dir=tmp_path / "nowhere")
    # A variable may name folders that are not there at the moment.
    monkeypatch.setenv("LRPTOOL_MODELS", str(tmp_path / "nowhere"))
    assert _card(locate("lenet")).name == "lenet"


@pytest.mark.parametrize("ending", [".caffemodel.h5", ".h5"])
def test_weights_in_hdf5_are_found(tmp_path: Path, ending: str) -> None:
    folder = files(tmp_path / "net", f"net{ending}")
    for model in (folder, folder / f"net{ending}"):
        found = locate(model)
        assert (found.architecture, found.weights) == (None, folder / f"net{ending}")
    with pytest.raises(ModelError, match=rf"other{ending}: no such file"):
        locate(f"other{ending}")
    files(folder, f"other{ending}")
    with pytest.raises(ModelError, match=rf"found 2 \.caffemodel or \.h5: net{ending}, other{ending}"):
        locate(folder)
    (folder / f"other{ending}").unlink()
    mine = files(tmp_path / "vgg16", "deploy.prototxt", f"mine{ending}")
    # The loader looks for the weights beside it.
    assert locate("vgg16", models_dir=tmp_path).architecture == mine / "deploy.prototxt"
    files(folder, "deploy.prototxt")
    card(folder, files={"architecture": "deploy.prototxt", "weights": f"net{ending}"})
    assert locate("net", models_dir=tmp_path).weights == folder / f"net{ending}"


def test_the_users_folder_comes_before_the_bundled_one(tmp_path: Path) -> None:
    folder = files(user_models() / "squeezenet_v1.0", "deploy.prototxt", "squeezenet_v1.0.caffemodel")
    assert locate("squeezenet").architecture == folder / "deploy.prototxt"
    mine = files(tmp_path / "squeezenet_v1.0", "deploy.prototxt", "squeezenet_v1.0.caffemodel")
    assert locate("squeezenet", models_dir=tmp_path).architecture == mine / "deploy.prototxt"


def test_a_copy_of_a_known_model_whose_files_have_other_names(tmp_path: Path) -> None:
    folder = files(tmp_path / "vgg16", "deploy.prototxt")
    with pytest.raises(ModelError, match="model 'vgg16' is not here"):
        locate("vgg16", models_dir=tmp_path)
    assert locate("vgg16", "random", tmp_path).architecture == folder / "deploy.prototxt"
    files(folder, "mine.caffemodel")
    found = locate("vgg16", models_dir=tmp_path)
    # The loader looks for the weights beside it.
    assert (found.architecture, found.weights) == (folder / "deploy.prototxt", None)
    assert _card(found).name == "vgg16"


def test_what_is_missing_is_obtained(tmp_path: Path) -> None:
    asked = []

    def obtain(of: Card, missing: Any) -> None:
        asked.append((of.name, [file.name for file in missing]))
        files(user_models() / of.name, *(file.name for file in missing))

    found = locate("squeezenet", obtain=obtain)
    assert asked == [("squeezenet_v1.0", ["deploy.prototxt", "squeezenet_v1.0.caffemodel"])]
    assert found.weights == user_models() / "squeezenet_v1.0" / "squeezenet_v1.0.caffemodel"
    locate("squeezenet", obtain=obtain)
    assert len(asked) == 1
