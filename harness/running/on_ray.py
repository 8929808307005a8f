"""Where arms run on a Ray cluster: each task in processes of a node, by our own local executor.

What travels is an order, a few kilobytes of text: the experiment, the origins, and which fits to
make. The node declares the grid itself from what it has, and does nothing unless it comes to the
same keys in the same environment. What the task leaves goes to `STORE/incoming/`, which all nodes
must share; the driver checks and seals it.

A Ray worker starts this module as a program of its own, so that nothing that Ray does to its
workers reaches an arm: Ray puts the driver's working directory on their import path, where a
folder `datasets/` would be taken for Hugging Face's package. The program lives as long as its
standard input stays open, and takes all that it started with it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np

from harness.data.dataset import load
from harness.errors import AbharnessError, ConfigError, one_line
from harness.experiments.experiment import Edits, parse_experiment
from harness.parsing import parse_json, parse_record
from harness.running.executor import Finished, LastFit, LocalProcesses, Task
from harness.running.grid import Grid, GridCell, PlannedFit, declare, preload_for
from harness.running.identity import unlike
from harness.running.incoming import claim, deliver, read_delivery
from harness.running.lease import lease
from harness.running.store_folder import INCOMING, StoredFit
from harness.running.supervisor import Ending
from harness.window import Dates

_POLL_S = 0.2
_RETRIES = 3
"""Times that Ray starts a task again whose node or worker was lost."""
_LEASE_WAIT_S = 3600.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # what asks for no GPU sees none
}
"""Settings of Ray, unless the environment has others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedJob:
    """A job a node is to make: origins of a fit.

    Attributes
    ----------
    arm, dataset, seed
        The cell.
    fit, identity
        Key of the fit, and what that is a digest of.
    device
        What the arm is to compute on; its fit may have been made on another.
    cutoffs
        Last session seen at each origin.
    kept
        Folder of a kept fit to go on from; '' where the fit is to be made.
    chain
        Keys of all fits of the cell, where each starts from the last one.
    last, last_state
        Folder of the fit that its own starts from and digest of the state there; '' for none.
    """

    arm: str
    dataset: str
    seed: int
    fit: str
    identity: Mapping[str, Any]
    device: str
    cutoffs: tuple[str, ...]
    kept: str
    chain: tuple[str, ...] = ()
    last: str = ""
    last_state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A task as it travels to a node.

    Attributes
    ----------
    key
        Of the task.
    text, source, folder
        The experiment, what the user called it, and where its arms may lie ('' for a built-in one).
    settings, without, seeds
        What flags changed in it.
    data_folders
        More folders of datasets.
    cutoffs
        Issued origins of each dataset.
    results
        What lines of results began with, where they began anew.
    environment
        Which the node must have, too.
    store
        Folder of the store.
    sign
        Name of a file in its `incoming/`, by which a node knows the driver's own.
    """

    key: str
    text: str
    source: str
    folder: str
    settings: tuple[str, ...]
    without: tuple[str, ...]
    seeds: tuple[int, ...]
    data_folders: tuple[str, ...]
    cutoffs: Mapping[str, tuple[str, ...]]
    results: Mapping[str, str]
    environment: Mapping[str, Any]
    jobs: tuple[OrderedJob, ...]
    time_limit_s: float
    memory_limit_mib: int
    store: str
    sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnswer:
    """What a node says of an order: the folder that it left, or why it did not begin."""

    node: str
    left: str = ""
    refused: str = ""
    lost: str = ""


class OnRay:
    """An executor on a Ray cluster.

    Parameters
    ----------
    grid
        Whose tasks are carried out.
    store
        Folder of the store, on a file system that all nodes share.
    data_folders
        More folders of datasets, there as well.
    address
        Of the cluster, ``HOST:PORT`` or ``auto``; '' is RAY_ADDRESS, or a cluster of this machine
        that ends with the executor.

    Raises
    ------
    ConfigError
        When Ray is not installed, there is no such cluster, or it lacks what an arm needs.
    """

    def __init__(
        self, grid: Grid, store: Path, data_folders: Sequence[Path], *, address: str = ""
    ) -> None:
        self._grid = grid
        self._store = store.resolve()
        self._sign = self._store / INCOMING / f".{uuid4().hex}"
        self._data_folders = tuple(str(folder.resolve()) for folder in data_folders)
        self._running: dict[Any, Task] = {}  # by Ray's reference to the answer
        self._ray = _connected(address)
        self._remote = self._ray.remote(_by_program())
        try:  # what no node can ever do is refused: Ray would wait for one for ever
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            threads = grid.experiment.run.threads
            cores = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
            if cores < threads:
                raise ConfigError(
                    f"--on ray: [run] threads = {threads}, and no node of the cluster has more "
                    f"than {cores:g} cores"
                )
            wanting = sorted({cell.arm.name for cell in grid.cells if cell.device == "cuda"})
            if wanting and not any(node.get("GPU", 0.0) >= 1 for node in nodes):
                raise ConfigError(
                    f"--on ray: no node of the cluster has a GPU, which {', '.join(wanting)} "
                    f"needs; --set arms.{wanting[0]}.device=cpu computes without"
                )
            self._sign.touch()
        except BaseException:
            self._ray.shutdown()
            raise

    def __enter__(self) -> OnRay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()
        self._sign.unlink(missing_ok=True)
        self._ray.shutdown()

    @property
    def workers(self) -> int:
        """Tasks that the cluster carries out at a time, as it is now."""
        cores = float(self._ray.cluster_resources().get("CPU", 1.0))
        return max(1, int(cores) // self._grid.experiment.run.threads)

    def submit(self, task: Task) -> bool:
        """Send a task to the cluster, where it may wait for a node."""
        self._sign.touch()  # what is a day old is swept
        gpu = any(cell.device == "cuda" for cell, _ in task.fits)
        remote = self._remote.options(
            num_cpus=self._grid.experiment.run.threads,
            num_gpus=int(gpu),
            max_retries=_RETRIES,
            scheduling_strategy="SPREAD",
            name=f"abharness {task.key[:12]}",
        )
        order = json.dumps(dataclasses.asdict(self._order(task)))
        self._running[remote.remote(order, not gpu)] = task
        return True

    def poll(self) -> list[Finished]:
        """Wait up to a fifth of a second and return what ended.

        Raises
        ------
        ConfigError
            When a node has another checkout, other libraries, data or weights, or another folder
            in the place of the store.
        """
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_S)
        return [self._finished(reference, self._running.pop(reference)) for reference in ended]

    def shares(self) -> Mapping[str, float]:
        """Nothing is known of a task before it ends."""
        return {}

    def cancel(self) -> None:
        """End every task, and what runs for it on its node."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running = {}

    def _finished(self, reference: Any, task: Task) -> Finished:
        try:
            text = self._ray.get(reference)
        except self._ray.exceptions.RayError as problem:
            said = one_line(str(problem).strip().rpartition("\n")[2])[:200]
            ending = Ending(kind="no answer", reason=f"{type(problem).__name__}: {said}")
            return Finished(task=task, seconds=0.0, ending=ending)
        answer = parse_record(NodeAnswer, parse_json(text, where="a node's answer"), where="a node")
        if answer.refused:
            raise ConfigError(f"--on ray: node {answer.node}: {answer.refused}")
        if answer.lost:
            ending = Ending(kind="no answer", reason=f"node {answer.node}: {answer.lost}")
            return Finished(task=task, seconds=0.0, ending=ending)
        folder = claim(self._store / INCOMING / answer.left)
        if folder is None:  # the first to seal wins, and this one goes on from what was sealed
            reason = f"another process has taken what node {answer.node} left"
            ending = Ending(kind="no answer", reason=reason)
            return Finished(task=task, seconds=0.0, ending=ending)
        delivery = read_delivery(folder)
        return Finished(
            task=task,
            seconds=delivery.seconds,
            ending=delivery.ending,
            left=folder,
            machine=delivery.machine,
        )

    def _order(self, task: Task) -> Order:
        experiment, (cell, _) = self._grid.experiment, task.fits[0]
        results = {each.line: str(each.identity.get("results", "")) for each, _ in task.fits}
        folder = cell.arm.folder
        return Order(
            key=task.key,
            text=experiment.text,
            source=experiment.source,
            folder="" if folder is None else str(folder.resolve()),
            settings=experiment.edits.settings,
            without=experiment.edits.without,
            seeds=experiment.run.seeds,
            data_folders=self._data_folders,
            cutoffs={
                name: (part := self._grid.splits[name]).days(part.issued.origin)
                for name in {each.dataset for each, _ in task.fits}
            },
            results=results,
            environment=cell.environment,
            jobs=tuple(
                OrderedJob(
                    arm=each.arm.name,
                    dataset=each.dataset,
                    seed=each.seed,
                    fit=fit.key,
                    identity=fit.identity,
                    device=each.device,
                    cutoffs=job.days,
                    kept="" if kept is None else str(kept.resolve()),
                    chain=tuple(one.key for one in each.fits if each.continues),
                    last=str(last.folder.resolve()) if last else "",
                    last_state=last.state if last else "",
                )
                for (each, fit), job, kept, last in zip(
                    task.fits, task.jobs, task.kept, task.starts, strict=True
                )
            ),
            time_limit_s=task.time_limit_s,
            memory_limit_mib=task.memory_limit_mib,
            store=str(self._store),
            sign=self._sign.name,
        )


