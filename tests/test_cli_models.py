"""`lrptool models`: list, info, where, fetch, verify, import, remove, add."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lrptool.errors import ExitCode
from lrptool.zoo import Card, File, Preprocess
from lrptool.zoo.store import user_models
from tests.command import DIGIT, LENET, Result, listing, run
from tests.mirror import Mirror, facts, mirror, write_card
from tests.test_fetch_archives import zipped

PROTOTXT = (LENET / "deploy.prototxt").read_bytes()
WEIGHTS = (LENET / "lenet.caffemodel").read_bytes()


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRPTOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("LRPTOOL_MODELS", raising=False)
    monkeypatch.delenv("LRPTOOL_OFFLINE", raising=False)


@pytest.fixture
def server() -> Iterator[Mirror]:
    with mirror() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the two files of lenet under other names."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "deploy.prototxt").write_bytes(PROTOTXT)
    (folder / "net.caffemodel").write_bytes(WEIGHTS)
    return folder


def models(*args: object) -> Result:
    """Run a command of the group."""
    return run("models", *args)


def known(tmp_path: Path, server: Mirror | None = None, **changes: Any) -> Path:
    """A card of lenet's files in a folder of models that is then looked through; return that folder."""
    urls = [server.serve("/net", WEIGHTS)] if server else ["https://host/net.caffemodel"]
    proto = [server.serve("/proto", PROTOTXT)] if server else ["https://host/deploy.prototxt"]
    files = {
        "architecture": {"name": "deploy.prototxt", **facts(PROTOTXT, *proto)},
        "weights": {"name": "net.caffemodel", **facts(WEIGHTS, *urls)},
    }
    write_card(tmp_path / "cards" / "net", **{"files": files, "aliases": ["nickname"], **changes})
    return tmp_path / "cards"


def failed(code: ExitCode, *args: object) -> str:
    """Run a command that fails; return what it says, in one line and a hint at most."""
    done = models(*args)
    assert (done.code, done.text) == (code, ""), done.err
    assert len(done.err.splitlines()) <= 2
    return done.err


def test_the_list_fits_into_80_columns() -> None:
    done = models("list")
    assert (done.code, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0].split() == ["model", "task", "size", "where", "licence"]
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines[1:-2]}
    assert rows["lenet"].split()[1:] == ["digits", "752.4", "kB", "bundled", "that", "of", "lrptool"]
    assert rows["bvlc_googlenet"].split()[1:] == ["ImageNet", "53.6", "MB", "remote", "unrestricted"]
    assert "by hand" in rows["pascal_voc_2012_multilabel"]
    assert rows["nin_imagenet"].endswith("non-commercial")
    assert "bvlcalexnet-9" not in rows
    assert "bvlcalexnet-9" in models("list", "--all").text
    assert [*rows] == sorted(rows, key=str.lower)


def test_the_list_as_json() -> None:
    records = {record["name"]: record for record in json.loads(models("list", "--json").text)}
    record = records["bvlc_googlenet"]
    assert (record["state"], record["size"], record["aliases"]) == ("remote", 53_569_616, ["googlenet"])
    assert record["files"][1]["sha256"].startswith("6f7101e3")
    assert record["files"][1]["urls"][0].startswith("http")
    assert record["output"] == {"node": "prob", "kind": "softmax"}
    assert record["preprocess"]["mean"] == [104, 117, 123]
    assert records["lenet"]["state"] == "bundled"
    assert records["lenet"]["files"][0]["path"] == str(LENET / "deploy.prototxt")
    every = json.loads(models("list", "--all", "--json").text)
    assert len(every) > len(records) + 80


def test_a_card_with_mistakes_is_not_left_out_silently(tmp_path: Path) -> None:
    write_card(tmp_path / "bad", titel="x")
    done = models("list", "--models-dir", tmp_path)
    assert done.code == 0
    assert f"note: {tmp_path}/bad/card.yaml: card: unknown key 'titel' (did you mean 'title'?)" in done.err
    assert "bad " not in done.text


def test_where_a_model_is(tmp_path: Path, here: Path) -> None:
    cards = known(tmp_path)

    def state() -> str:
        return str(json.loads(models("info", "net", "--json", "--models-dir", cards).text)["state"])

    assert state() == "remote"
    assert models("import", "net", *here.iterdir(), "--models-dir", cards).code == 0
    assert state() == "cached"
    for name in ("deploy.prototxt", "net.caffemodel"):
        (user_models() / "net" / name).rename(cards / "net" / name)
    assert state() == "local"


