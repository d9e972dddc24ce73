"""The bundled cards, each of them; and what a card may say of files, archives and variants."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from lrptool import load
from lrptool.errors import ConfigError, ModelError
from lrptool.rules import preset_names
from lrptool.zoo import Card, Labels, Preprocess, all_cards, read_card, read_cards, read_label_file, schema
from tests.command import DIGIT, LENET, run
from tests.conftest import ROOT, SHARED
from tests.mirror import write_card

FOLDERS = sorted(path.parent.name for path in (ROOT / "models").glob("*/card.yaml"))
CARDS = [card for folder in FOLDERS for card in read_cards(ROOT / "models" / folder / "card.yaml")]
FILES = [(card.name, file.source) for card in CARDS for file in card.files]
DOCS = ROOT / "docs" / "models.md"
HTTP_ONLY = {"dl.caffe.berkeleyvision.org", "heatmapping.org", "places.csail.mit.edu"}
"""Hosts without https."""
NAMED = """
bvlc_googlenet bvlc_reference_caffenet bvlc_alexnet bvlc_reference_rcnn_ilsvrc13 finetune_flickr_style vgg16
vgg19 vgg_cnn_f vgg_cnn_m vgg_cnn_s places205_alexnet places205_googlenet places365_alexnet places365_googlenet
places365_vgg16 nin_imagenet squeezenet_v1.0 squeezenet_v1.1 resnet50 resnet101 resnet152 densenet121
densenet161 densenet169 densenet201 mobilenet_v1 mobilenet_v2 inception_bn se_resnet50
pascal_voc_2012_multilabel age_levi gender_levi lenet lenet_bvlc cifar10_quick cifar10_full
"""
"""Models that a user may expect to be there."""
SHA = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def no_models_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRPTOOL_MODELS", raising=False)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bundled_card(name: str) -> None:
    found, *variants = read_cards(ROOT / "models" / name / "card.yaml")
    assert found.name == name
    assert all_cards()[name] == found
    for card in (found, *variants):
        for text in (card.title, card.task, card.license, card.citation, card.source):
            assert text
        assert card.output.kind
        assert card.default_composite is None or card.default_composite in preset_names()
        assert {file.name for file in card.files} >= {card.architecture, card.weights}
        classes = re.search(r"(\d+) classes", card.task)
        assert classes, "the task says how many classes there are"
        lines = read_label_file(card)
        assert lines is None or len(lines) == int(classes[1])
        assert lines is None or len(set(lines)) == len(lines)
        assert len(card.preprocess.std or (0, 0, 0)) == 3
        if not isinstance(card.preprocess.mean, str):
            assert len(card.preprocess.mean or ()) in (1, 3)


def test_no_two_cards_share_a_name() -> None:
    names = [word for card in CARDS for word in (card.name, *card.aliases)]
    assert len(names) == len(set(names)) > len(CARDS)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("googlenet", "bvlc_googlenet"),
        ("caffenet", "bvlc_reference_caffenet"),
        ("alexnet", "bvlc_alexnet"),
        ("rcnn", "bvlc_reference_rcnn_ilsvrc13"),
        ("nin", "nin_imagenet"),
        ("squeezenet", "squeezenet_v1.0"),
        ("onnx-resnet50-v1", "resnet50-v1-12"),
    ],
)
def test_short_names(alias: str, name: str) -> None:
    assert [card.name for card in CARDS if alias in card.aliases] == [name]


def test_every_published_model_has_a_card() -> None:
    names = {card.name for card in CARDS}
    for name in NAMED.split():
        assert name in names
    published = SHARED / "zoo" / "published_models.md"
    if not published.is_file():
        pytest.skip(f"no {published}")
    rows = re.findall(r"^(\S+) \| ([0-9a-f]{64}) \| (\d+) \| \d+ \|", published.read_text(), re.MULTILINE)
    assert len(rows) == 119
    cards = {card.name: card for card in CARDS}
    for name, sha256, size in rows:
        if name != "resnet-preproc-v1-18":  # prepares pictures, classifies nothing
            file = cards[name].file(f"{name}.onnx")
            assert (file.digests, file.size) == ({"sha256": sha256}, int(size))


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{name}-{file.name}" for name, file in FILES])
def test_every_address_is_https_where_the_host_offers_it(name: str, file: Any) -> None:
    assert file.urls or file.by_hand or name in {"lenet", "lenet_bvlc", "cifar10_quick", "cifar10_full"}
    for url in (*file.urls, *file.by_hand):
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        assert scheme in ("https", "http")
        if scheme == "http" and url in file.urls:
            assert file.digests, f"{url} has neither https nor a checksum"
        if scheme == "http" and host not in HTTP_ONLY:
            assert url.replace("http:", "https:", 1) in file.urls, f"{url}: why not https?"


def test_architectures_are_those_of_the_cards() -> None:
    folder = SHARED / "zoo" / "prototxt"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    cards = {card.name: card for card in CARDS}
    checked = 0
    for path in folder.glob("*.prototxt"):
        card = cards.get(path.stem)
        if card is not None and card.file(card.architecture).digests and "train_val" not in path.name:
            assert card.file(card.architecture).problem(path) is None, path
            checked += 1
    assert checked >= 10


@pytest.mark.parametrize(
    ("name", "nodes"),
    [("densenet121", 1000), ("places365_googlenet", 365), ("finetune_flickr_style", 20), ("squeezenet_v1.1", 1000)],
)
def test_a_card_goes_with_its_architecture(
    name: str, nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SHARED / "zoo" / "prototxt" / f"{name}.prototxt"
    if not path.is_file():
        pytest.skip(f"no {path}")
    card = next(card for card in CARDS if card.name == name)
    (tmp_path / name).mkdir()
    (tmp_path / name / card.architecture).write_bytes(path.read_bytes())
    model = load(name, "random", models_dir=tmp_path)
    assert (model.labels.count, model.labels.names != ()) == (nodes, True)
    assert model.graph.head == "softmax"
    assert [note for note in model.notes if "card" in note or "names" in note] == []


def test_labels_are_complete() -> None:
    def named(labels: str) -> Labels:
        lines = (ROOT / "models" / "labels" / labels).read_text().splitlines()
        return Labels.of(lines, len(lines))

    assert named("voc20.txt").find("sofa") == 17
    assert named("cifar10.txt").find("truck") == 9
    assert named("digits.txt").find("7") == 7
    imagenet = named("imagenet.txt")
    assert (imagenet.count, len(imagenet.synsets), imagenet.find("n02123045"), imagenet.find("tabby")) == (
        1000, 1000, 281, 281,
    )  # fmt: skip
    places = named("places365.txt")
    assert (places.count, places.name(0), places.name(364)) == (365, "airfield", "zen garden")
    assert places.find("airplane cabin") == 1
    assert places.find("apartment building outdoor") == 8
    original = SHARED / "labels" / "categories_places365.txt"
    if original.is_file():
        lines = [line.split()[0][3:] for line in original.read_text().splitlines()]
        assert [name.replace(" ", "") for name in places.names] == [re.sub("[/_]", "", line) for line in lines]


BASE = {"weights": {"name": "net.onnx", "size": 9, "sha256": SHA, "urls": ["https://host/{name}?{stem}"]}}


def said_of(tmp_path: Path, **changes: Any) -> str:
    """What is wrong with a card."""
    with pytest.raises(ConfigError) as caught:
        read_cards(write_card(tmp_path / "net", **{"files": BASE, **changes}))
    assert "\n" not in caught.value.message
    return caught.value.message


def test_files_are_mappings(tmp_path: Path) -> None:
    found = read_card(write_card(tmp_path / "net", files=BASE, output={"node": "prob", "kind": "logits"}))
    assert (found.architecture, found.weights, found.size) == ("net.onnx", "net.onnx", 9)
    assert found.files[0].urls == ("https://host/net.onnx?net",)
    assert (found.output.node, found.output.kind) == ("prob", "logits")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"size": -1}, "files.weights.size: expected a number of bytes, found -1"),
        ({"size": "5 MB"}, "files.weights.size: expected a number of bytes, found '5 MB'"),
        ({"sha256": "12"}, "files.weights.sha256: expected 64 hex digits, found '12'"),
        ({"sha1": SHA}, f"files.weights.sha1: expected 40 hex digits, found '{SHA}'"),
        ({"sha384": 7}, "files.weights.sha384: expected 96 hex digits, found 7"),
        ({"sha": SHA}, "files.weights: unknown key 'sha' (did you mean 'sha1'?)"),
        ({"also": SHA}, "files.weights.also: expected a list of sha256"),
        ({"urls": "https://host/x"}, "files.weights.urls: expected a list of http or https addresses"),
        ({"urls": ["ftp://host/x"]}, "files.weights.urls: expected a list of http or https addresses"),
        ({"urls": ["file:///etc/passwd"]}, "files.weights.urls: expected a list of http or https addresses"),
        ({"urls": ["https://user:secret@host/x"]}, "files.weights.urls: expected a list of http"),
        ({"urls": ["https:///x"]}, "files.weights.urls: expected a list of http"),
        ({"urls": ["https://host:port/x"]}, "files.weights.urls: expected a list of http"),
        ({"archive": "net.zip"}, "files.weights.archive: expected one of the card's archives, found 'net.zip'"),
        ({"name": "../net.onnx"}, "files.weights.name: expected a file name, found '../net.onnx'"),
        ({"name": "a\\net.onnx"}, "files.weights.name: expected a file name"),
    ],
)
def test_files_that_no_card_can_have(tmp_path: Path, file: dict[str, Any], message: str) -> None:
    assert message in said_of(tmp_path, files={"weights": {**BASE["weights"], **file}})


def test_http_needs_a_checksum(tmp_path: Path) -> None:
    file = {"name": "net.onnx", "urls": ["https://host/x", "http://host/x"]}
    message = "files.weights.urls: expected https or a checksum, found http://host/x without one"
    assert message in said_of(tmp_path, files={"weights": file})
    for name, digits in (("sha1", 40), ("sha256", 64), ("sha384", 96)):
        assert read_card(write_card(tmp_path / "net", files={"weights": {**file, name: "A" * digits}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"archives": {"name": "net.zip"}}, "archives: expected a list, found {'name': 'net.zip'}"),
        ({"archives": [{"name": "net.zip", "archive": "x"}]}, "archives[0]: unknown key 'archive'"),
        ({"files": {**BASE, "others": "mean.npy"}}, "files.others: expected a list, found 'mean.npy'"),
        ({"files": {**BASE, "others": ["net.onnx"]}}, "files: 'net.onnx' is given twice"),
        ({"variants": ["a"]}, "variants: expected a mapping, found ['a']"),
        ({"variants": {"a": 3}}, "variants.a: card: expected a mapping, found 3"),
        ({"variants": {"a b": {}}}, "variants.a b: card.name: expected a name, found 'a b'"),
        ({"variants": {"a": {"titel": "x"}}}, "variants.a: card: unknown key 'titel' (did you mean 'title'?)"),
        ({"name": ".hidden"}, "card.name: expected a name, found '.hidden'"),
        ({"name": "--help"}, "card.name: expected a name, found '--help'"),
        ({"aliases": ["a:b"]}, "card.aliases: expected a list of names, found ['a:b']"),
    ],
)
def test_sections_that_no_card_can_have(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in said_of(tmp_path, **changes)


@pytest.mark.parametrize("member", ["/etc/passwd", "../x", "a/../../x", ""])
def test_members_that_no_card_can_have(tmp_path: Path, member: str) -> None:
    files = {"weights": {"name": "net.onnx", "archive": "net.zip", "member": member}}
    message = said_of(tmp_path, archives=[{"name": "net.zip", "sha256": SHA}], files=files)
    assert "files.weights.member: expected a path inside the archive" in message


def test_a_member_needs_a_name(tmp_path: Path) -> None:
    files = {"weights": {"name": "net.onnx", "archive": "net.zip"}}
    message = said_of(tmp_path, archives=["net.zip"], files=files)
    assert "files.weights: 'member' is missing, expected a path inside the archive" in message


def test_variants_are_cards(tmp_path: Path) -> None:
    changed = {"files": {"weights": {"name": "small.onnx", "sha256": SHA[::-1]}}, "notes": "smaller", "aliases": ["s"]}
    said = {"title": "Net", "aliases": ["n"], "accuracy": "9"}
    path = write_card(tmp_path / "net", files=BASE, variants={"small": changed}, **said)
    main, small = read_cards(path)
    assert (small.name, small.variant_of, small.title, small.notes) == ("small", "net", "Net", "smaller")
    assert (small.aliases, small.accuracy) == (("s",), "")
    # Its size is its own, its addresses are made of its own name.
    assert (small.files[0].size, small.files[0].digests) == (None, {"sha256": SHA[::-1]})
    assert small.files[0].urls == ("https://host/small.onnx?small",)
    assert main == read_card(path)
    assert (main.files[0].size, main.variant_of) == (9, None)


def test_what_a_file_is_checked_for(tmp_path: Path) -> None:
    def card(**about: Any) -> Card:
        return read_card(write_card(tmp_path / "net", files={"weights": {"name": "net.onnx", **about}}))

    path = tmp_path / "file"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert card().files[0].problem(path) is None
    assert card(size=4).files[0].problem(path) == "expected 4 bytes, found 3"
    assert card(size=3, sha256=digest).files[0].problem(path) is None
    wrong = card(sha256=digest, sha1="0" * 40).files[0].problem(path)
    assert wrong == f"expected sha1 {'0' * 16}…, found {hashlib.sha1(b'abc').hexdigest()[:16]}…"
    # Another publication of the same file.
    assert card(size=4, sha256=SHA, also=[digest]).files[0].problem(path) is None
    assert card(size=3, sha256=SHA, also=[SHA[::-1]]).files[0].problem(path)


def test_squeezenet_on_photographs(shared: Path, tmp_path: Path) -> None:
    photos = sorted((shared / "images" / "imagenet").glob("*.JPEG"))
    if not photos or not (shared / "models" / "squeezenet_v1.0").is_dir():
        pytest.skip("no photographs, or no squeezenet_v1.0")
    (tmp_path / "synsets.txt").write_text("".join(f"{photo.name.split('_')[0]}\n" for photo in photos))
    model = ("--model", "squeezenet_v1.0", "--models-dir", shared / "models")
    done = run("predict", *photos, *model, "--expect", tmp_path / "synsets.txt", "--json")
    assert (done.code, done.err) == (0, "")
    stated = re.search(r"top-1 ([\d.]+) % \((\d+) of 59\), top-5 ([\d.]+) % \((\d+) of 59\)", DOCS.read_text())
    assert stated
    record = done.records[-1]
    assert record["pictures"] == len(photos) == 59
    assert record["top1"] >= 0.6
    assert record["top5"] >= 0.8
    assert (f"{record['top1']:.1%}", round(record["top1"] * 59)) == (f"{stated[1]}%", int(stated[2]))
    assert (f"{record['top5']:.1%}", round(record["top5"] * 59)) == (f"{stated[3]}%", int(stated[4]))


def test_the_card_of_the_docs_is_one(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(name: my_net.*?)```", DOCS.read_text(), re.DOTALL)
    assert example
    (tmp_path / "card.yaml").write_text(example[1].replace("sha256: …", f"sha256: {SHA}"))
    main, variant = read_cards(tmp_path / "card.yaml")
    assert (main.name, variant.name, main.files[2].name) == ("my_net", "my_net-int8", "mean.binaryproto")
    for word in (*schema.DIGESTS, "size", "also", "urls", "by_hand", "archive", "member", *Preprocess.__slots__):
        assert f"`{word}`" in DOCS.read_text(), word


def lenet_as(folder: Path, **changes: Any) -> Path:
    """A copy of lenet with a card of its own; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("deploy.prototxt", "lenet.caffemodel"):
        shutil.copy(LENET / name, folder)
    files = {"architecture": "deploy.prototxt", "weights": changes.pop("weights", "lenet.caffemodel")}
    write_card(folder, files=files, **changes)
    return folder