def _connected(address: str) -> Any:
    """Ray, connected to a cluster and silent."""
    if "://" in address:
        raise ConfigError(
            f"--on ray:{address}: expected ray, ray:auto or ray:HOST:PORT; run abharness on a "
            "machine of the cluster"
        )
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigError("--on ray: Ray is not installed; pip install 'abharness[ray]'") from None
    # what Ray says of lost nodes goes to standard output, where the result belongs
    ray._private.worker._worker_logs_enabled = False
    local = {} if address or "RAY_ADDRESS" in os.environ else {"include_dashboard": False}
    try:
        ray.init(
            address=address or None,
            logging_level="error",
            log_to_driver=False,
            configure_logging=True,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as problem:
        said = one_line(str(problem))[:300]
        raise ConfigError(f"--on ray:{address or 'auto'}: cannot be used: {said}") from None
    return ray


def _by_program() -> Any:
    """What a Ray worker does: start this module as a program and hand it the order.

    A function within a function travels as it is, so that the worker need not import the harness.
    """

    def carry_out(order: str, without_gpu: bool) -> str:
        import contextlib
        import json
        import os
        import platform
        import subprocess
        import sys
        import tempfile

        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        if without_gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        command = [sys.executable, "-P", "-m", "harness.running.on_ray"]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            with subprocess.Popen(  # noqa: S603  # our own program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd="/",
                env=environment,
            ) as program:
                assert program.stdin is not None
                assert program.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    program.stdin.write(order + "\n")
                    program.stdin.flush()
                answer = program.stdout.read()
            if program.returncode == 0 and answer:
                return answer
            said.seek(0)
            last = said.read().strip().rpartition("\n")[2]
            return json.dumps(
                {
                    "node": platform.node(),
                    "lost": f"its program ended with {program.returncode}: {last}",
                }
            )

    return carry_out


@dataclass(frozen=True, slots=True)
class _StoreAsOrdered:
    """What an order says of the store, for declaring the grid without it."""

    order: Order

    def cutoffs(self, anchor: Mapping[str, object]) -> Dates:
        """The origins of a plan on a dataset."""
        return np.array(self.order.cutoffs[str(anchor["dataset"])], dtype="datetime64[D]")

    def results(self, line: str) -> str:
        """What the results of a line began with."""
        return self.order.results.get(line, "")

    def fit(self, key: str) -> StoredFit | None:
        """A fit that is ordered, or is of its chain, the store has or is to have."""
        known = any(key in (job.fit, *job.chain) for job in self.order.jobs)
        return StoredFit(cutoff="", identity={}, environment={}) if known else None


def task_of(order: Order) -> tuple[Task, Grid]:
    """Make an ordered task from what this machine has.

    Raises
    ------
    AbharnessError
        When experiment, data or arm are not here, or not what the order says: a line of what
        differs.
    """
    edits = Edits(settings=order.settings, without=order.without)
    folder = Path(order.folder) if order.folder else None
    whole = parse_experiment(order.text, source=order.source, folder=folder, edits=edits)
    arms, datasets = ({getattr(j, name) for j in order.jobs} for name in ("arm", "dataset"))
    experiment = dataclasses.replace(
        whole.with_seeds(order.seeds),
        arms=tuple(ref.pinned() for ref in whole.arms if ref.name in arms),
        plans={name: plan for name, plan in whole.plans.items() if name in datasets},
    )
    for ref in experiment.arms:
        ref.fetch()
    folders = [Path(each) for each in order.data_folders]
    data = {name: load(name, folders) for name in datasets}
    grid = declare(experiment, data, _StoreAsOrdered(order), grow=False)
    cells = {(cell.arm.name, cell.dataset, cell.seed): cell for cell in grid.cells}
    fits = []
    for job in order.jobs:
        cell = cells.get((job.arm, job.dataset, job.seed))
        if cell is None:
            raise ConfigError(f"{job.arm}/{job.dataset}/{job.seed} is not a cell of the grid there")
        fits.append((cell, _fit_of(cell, job, order.environment)))
    return (
        Task(
            key=order.key,
            jobs=tuple(grid.job(cell, fit.windows) for cell, fit in fits),
            kept=tuple(Path(job.kept) if job.kept else None for job in order.jobs),
            follows=tuple(
                LastFit(folder=Path(job.last), state=job.last_state) if job.last else None
                for job in order.jobs
            ),
            time_limit_s=order.time_limit_s,
            memory_limit_mib=order.memory_limit_mib,
            fits=tuple(fits),
        ),
        grid,
    )


def _fit_of(cell: GridCell, job: OrderedJob, environment: Mapping[str, Any]) -> PlannedFit:
    """The fit of a cell that is meant, at its origins, where it is the same here."""
    cutoff = job.identity["cutoff"]
    mine = next((fit for fit in cell.fits if fit.cutoff == cutoff), None)
    if mine is None:
        raise ConfigError(f"{cell} has no fit at {cutoff} there")
    pairs = (
        (job.identity, mine.identity),
        (environment, cell.environment),
        ({"device": job.device}, {"device": cell.device}),
    )
    others = [text for ordered, found in pairs for text in unlike(ordered, found)]
    if others or mine.key != job.fit:
        raise ConfigError(f"{cell} would be computed with other {', '.join(others)}")
    days = cell.split.days(mine.windows.origin)
    return mine.at(np.array([days.index(day) for day in job.cutoffs]))


def carry_out_order(order: Order) -> NodeAnswer:
    """Carry out an ordered task on this machine, and deliver what it leaves."""
    node = platform.node()
    place = Path(order.store) / INCOMING
    if not (place / order.sign).is_file():
        said = f"{place} is not the driver's: --store must be a folder that all nodes share"
        return NodeAnswer(node=node, refused=said)
    try:
        task, grid = task_of(order)
    except AbharnessError as problem:
        return NodeAnswer(node=node, refused=one_line(str(problem)))
    executor = LocalProcesses(threads=grid.experiment.run.threads, preload=preload_for(grid.cells))
    try:
        with lease("shared", f"abharness run {grid.experiment.name}", wait_s=_LEASE_WAIT_S):
            executor.submit(task)
            ended: list[Finished] = []
            while not ended:
                ended = executor.poll()
        try:
            return NodeAnswer(node=node, left=deliver(Path(order.store), ended[0]).name)
        finally:
            shutil.rmtree(ended[0].left or "", ignore_errors=True)
    except (AbharnessError, OSError) as problem:
        return NodeAnswer(node=node, lost=one_line(str(problem)))
    finally:
        executor.cancel()


def main() -> None:
    """Carry out the order that comes in on standard input, and print the answer."""

    def end_with_standard_input() -> None:
        """End this program, and all that it started, once nobody waits for its answer."""
        sys.stdin.read()
        os._exit(1)

    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)  # what arms print while they are built is no answer
        content = parse_json(sys.stdin.readline(), where="the order")
        threading.Thread(target=end_with_standard_input, daemon=True).start()
        answer = carry_out_order(parse_record(Order, content, where="the order"))
        out.write(json.dumps(dataclasses.asdict(answer)))
        out.flush()
        os._exit(0)  # the thread still reads


if __name__ == "__main__":
    main()
