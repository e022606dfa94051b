"""Values that change in compiled code: how often torch compiles anew, what the compiled code sees, and what is told.

50 steps, the value another one in each. The short form counts the graphs that reach a backend which runs them as they
are, the long form lets inductor compile them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from lightning_anneal.callbacks.recompiles import RecompileWatch
from tests.tiny import trainer_for

STEPS = 50
LIMIT = 8
"""How often torch compiles one function before it gives up."""

# torch's own, on what Lightning does to a closure.
pytestmark = pytest.mark.filterwarnings("ignore:.*Profiler function.*will be ignored")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Backend:
    """Counts what is compiled. Without inductor the graphs run as they are."""

    def __init__(self, inductor: bool) -> None:
        self.inductor = inductor
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        if not self.inductor:
            return graph.forward
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(graph, inputs)


class Body(nn.Module):
    """Gives a number that tells which value it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.0))
        self.beta = 1.0
        self.top_k = 1
        for i in range(10):
            setattr(self, f"f{i}", 0.0)
        self.register_buffer("level", torch.tensor(1.0))
        self.dropout = nn.Dropout(0.0)


class UsesFloat(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum() * self.beta + self.weight


class UsesTen(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(10):
            x = x + getattr(self, f"f{i}") * 10.0**-i
        return x.sum() + self.weight


class UsesInt(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # A top-k whose k may be a tensor: the first k of a range.
        return (torch.arange(100) < self.top_k).sum() * x.sum() + self.weight


class UsesBuffer(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum() * self.level + self.weight


class UsesDropout(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # What becomes 0 of many ones, with a seed of its own.
        return (self.dropout(x.expand(1, 10_000)) == 0).float().mean() + self.weight


class Compiled(LightningModule):
    """Trains a compiled body, one batch an epoch step, and notes what it gave and how many graphs there were."""

    def __init__(self, body: nn.Module, backend: Backend) -> None:
        super().__init__()
        self.body = torch.compile(body, backend=backend)
        self.backend = backend
        self.gave: list[float] = []
        self.graphs: list[int] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        out = self.body(batch[0])
        self.gave.append(out.item())
        self.graphs.append(self.backend.graphs)
        return out * 0.0

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(STEPS, 1)), batch_size=1)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Stepping(LightningModule):
    """Trains one weight, whose gradient is 1, with a compiled optimizer step, and notes the weight at each batch."""

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer], backend: Backend | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.make = make
        self.backend = backend
        self.weights: list[list[float]] = []
        self.graphs: list[int] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.weights.append(self.weight.tolist())
        self.graphs.append(0 if self.backend is None else self.backend.graphs)
        return self.weight.sum() * (1.0 + 0.1 * (batch_idx % 3))

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(STEPS, 1)), batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = self.make([self.weight])
        self.step = optimizer.step if self.backend is None else torch.compile(optimizer.step, backend=self.backend)
        return optimizer

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        # The closure, and with it Lightning's loop, stays out of what is compiled.
        optimizer_closure()
        self.step()


@dataclass
class Case:
    """What is annealed, and how it goes.

    Args:
        make: Makes the module.
        settings: What is annealed.
        expected: What the body gives at each step; `None` for an optimizer, whose weights are compared with those of
            a step that isn't compiled.
        limit: Whether a Python number reaches torch's limit: there is more to inductor's guards.
        tolerance: By how much a rounded value may be off.
        named: The way out that the warning names.
        after_first: What is compiled after the first step although the value is a tensor.
    """

    make: Callable[[Backend | None], LightningModule]
    settings: dict[str, Any]
    expected: list[float] | None = None
    limit: Literal["never", "inductor", "always"] = "never"
    tolerance: float = 1e-5
    named: str = "set as_tensor: true"
    after_first: int = 0


def body(cls: type[Body]) -> Callable[[Any], LightningModule]:
    return lambda backend: Compiled(cls(), backend)


def stepping(cls: Any, **options: Any) -> Callable[[Any], LightningModule]:
    return lambda backend: Stepping(lambda params: cls(params, **options), backend)


def ramp(start: float, end: float, **more: Any) -> dict[str, Any]:
    ends = {"start_value": start, "end_value": end, "total_steps": STEPS}
    return {"strategy": "linear", **ends, "interval": "step", **more}


def _begins(i: int) -> dict[str, Any]:
    """Rises by 0.1 a step from step 2 i on."""
    still = {"strategy": "constant", "value": 0.0, "duration": 2 * i + 1}
    rise = {"strategy": "linear", "start_value": 0.1, "end_value": 5.1, "duration": STEPS, "total_steps": STEPS}
    return {"strategy": "sequence", "parts": [still, rise], "interval": "step"}


def _ten(step: int) -> float:
    return 1 + sum(10.0**-i * (0.1 * (step - 2 * i) if step > 2 * i else 0.0) for i in range(10))


LR = "optimizer.param_groups.0.lr"
BETA = "optimizer.param_groups.0.betas.0"
SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW

CASES = {
    "one float": Case(body(UsesFloat), {"body.beta": ramp(0.0, 5.0)}, [0.1 * t for t in range(STEPS)]),
    "ten floats that begin at different steps": Case(
        body(UsesTen), {f"body.f{i}": _begins(i) for i in range(10)}, [_ten(t) for t in range(STEPS)], limit="always"
    ),
    "an int": Case(body(UsesInt), {"body.top_k": ramp(0, STEPS, round=True)}, [float(t) for t in range(STEPS)], limit="always"),
    "betas": Case(stepping(ADAMW, lr=0.1), {BETA: ramp(0.9, 0.5)}, limit="inductor"),
    "SGD's lr": Case(stepping(SGD, lr=0.1), {LR: ramp(0.1, 0.2)}, limit="inductor"),
    "a 0-d tensor": Case(body(UsesBuffer), {"body.level": ramp(0.0, 5.0)}, [0.1 * t for t in range(STEPS)]),
}  # fmt: skip
MORE = {
    "AdamW's lr": Case(stepping(ADAMW, lr=0.1), {LR: ramp(0.1, 0.2)}),
    "dropout": Case(
        body(UsesDropout), {"body.dropout.p": ramp(0.0, 1.0)}, [t / STEPS for t in range(STEPS)],
        limit="always", tolerance=0.03, named="set as_tensor: true (dropout then leaves the graph), or write the mask", after_first=1,
    ),
}  # fmt: skip


class Holds(Callback):
    """Notes which objects stand in the places of the values, at each batch."""

    def __init__(self, annealing: HyperparamAnnealingCallback) -> None:
        self.annealing = annealing
        self.held: set[tuple[int, ...]] = set()
        self.kept: list[Any] = []

    def on_train_batch_start(self, *arguments: Any) -> None:
        now = [target.slot.get() for target in self.annealing.engine.findings.targets]
        self.kept += now  # so that no other object gets the number of one that is gone
        self.held.add(tuple(map(id, now)))


def fitted(case: Case, folder: Path, backend: Backend | None, *, as_tensor: bool) -> Any:
    """The module after 50 steps, and what was warned of."""
    params = {name: {**settings, "as_tensor": as_tensor} for name, settings in case.settings.items()}
    module = case.make(backend)
    callback = HyperparamAnnealingCallback(params)
    holds = Holds(callback)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.manual_seed(0)
        trainer_for(folder, callback, holds, max_epochs=1, log_every_n_steps=STEPS).fit(module)
    assert len(holds.held) == 1 or not as_tensor
    return module, [str(one.message) for one in told if "compilations" in str(one.message)]


backends = pytest.mark.parametrize(
    "inductor", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "inductor"]
)
every_case = pytest.mark.parametrize("name", [*CASES, *MORE])