@pytest.mark.parametrize(
    ("kind", "probable"),
    [("softmax", True), ("logits", True), ("multilabel", False), ("regression", False), (None, True)],
)
def test_a_card_says_what_scores_are(tmp_path: Path, kind: str | None, probable: bool) -> None:
    model = load(lenet_as(tmp_path / "net", output={"kind": kind} if kind else None))
    assert (model.predict(DIGIT).probabilities is not None) == probable


def test_a_card_says_where_scores_are(tmp_path: Path) -> None:
    folder = lenet_as(tmp_path / "net", output={"node": "ip1"})
    assert load(folder).labels.count == 200
    assert load(folder, output="prob").labels.count == 10
    with pytest.raises(ModelError, match="there is no output 'nowhere'"):
        load(lenet_as(tmp_path / "net", output={"node": "nowhere"}))


def test_other_weights_than_the_published_are_said_to_be(tmp_path: Path) -> None:
    def notes(**about: Any) -> list[str]:
        return [
            note.split(": ")[1]
            for note in load(lenet_as(tmp_path / "net", weights={"name": "lenet.caffemodel", **about})).notes
        ]

    size = (LENET / "lenet.caffemodel").stat().st_size
    digest = hashlib.sha256((LENET / "lenet.caffemodel").read_bytes()).hexdigest()
    other = [f"not the published weights of 'net' (sha256 {digest[:12]}…)"]
    assert notes(sha256=SHA) == other
    assert notes(sha256=digest) == notes(sha256=SHA, also=[digest]) == notes() == []
    # Where another checksum is published, the size has to do.
    assert notes(size=size + 1, sha1="0" * 40) == other
    assert notes(size=size, sha1="0" * 40) == []
    assert notes(size=size + 1, sha1="0" * 40, also=[digest]) == []


def test_a_mean_file_may_be_fetched_or_lie_beside_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lenet_as(tmp_path / "net", preprocess={"size": [28, 28], "channels": "GRAY", "mean": "mean.npy"})
    elsewhere = tmp_path / "cards" / "net"
    elsewhere.mkdir(parents=True)
    np.save(elsewhere / "mean.npy", np.full((1, 28, 28), 9, np.float32))
    mean = load(folder, models_dir=tmp_path / "cards").preprocessing.mean
    assert mean is not None
    assert float(np.max(mean)) == 9