def test_info_says_all_there_is() -> None:
    done = models("info", "googlenet")
    assert done.text.splitlines()[0] == "bvlc_googlenet  remote"
    for said in (
        "sha1 405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        "  http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel\n",
        "size [224, 224], resize 256, mode squash, channels BGR",
        "node prob, kind softmax",
        "Going deeper with convolutions",
        "unrestricted",
    ):
        assert said in done.text
    assert "resnet50-v1-7" in models("info", "onnx-resnet50-v1").text
    assert "by hand: http://heatmapping.org" in models("info", "voc").text
    assert "in vgg_face_caffe.tar.gz" in models("info", "vgg_face").text
    said = failed(ExitCode.MODEL, "info", "googlenett")
    assert "unknown model 'googlenett'" in said
    assert "did you mean 'googlenet'?" in said


def test_where(tmp_path: Path, here: Path) -> None:
    assert models("where", "mnist").text == f"{LENET / 'deploy.prototxt'}\n{LENET / 'lenet.caffemodel'}\n"
    cards = known(tmp_path)
    said = failed(ExitCode.MODEL, "where", "nickname", "--models-dir", cards)
    assert "model 'net' is not here: 752.4 kB, deploy.prototxt (1.1 kB: https://host/deploy.prototxt)" in said
    assert "hint: lrptool models fetch net" in said


def test_fetch(tmp_path: Path, server: Mirror) -> None:
    cards = known(tmp_path, server)
    done = models("fetch", "nickname", "--models-dir", cards)
    assert (done.code, done.text) == (0, "net: here\n")
    assert "fetching 752.4 kB to " in done.err
    assert models("fetch", "net", "lenet", "--models-dir", cards).text == "net: here\nlenet: here\n"
    assert len(server.requests) == 2
    some = models("fetch", "net", "nett", "--models-dir", cards)
    assert (some.code, some.text) == (ExitCode.PARTIAL, "net: here\n")
    assert "unknown model 'nett'" in some.err
    for args in ((), ("net", "--all")):
        assert models("fetch", *args).code == ExitCode.USAGE