@backends
@every_case
def test_with_a_tensor_nothing_is_compiled_after_the_first_step(tmp_path: Path, name: str, inductor: bool) -> None:
    case = {**CASES, **MORE}[name]
    module, told = fitted(case, tmp_path, Backend(inductor), as_tensor=True)
    assert len(module.graphs) == STEPS
    # An optimizer's first step comes after the first batch has been noted.
    first = module.graphs[0] if isinstance(module, Compiled) else module.graphs[1]
    assert (first > 0, module.backend.graphs - first) == (True, case.after_first)
    assert told == []
    if case.expected is not None:
        assert module.gave == pytest.approx(case.expected, abs=case.tolerance)
    else:
        plain, _ = fitted(case, tmp_path, None, as_tensor=False)
        # Adam's bias correction is worked out in another order, with float32 numbers.
        assert torch.allclose(torch.tensor(module.weights), torch.tensor(plain.weights), atol=1e-4)
        assert len({tuple(w) for w in plain.weights}) == STEPS


@backends
@every_case
def test_without_one_the_limit_is_told_once(tmp_path: Path, name: str, inductor: bool) -> None:
    case = {**CASES, **MORE}[name]
    module, told = fitted(case, tmp_path, Backend(inductor), as_tensor=False)
    if case.limit == "never" or (case.limit == "inductor" and not inductor):
        assert told == []
        assert module.backend.graphs < LIMIT
    else:
        assert module.backend.graphs >= LIMIT
        assert len(told) == 1
        function = "forward" if case.expected else "step"
        assert f"gave up '{function}' after {LIMIT} compilations, because this value changes; {case.named}" in told[0]
        assert told[0].split(":")[0] in case.settings
    if case.expected is not None:
        assert module.gave == pytest.approx(case.expected, abs=case.tolerance)


