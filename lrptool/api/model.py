"""`Model`: a loaded network that predicts and explains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lrptool.api.explanation import Explanation, joined
from lrptool.api.overview import overview
from lrptool.api.prediction import Prediction
from lrptool.api.targets import One, Target, one_per_picture, resolve
from lrptool.engine import (
    Entry,
    Forward,
    Program,
    available,
    canonise,
    fitting,
    give_back,
    initial_relevance,
    probabilities_of,
    reads_all,
    resident,
    scores_of,
    set_threads,
)
from lrptool.errors import ConfigError, InputError, NumericError
from lrptool.graph import Array, Graph
from lrptool.imaging import Preprocessing, check_array, load_array, load_image, to_rgb
from lrptool.loaders import Original
from lrptool.rules import Composite
from lrptool.zoo import Labels

DEFAULT_COMPOSITE = "epsilon-plus-flat"
_MOST = 64
"""Pictures beyond which nothing is gained by computing them together."""
BATCH_SIZE = 8

Picture = str | Path | Image.Image
Input = Picture | Sequence[Picture] | Array


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded network; made by `lrptool.load`. A value: explaining changes nothing in it, and threads may share it.

    Parameters
    ----------
    name : str
    graph : Graph
        As the engine works on it.
    preprocessing : Preprocessing
    labels : Labels
    sha256 : str or None
        Of the file with the weights.
    random_weights : str or None
        ``random[:SEED]`` where the weights were drawn.
    default_composite : str or None
    notes : tuple of str
        What a user should know of the loading.
    threads : int
        0: as many as there are cores.
    probabilities : str or None
        What the file calls the probabilities made of the scores, where it makes any.
    original : Original or None
        The file for other runtimes, where it is one.
    reread : callable or None
        Reads the network from its files once more.
    """

    name: str
    graph: Graph
    preprocessing: Preprocessing
    labels: Labels
    sha256: str | None = None
    random_weights: str | None = None
    default_composite: str | None = None
    notes: tuple[str, ...] = ()
    threads: int = 0
    probabilities: str | None = None
    original: Original | None = None
    reread: Callable[[], Graph] | None = field(default=None, repr=False)
    _compiled: dict[Any, Any] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def source(self) -> Graph:
        """The network as its loader made it, read anew: kept, it would be all weights a second time."""
        return self.graph if self.reread is None else self.reread()

    def program(
        self, composite: str | Composite | None = None, *, whole: bool = False, once: bool | None = None
    ) -> Program:
        """Return the network compiled with a composite; the same one is compiled once.

        With `whole` every tensor of the network is there; otherwise what its strides never read may be left out.
        With `once` the program is for one batch, unless it has been compiled before; with False for as many as come.
        """
        made = self.composite(composite)
        graph = self.graph
        whole = whole or self._once(("whole", made), lambda: reads_all(graph, made.assign(graph)))

        def make() -> Program:
            bounds = self.preprocessing.bounds()
            return Program(graph, made, bounds=bounds, threads=self.threads, whole=whole, once=bool(once))

        program: Program = self._once((made, whole), make)
        if program.once and once is False:
            with self._lock:
                self._compiled.pop((made, whole), None)
            program = self._once((made, whole), make)
        return program

    def settle(self, composite: str | Composite | None = None, *, once: bool = False) -> None:
        """Get ready to explain with one composite, and let go of the weights that are packed for it.

        Whatever needs them, as another composite or `predict` do, reads the network's files again, which takes as long
        as loading it. Nothing is let go of a network that has no files.

        Parameters
        ----------
        composite : str or Composite, optional
        once : bool
            Whether one picture is all there is to explain. A network whose weights take up much memory does so in
            turns then: it lets go of its forward pass before it packs weights for the way back. Another picture is
            explained as well, but takes as long as getting ready again.
        """
        program = self.program(composite, once=once)
        let_go = self._let_go if self.reread is not None else None
        if program.once:
            program.postpone(let_go)
        else:
            program.prepare(let_go)
        give_back()

    def _let_go(self, names: Collection[str]) -> None:
        """Let go of weights until somebody asks for them."""
        self.graph.let_go(names, lambda: canonise(self.source).constants)

    def composite(self, composite: str | Composite | None = None) -> Composite:
        """Return a composite by name, by path or as it stands; without one the model's default."""
        if isinstance(composite, Composite):
            return composite
        name = str(composite or self.default_composite or DEFAULT_COMPOSITE)
        if Path(name).suffix:  # a file may have changed since
            return Composite.load(name)
        preset: Composite = self._once(("composite", name), lambda: Composite.load(name))
        return preset

    def with_threads(self, threads: int) -> Model:
        """Return the same network, with the same weights, computing with so many threads; nothing is compiled yet."""
        return replace(self, threads=threads, _compiled={}, _lock=threading.Lock())

    def batch_size(self, memory: int, composite: str | Composite | None = None) -> int:
        """Return how many pictures to explain at a time within some bytes of resident memory.

        Raises
        ------
        ConfigError
            Not even one fits.
        """
        program = self.program(composite)
        found = fitting(program, memory)
        if not found:
            least = (resident() + 2 * program.item_bytes()) >> 20
            raise ConfigError(
                f"model '{self.name}', composite '{program.composite}': {memory >> 20} MB are too few for one picture",
                hint=f"give about {least} MB, or a composite with fewer weights to keep, such as epsilon",
            )
        return min(found, _MOST)

    def fitting(self, memory: int | None = None, composite: str | Composite | None = None) -> int | None:
        """Return how many pictures fit at a time into some bytes of resident memory; 0 where none does.

        Without a number of bytes, into what the process has and half of what nobody needs now; None where the system
        does not tell.
        """
        if memory is None:
            free = available()
            if free is None:
                return None
            memory = resident() + free // 2
        return fitting(self.program(composite), memory)

    def _once(self, key: Any, make: Any) -> Any:
        """Return what was made for a key, making it under a lock the first time."""
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = make()
            return self._compiled[key]

    def overview(self, composite: str | Composite | None = None) -> dict[str, Any]:
        """Return the network's table in plain values; see `lrptool.api.overview`."""
        return {"model": self.name} | overview(self.graph, self.composite(composite))

    def read(self, x: Input) -> Array:
        """Return pictures or an array as the network's input, float32 (N, C, H, W).

        Raises
        ------
        InputError
            A file that is no picture, or an array of another shape.
        """
        shape = self.graph.input.item_shape
        if isinstance(x, np.ndarray):
            return check_array(x, shape, "array")
        pictures = [x] if isinstance(x, (str, Path, Image.Image)) else list(x)
        if not pictures:
            raise InputError("expected at least one picture, found none")
        arrays = [self._read_one(picture) for picture in pictures]
        return np.concatenate(arrays)

    def _read_one(self, picture: Picture) -> Array:
        """Return one picture, or one .npy file, as a batch."""
        (channels, height, width) = self.graph.input.item_shape
        if isinstance(picture, Image.Image):
            return self._prepare(to_rgb(picture))
        if str(picture).endswith(".npy"):
            return load_array(Path(picture), (channels, height, width))
        return self._prepare(load_image(Path(picture), str(picture)))

    def _prepare(self, image: Image.Image) -> Array:
        """Return an RGB picture as a batch of one."""
        prepared = self.preprocessing.apply(image)[None]
        if prepared.shape[1:] != self.graph.input.item_shape:
            raise InputError(
                f"model '{self.name}' takes {self.graph.input.item_shape[0]} channels: pictures cannot be its input",
                hint="give a .npy array (N, C, H, W)",
            )
        return np.asarray(prepared, np.float32)

    def predict(self, x: Input, *, batch_size: int = BATCH_SIZE) -> Prediction:
        """Run the forward pass alone.

        Parameters
        ----------
        x : path(s), PIL picture(s) or float32 (N, C, H, W)
        batch_size : int
            Pictures per run.

        Raises
        ------
        InputError
            A file that is no picture, or an array of another shape.
        NumericError
            Scores that are not finite.
        """
        parts = [scores_of(self.output(part)) for part in _chunks(self.read(x), batch_size)]
        scores = np.concatenate(parts)
        if not np.isfinite(scores).all():
            raise NumericError(f"model '{self.name}': its scores are not finite", hint="are these the right weights?")
        return Prediction(scores, probabilities_of(scores, self.graph.head))

    def output(self, x: Array) -> Array:
        """Return the tensor with the scores, (N, classes, …), for a batch float32 (N, C, H, W)."""
        forward: Forward = self._once("predict", lambda: Forward(self.graph, [self.graph.output], self.threads))
        return forward(x)[self.graph.output]

    def explain(
        self,
        x: Input,
        target: Target = "top",
        composite: str | Composite | None = None,
        *,
        start: str | None = None,
        against: Target | None = None,
        audit: bool = False,
        keep: Sequence[str] = (),
        batch_size: int | None = None,
    ) -> Explanation:
        """Explain one class per picture.

        Parameters
        ----------
        x : path(s), PIL picture(s) or float32 (N, C, H, W)
            An array is taken as the network's already preprocessed input.
        target : "top", "top:K", int, str, or one of these per picture
            The class explained: the best, the K-th best, an index, a label or the beginning of one, a synset id.
        composite : str or Composite, optional
            A preset's name, a path, or a composite; the model's default otherwise.
        start : {"score", "one", "contrast"}, optional
            What relevance starts as; the composite's own otherwise.
        against : as target, optional
            A class whose score counts negatively: why the target rather than this one.
        audit : bool
            Keep the ledger: relevance in and out of every node, and what took the difference.
        keep : sequence of str
            Further tensors whose relevance is wanted.
        batch_size : int, optional
            Pictures per run; by default 8, or fewer where their activations are large.

        Returns
        -------
        Explanation

        Raises
        ------
        InputError, ConfigError, UnsupportedError, NumericError
        """
        (explanation,) = self.explain_each(
            x,
            [target],
            composite,
            start=start,
            against=against,
            audit=audit,
            keep=keep,
            batch_size=batch_size,
        )
        return explanation

    def explain_each(
        self,
        x: Input,
        targets: Sequence[Target],
        composite: str | Composite | None = None,
        *,
        start: str | None = None,
        against: Target | None = None,
        audit: bool = False,
        keep: Sequence[str] = (),
        batch_size: int | None = None,
    ) -> list[Explanation]:
        """Explain several targets with one forward pass; like `explain`, one explanation per target."""
        values, program = self.read(x), self.program(composite, whole=audit or bool(keep))
        wanted = [one_per_picture(target, len(values)) for target in targets]
        opposed = None if against is None else one_per_picture(against, len(values))
        # Always: the number another model asked for would stay.
        set_threads(self.threads)
        unknown = [name for name in keep if name not in program.graph.tensors]
        if unknown:
            raise InputError(f"model '{self.name}' has no tensor '{unknown[0]}'", hint="lrptool inspect lists them")
        parts: list[list[Explanation]] = [[] for _ in targets]
        done = 0
        for chunk in _chunks(values, batch_size or min(BATCH_SIZE, program.comfortable())):
            activations = program.forward(chunk)
            part = slice(done, done + len(chunk))
            for pieces, target in zip(parts, wanted, strict=True):
                rivals = None if opposed is None else opposed[part]
                pieces.append(self._walk(program, activations, target[part], start, rivals, keep, audit=audit))
            done += len(chunk)
        return [joined(pieces) for pieces in parts]

    def _walk(
        self,
        program: Program,
        activations: Mapping[str, Array],
        target: Sequence[One],
        start: str | None,
        against: Sequence[One] | None,
        keep: Sequence[str],
        *,
        audit: bool,
    ) -> Explanation:
        """Explain one target of a batch whose forward pass is done."""
        output = activations[program.graph.output]
        scores = scores_of(output)
        targets = resolve(target, scores, self.labels)
        opposed = None if against is None else resolve(against, scores, self.labels)
        started_as = start or program.composite.start
        relevance = initial_relevance(output, targets, started_as, opposed)
        ledger: list[Entry] | None = [] if audit else None
        kept = program.backward(activations, relevance, keep=keep, ledger=ledger)
        return Explanation(
            relevance=kept[program.graph.input.name],
            scores=scores,
            probabilities=probabilities_of(scores, program.graph.head),
            target=targets,
            start=relevance.reshape(len(relevance), -1).sum(axis=1, dtype=np.float64),
            started_as=started_as,
            against=opposed,
            model=self.name,
            composite=str(program.composite),
            audit=tuple(ledger or ()),
            tensors={name: kept[name] for name in keep},
        )


def _chunks(values: Array, size: int) -> Iterator[Array]:
    """Cut a batch into runs."""
    for begin in range(0, len(values), max(1, size)):
        yield values[begin : begin + max(1, size)]