def test_fetch_all(tmp_path: Path, server: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = known(tmp_path, server, variants={"other": {"files": {"weights": {"name": "o", "sha1": "0" * 40}}}})
    monkeypatch.setattr("lrptool.zoo.catalogue.bundled", lambda _: tmp_path / "nothing")
    by_hand = {"weights": {"name": "x.onnx", "by_hand": ["https://host/x"]}}
    write_card(cards / "hand", files=by_hand)
    done = models("fetch", "--all", "--models-dir", cards)
    assert (done.code, done.text) == (0, "net: here\n")
    assert "these have to be fetched by hand: hand\n" in done.err
    assert "note: 1 models, 752.4 kB to fetch\n" in done.err


def test_verify(tmp_path: Path, server: Mirror) -> None:
    cards = known(tmp_path, server)
    models("fetch", "net", "--models-dir", cards)
    done = models("verify", "net", "--models-dir", cards)
    assert done.code == 0
    weights = user_models() / "net" / "net.caffemodel"
    assert done.text.splitlines()[1] == f"net: {weights}: as published"
    # Without names, all that is here.
    every = models("verify", "--models-dir", cards)
    assert every.code == 0
    assert {line.split(":")[0] for line in every.text.splitlines()} == {"net", "lenet"}
    weights.write_bytes(WEIGHTS[:-1] + b"\xff")
    done = models("verify", "net", "lenet", "--models-dir", cards)
    assert done.code == ExitCode.PARTIAL
    assert f"net: {weights}: expected sha256 " in done.text
    assert f"model 'net': not as published: {weights}" in done.err
    assert "lrptool models remove net && lrptool models fetch net" in done.err
    assert models("verify", "net", "--models-dir", cards).code == ExitCode.MODEL
    assert "is not here" in failed(ExitCode.MODEL, "verify", "vgg16")


def test_import(tmp_path: Path, here: Path) -> None:
    cards = known(tmp_path)
    # Recognised by checksum, whatever they are called.
    renamed = (here / "net.caffemodel").rename(here / "download(1)")
    done = models("import", "nickname", renamed, "--models-dir", cards)
    target = user_models() / "net"
    assert (done.code, done.text) == (0, f"net: {renamed}: as published → {target / 'net.caffemodel'}\n")
    assert done.err == "note: deploy.prototxt is still missing: https://host/deploy.prototxt\n"
    assert models("import", "net", here / "deploy.prototxt", "--models-dir", cards).err == ""
    assert listing(user_models()) == ["net", "net/deploy.prototxt", "net/net.caffemodel"]
    assert run("predict", DIGIT, "-m", "net", "--models-dir", cards, "--no-fetch", "-q").code == 0


def test_import_refuses_what_is_not_published(tmp_path: Path, here: Path) -> None:
    cards = known(tmp_path)
    wrong = here / "net.caffemodel"
    wrong.write_bytes(WEIGHTS[:-1] + b"\xff")
    args = ("--models-dir", cards)
    said = failed(ExitCode.MODEL, "import", "net", here / "deploy.prototxt", wrong, *args)
    assert f"{wrong}: not the published net.caffemodel of 'net': expected sha256 " in said
    wrong.write_bytes(WEIGHTS[:-1])
    said = failed(ExitCode.MODEL, "import", "net", wrong, *args)
    assert f"expected {len(WEIGHTS)} bytes, found {len(WEIGHTS) - 1}" in said
    said = failed(ExitCode.MODEL, "import", "net", DIGIT, *args)
    assert "none of the files of 'net', which are deploy.prototxt (1.1 kB), net.caffemodel (751.3 kB)" in said
    assert "nowhere: no such file" in failed(ExitCode.MODEL, "import", "net", "nowhere", *args)
    assert "no such file" in failed(ExitCode.MODEL, "import", "net", here, *args)
    assert not user_models().exists()
    assert models("import", "net").code == ExitCode.USAGE


def test_import_of_what_has_no_checksum(tmp_path: Path, here: Path) -> None:
    files = {"architecture": "deploy.prototxt", "weights": {"name": "net.caffemodel", "by_hand": ["http://host/x"]}}
    cards = known(tmp_path, files=files)
    said = models("import", "net", here / "deploy.prototxt", "--models-dir", cards)
    assert "not checked, for no checksum is published" in said.text
    assert said.err == "note: net.caffemodel is still missing: http://host/x\n"
    # The only file of its kind may be called otherwise.
    other = (here / "net.caffemodel").rename(here / "fold_3.caffemodel")
    assert models("import", "net", other, "--models-dir", cards).code == 0
    assert "net.caffemodel" in listing(user_models() / "net")


def test_import_of_an_archive(tmp_path: Path, here: Path) -> None:
    contents = zipped({"a/net.caffemodel": WEIGHTS, "a/deploy.prototxt": PROTOTXT})
    (here / "x.zip").write_bytes(contents)
    files = {
        "architecture": {"name": "deploy.prototxt", "archive": "net.zip", "member": "deploy.prototxt"},
        "weights": {"name": "net.caffemodel", "archive": "net.zip", "member": "net.caffemodel"},
    }
    cards = known(tmp_path, files=files, archives=[{"name": "net.zip", **facts(contents, "https://host/net.zip")}])
    assert models("import", "net", here / "x.zip", "--models-dir", cards).code == 0
    assert listing(user_models()) == ["net", "net/deploy.prototxt", "net/net.caffemodel"]


def test_remove(tmp_path: Path, server: Mirror) -> None:
    cards = known(tmp_path, server)
    models("fetch", "net", "--models-dir", cards)
    models("add", cards / "net")
    # Whatever else is there is not lrptool's.
    (user_models() / "other").mkdir()
    done = models("remove", "net")
    assert (done.code, done.err) == (0, "")
    assert done.text.startswith("net: removed, 75")
    assert listing(user_models()) == ["other"]
    assert "unknown model 'net'" in failed(ExitCode.MODEL, "remove", "net")
    said = failed(ExitCode.MODEL, "remove", "lenet")
    assert f"model 'lenet': nothing of it in {user_models()}" in said
    assert (LENET / "lenet.caffemodel").is_file()


def test_remove_takes_unfinished_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Mirror) -> None:
    monkeypatch.setenv("LRPTOOL_MODELS", str(known(tmp_path, server)))
    models("fetch", "net")
    for name in (".net.caffemodel.part", ".net.caffemodel.part.json"):
        (user_models() / "net" / name).touch()
    (user_models() / "net" / "mine.txt").touch()
    assert models("remove", "net").code == 0
    assert listing(user_models()) == ["net", "net/mine.txt"]