def test_a_fit_that_goes_on_has_tensors_in_its_groups_and_floats_when_it_ends(tmp_path: Path) -> None:
    """A checkpoint from the middle of a fit holds the tensors, and a restored optimizer other groups."""
    params = {LR: ramp(0.1, 0.6, as_tensor=True), BETA: ramp(0.9, 0.4, as_tensor=True)}

    def fit(**options: Any) -> Stepping:
        module = Stepping(lambda weights: ADAMW(weights, lr=0.1), Backend(inductor=False))
        saver = ModelCheckpoint(tmp_path, every_n_train_steps=20, save_top_k=-1, filename="{step}")
        callbacks = [HyperparamAnnealingCallback(params), saver]
        trainer = trainer_for(tmp_path, *callbacks, max_epochs=1, enable_checkpointing=True, log_every_n_steps=STEPS)
        trainer.fit(module, **options)
        group = trainer.optimizers[0].param_groups[0]
        assert (type(group["lr"]), [type(beta) for beta in group["betas"]]) == (float, [float, float])
        # The last step is the 50th, in which t is 49.
        assert (group["lr"], group["betas"][0]) == (pytest.approx(0.59), pytest.approx(0.41))
        return module

    whole = fit()
    saved = torch.load(tmp_path / "step=20.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert saved["lr"].item() == pytest.approx(0.1 + 0.01 * 19)
    torch._dynamo.reset()
    again = fit(ckpt_path=tmp_path / "step=20.ckpt")
    assert again.weights == whole.weights[20:]
    assert again.backend is not None
    assert again.graphs[1:] == [again.graphs[1]] * 29


def test_a_checkpoint_of_floats_goes_on_with_tensors(tmp_path: Path) -> None:
    """A restored optimizer brings groups of its own, which hold what the checkpoint had."""

    def fit(as_tensor: bool, **options: Any) -> tuple[Stepping, Holds]:
        module = Stepping(lambda weights: SGD(weights, lr=0.1), Backend(inductor=False))
        callback = HyperparamAnnealingCallback({LR: ramp(0.1, 0.6, as_tensor=as_tensor)})
        holds = Holds(callback)
        saver = ModelCheckpoint(tmp_path, every_n_train_steps=20, save_top_k=-1, filename="{step}")
        trainer = trainer_for(
            tmp_path, callback, holds, saver, max_epochs=1, enable_checkpointing=True, log_every_n_steps=STEPS
        )
        trainer.fit(module, **options)
        return module, holds

    whole, floats = fit(as_tensor=False)
    assert len(floats.held) == STEPS
    torch._dynamo.reset()
    again, tensors = fit(as_tensor=True, ckpt_path=tmp_path / "step=20.ckpt")
    assert len(tensors.held) == 1
    assert again.weights[0] == whole.weights[20]
    assert torch.allclose(torch.tensor(again.weights), torch.tensor(whole.weights[20:]), atol=1e-4)


@pytest.mark.parametrize(
    ("make", "params", "message"),
    [
        (stepping(ADAMW, lr=0.1, foreach=True), {LR: ramp(0.1, 0.2, as_tensor=True)},
         f"{LR}.as_tensor: torch takes no tensor there with foreach=True; leave foreach out, or set capturable=True"),
        (stepping(ADAMW, lr=0.1, foreach=True), {BETA: ramp(0.9, 0.5, as_tensor=True)},
         f"{BETA}.as_tensor: torch takes no tensor there with foreach=True; leave foreach out, or set capturable=True"),
        (stepping(SGD, lr=0.1, momentum=0.9), {"optimizer.param_groups.0.momentum": ramp(0.9, 0.5, as_tensor=True)},
         "optimizer.param_groups.0.momentum.as_tensor: of a parameter group only lr and betas become tensors; "
         "leave it out for 'momentum'"),
    ],
)  # fmt: skip
def test_what_no_tensor_can_be(tmp_path: Path, make: Any, params: dict[str, Any], message: str) -> None:
    module = make(None)
    with pytest.raises(AnnealError) as caught:
        trainer_for(tmp_path, HyperparamAnnealingCallback(params), max_epochs=1).fit(module)
    assert str(caught.value) == message


def test_foreach_without_the_adam_family_takes_a_tensor(tmp_path: Path) -> None:
    module = stepping(SGD, lr=0.1, foreach=True)(None)
    params = {LR: ramp(0.1, 0.6, as_tensor=True)}
    trainer_for(tmp_path, HyperparamAnnealingCallback(params), max_epochs=1, log_every_n_steps=STEPS).fit(module)
    # The first gradients are 1, 1.1, 1.2, and the rates 0.1, 0.11, 0.12.
    steps = [module.weights[i][0] - module.weights[i + 1][0] for i in range(3)]
    assert steps == pytest.approx([0.1, 0.121, 0.144], rel=1e-5)


@pytest.mark.parametrize(
    ("guard", "told"),
    [
        ("0/7: self._modules['d'].p == 0.14  # return F.dropout(input, self.p)", ["d.p"]),
        ("0/7: L['self']._modules['net']._modules['1'].p == 0.5", ["net.1.p"]),
        ("0/7: self.param_groups[0]['betas'][0] == 0.88", ["optimizer.param_groups.0.betas.0"]),
        ("0/7: self.weights['nested'][0] == 0.2", ["weights.nested.0"]),
        ("0/7: self.p == 0.2", ["d.p", "net.1.p"]),  # which of them can't be told
        ("0/7: self.other == 0.2", []),
        ("0/7: L['x'].size()[0] == 3", []),
    ],
)
def test_which_value_a_guard_is_about(guard: str, told: list[str]) -> None:
    paths = ["d.p", "net.1.p", "optimizer.param_groups.0.betas.0", "weights.nested.0", "optimizer.param_groups.0.lr"]
    lines: list[str] = []
    watch = RecompileWatch(lines.append)
    watch.begin({path: path for path in paths})
    text = (
        f"torch._dynamo hit config.recompile_limit (8)\n   function: 'forward' (a.py:1)\n   last reason: {guard}\nmore"
    )
    try:
        # Twice, and told of once.
        for _ in range(2):
            logging.getLogger("torch._dynamo.convert_frame").warning(text)
    finally:
        watch.end()
    logging.getLogger("torch._dynamo.convert_frame").warning(text)
    assert [line.split(":")[0] for line in lines] == told


def test_other_messages_of_torchs_are_let_pass() -> None:
    told: list[str] = []
    watch = RecompileWatch(told.append)
    watch.begin({"beta": "beta"})
    try:
        assert watch.filter(logging.LogRecord("torch", logging.WARNING, "", 1, "graph break", None, None))
    finally:
        watch.end()
    assert told == []