@pytest.mark.parametrize("by", ["folder", "card"])
def test_add(tmp_path: Path, here: Path, by: str) -> None:
    write_card(
        tmp_path / "mine",
        aliases=["my-net"],
        files={"architecture": "deploy.prototxt", "weights": {"name": "net.caffemodel", **facts(WEIGHTS)}},
        preprocess={"size": [28, 28], "channels": "GRAY", "scale": 0.00390625, "mean": "mean.npy"},
        labels="words.txt",
    )
    for path in here.iterdir():
        path.rename(tmp_path / "mine" / path.name)
    import numpy as np  # noqa: PLC0415

    np.save(tmp_path / "mine" / "mean.npy", np.zeros((1, 28, 28), np.float32))
    (tmp_path / "mine" / "words.txt").write_text("".join(f"number {k}\n" for k in range(10)))
    (tmp_path / "mine" / "else.txt").touch()
    done = models("add", tmp_path / "mine" if by == "folder" else tmp_path / "mine" / "card.yaml")
    assert (done.code, done.text, done.err) == (0, f"mine: added → {user_models() / 'mine'}\n", "")
    names = ["card.yaml", "deploy.prototxt", "mean.npy", "net.caffemodel", "words.txt"]
    assert listing(user_models() / "mine") == names
    predicted = run("predict", DIGIT, "-m", "my-net", "--json", "--no-fetch").records[0]["predictions"][0]
    assert predicted["label"] == "number 3"
    assert "cached" in models("info", "mine").text.splitlines()[0]
    assert "mine" in models("list").text
    assert "name 'mine': belongs to model 'mine' already" in failed(ExitCode.CONFIG, "add", tmp_path / "mine")


def test_add_says_everything_that_is_wrong(tmp_path: Path, here: Path) -> None:
    write_card(
        here,
        name="lenet",
        aliases=["googlenet"],
        files={"architecture": {"name": "deploy.prototxt", "size": 3}, "weights": "absent.caffemodel"},
        preprocess={"size": [28, 28], "mean": "mean.npy"},
        labels="words.txt",
        default_composite="epsilonn",
    )
    said = failed(ExitCode.CONFIG, "add", here)
    for mistake in (
        "name 'lenet': belongs to model 'lenet' already",
        "name 'googlenet': belongs to model 'bvlc_googlenet' already",
        f"files: deploy.prototxt: expected 3 bytes, found {len(PROTOTXT)}",
        "files: absent.caffemodel: neither beside the card nor with urls",
        "preprocess.mean: no file 'mean.npy' beside the card or among its files",
        "words.txt: cannot be read: No such file",
        "default_composite: no composite 'epsilonn'",
    ):
        assert mistake in said, mistake
    assert not user_models().exists()
    data = yaml.safe_load((here / "card.yaml").read_text())
    (here / "card.yaml").write_text(yaml.safe_dump(data | {"titel": "x", "preprocess": {"sise": 3}}))
    said = failed(ExitCode.CONFIG, "add", here)
    assert "unknown key 'titel' (did you mean 'title'?)" in said
    assert "unknown key 'sise' (did you mean 'size'?)" in said
    (here / "card.yaml").unlink()
    assert "card.yaml: no such file" in failed(ExitCode.MODEL, "add", here)


def test_add_of_a_model_that_is_fetched(tmp_path: Path, server: Mirror) -> None:
    cards = known(tmp_path, server)
    done = models("add", cards / "net" / "card.yaml")
    assert done.err == "note: 'net': fetched on first use: deploy.prototxt, net.caffemodel\n"
    assert run("predict", DIGIT, "-m", "nickname", "-q").code == 0
    assert len(server.requests) == 2


def test_a_group_that_helps() -> None:
    done = models("--help")
    assert done.code == 0
    for name in ("list", "info", "where", "fetch", "verify", "import", "remove", "add"):
        assert f"\n  {name} " in done.text
        assert models(name, "--help").code == 0
    said = models("fetsch").err
    assert "No such command 'fetsch' (did you mean 'fetch'?)" in said


def test_sizes_that_are_not_known() -> None:
    known_weights = Card("net", Path("card.yaml"), "a", "b", (File("a"), File("b", size=5)), Preprocess((5, 7)))
    assert known_weights.size == 5
    assert Card("net", Path("card.yaml"), "a", "b", (File("a", size=5), File("b")), Preprocess((5, 7))).size is None
