"""The stages of a run, in order. Each is done once: its outcome is in the journal, and a rerun takes it from there."""

from functools import cached_property
from pathlib import Path
from time import monotonic

from torch.nn import Module

from hwnas.core.arch import Arch
from hwnas.core.config import PluginSettings, validate
from hwnas.core.errors import BadInput, Unavailable
from hwnas.core.files import write_atomic
from hwnas.core.plugins import load
from hwnas.core.progress import say
from hwnas.latency.model import LatencyModel
from hwnas.run.config import RunConfig
from hwnas.run.directory import RunDirectory
from hwnas.run.export import export_all
from hwnas.run.failure import note_failure
from hwnas.run.final import Final, final_measurement
from hwnas.run.judging import Pooled, Post
from hwnas.run.networks import Network, choose, narrow, none_fits
from hwnas.run.outcome import complete_result, predicted_results, together
from hwnas.run.problem import data_of, latency_of, problem_of, space_of
from hwnas.run.refusals import require_exportable
from hwnas.run.result import Result, load_result
from hwnas.run.ship import ship, test_all
from hwnas.run.tensorboard import TensorBoard
from hwnas.run.training import Initialise, Trainer
from hwnas.search.ask_tell import propose
from hwnas.search.driver import relax
from hwnas.search.estimators import Estimator, Means
from hwnas.search.problem import Problem
from hwnas.search.strategies import Relaxation
from hwnas.search.trial import SearchResult
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.memory import PeakMemory
from hwnas.training.network import Loss
from hwnas.training.ranks import here

_MOST_CANDIDATES = 6
"""Candidates of the search that are timed; the best that measures within the budget wins."""


class Run:
    """A run directory and the stages that fill it. Use as a context manager: it holds the directory's lock.

    `data`, `space`, `loss`, `initialise`: your own, in place of the configured ones (docs/my-data.md); name them in
    `config.custom`, so that the directory is not resumed with others.
    """

    def __init__(
        self,
        config: RunConfig,
        out: Path | None = None,
        data: Data | None = None,
        space: Space | None = None,
        loss: Loss | None = None,
        initialise: Initialise | None = None,
        allow_mismatch: bool = False,
    ) -> None:
        if (data or space or loss or initialise) and not config.custom:
            raise BadInput("a run with objects of your own needs a name for them", "set config.custom")
        self.config, self.loss, self.initialise, self.allow_mismatch = config, loss, initialise, allow_mismatch
        self._data, self._space = data, space
        self.ranks = here()
        self.directory = RunDirectory(out or config.default_directory(), config)
        self.journal = self.directory.journal
        if config.tensorboard and self.ranks.writer:
            try:
                TensorBoard(self.path / "tensorboard", self.journal)
            except Unavailable:
                self.directory.close()
                raise

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception):
            note_failure(self.path, error)
        self.directory.close()

    @property
    def path(self) -> Path:
        return self.directory.path

    @cached_property
    def device(self) -> Device:
        return Device(self.config.compute)

    @cached_property
    def data(self) -> Data:
        if self._data is not None:
            return self._data
        return data_of(self.config)

    @cached_property
    def space(self) -> Space:
        if self._space is not None:
            return self._space
        return space_of(self.config, self.data.channels, self.data.classes)

    @property
    def latency(self) -> LatencyModel:
        """The profile stage: time what the table lacks."""
        return self.latencies[0]

    @cached_property
    def latencies(self) -> list[LatencyModel]:
        """Of each target: `latency` is the first."""
        _ = self.device  # sets the threads before anything is timed
        models = []
        for each in self.config.each():
            start = monotonic()
            model = latency_of(each, self.space, self.allow_mismatch)
            kind, target = ("profiled_also" if models else "profiled"), each.target.name
            if self.journal.last(kind, target=target) is None:
                self.journal.append(
                    kind,
                    target=target,
                    channels=self.data.channels,
                    classes=self.data.classes,
                    class_names=list(self.data.class_names),
                    fingerprint=dict(model.table.fingerprint.identity),
                    spent_seconds=monotonic() - start,
                )
            models.append(model)
        return models

    @cached_property
    def problem(self) -> Problem:
        """Raises Infeasible at once when no network of the space fits the budgets and the bounds, BadInput when a
        format that is asked for cannot hold one."""
        for each in self.config.each() if self.ranks.writer else ():
            require_exportable(self.space, each.exporters, each.target)
        return problem_of(self.config, self.space, *self.latencies)

    def profile(self) -> LatencyModel:
        return self.latency

    def search(self) -> SearchResult:
        """The search stage, and a first `result.json` with its prediction."""
        found = self._found
        if self.ranks.writer and not (self.path / "result.json").exists():
            predicted = self._predicted(Network("winner", self.space, found.candidates[0].arch))
            self._write(together(predicted, self.config))
        return found

    @cached_property
    def _found(self) -> SearchResult:
        problem, start = self.problem, monotonic()
        with PeakMemory(self.device) as peak:
            found = self._search(self.config.strategy, self.config.estimator, problem, "trial")
        if self.journal.last("searched") is None:
            best, spent = list(found.candidates[0].arch), {"spent_seconds": monotonic() - start}
            self.journal.append("searched", best=best, epochs=found.epochs, peak_mib_measured=peak.mib, **spent)
        return found

    def _search(
        self, strategy: PluginSettings, estimator: PluginSettings | None, problem: Problem, kind: str
    ) -> SearchResult:
        plugin = load("strategies", strategy.name)
        settings = validate(plugin.Settings, strategy.own(), "strategy")
        if issubclass(plugin, Relaxation):
            self._announce(kind, epochs=self.config.search.epochs)
            if self.config.workers.count:
                say(f"{strategy.name} trains one supernet: workers are of no use to it")
            return relax(
                plugin(problem, settings, self.config.search.epochs), self._means(1, kind), problem, self.journal
            )
        proposer = plugin(problem, settings)
        self._announce(kind, trials=proposer.trials)
        judge = estimator or PluginSettings(name=plugin.estimator)
        judge_plugin = load("estimators", judge.name)
        judge_settings = validate(judge_plugin.Settings, judge.own(), "estimator")
        means = self._means(proposer.trials, kind)
        own = judge_plugin(means, judge_settings)
        if not self.config.workers.count or judge_plugin.looks_up:
            return propose(proposer, own, means, problem, self.journal, kind)
        self._check_workers(own, judge.name)
        settings = judge_settings.model_dump_json()
        post = Post.of(self.config, "search", judge.name, settings, proposer.trials, means.checkpoints)
        with Pooled(self.config, self.path, post, kind) as judges:
            return propose(proposer, own, means, problem, self.journal, kind, judges)

    def _check_workers(self, estimator: Estimator, name: str) -> None:
        if self.config.custom:
            raise BadInput("objects of your own cannot be sent to workers", "leave out --workers")
        if estimator.learns:
            raise BadInput(
                f"estimator {name} learns from every answer before the next question, which workers cannot wait for",
                "leave out --workers, or --set estimator.name=early-stop or full",
            )

    def _announce(self, kind: str, **wanted: int) -> None:
        """Of how many: for whoever looks on."""
        if kind == "trial" and self.journal.last("searching") is None:
            self.journal.append("searching", **wanted)

    def _means(self, trials: int, kind: str) -> Means:
        c = self.config
        folder = self.directory.checkpoints / kind
        return Means(self.space, self.data, c.search, self.device, c.seed, trials, folder, self.loss)

    def select(self) -> list[Network]:
        """The networks to compare. The winner is timed before it is trained; so is every network that must fit."""
        if self.config.latency is not None:
            raise Unavailable(
                f"the latencies are published ones ({self.config.latency.path}): no network can be measured",
                "hwnas search goes as far as they do; or leave latency out, and give the --target",
            )
        found = self.search()
        refused = [tuple(record["arch"]) for record in self.journal.of("over_budget")]
        best = [t.arch for t in found.candidates if t.arch not in refused][:_MOST_CANDIDATES]
        winner, budgets_ms = self._fitting("winner", best)
        if winner is None:
            raise none_fits(budgets_ms)
        networks = [winner, Network("reference", self.space, self.space.reference())]
        if (scaled := self._scaled()) is not None:
            networks.append(scaled)
        if self.config.baseline:
            rivals = self._search(PluginSettings(name="random"), None, self.problem, "random_trial")
            if fitting := self._fitting("random", [t.arch for t in rivals.candidates][:_MOST_CANDIDATES])[0]:
                networks.append(fitting)
        return networks

    def _fitting(self, role: str, candidates: list[Arch]) -> tuple[Network | None, list[float]]:
        """The first candidate that measures within every budget, and the budgets in ms."""
        for record in self.journal.of("chosen", role=role):
            if tuple(record["arch"]) in candidates:
                return Network(role, self.space, tuple(record["arch"])), [t.budget_ms for t in self.problem.targets]
        network, budgets_ms = choose(candidates, self.space, self.config, role)
        if network is not None:
            self.journal.append("chosen", role=role, arch=list(network.arch))
        return network, budgets_ms

    def _scaled(self) -> Network | None:
        record = self.journal.last("chosen", role="reference_scaled")
        if record is None:
            network, note = narrow(self.space, self.config)
            arch = list(network.arch) if network else None
            record = self.journal.append("chosen", role="reference_scaled", arch=arch, note=note)
        family = self.space.baseline()
        if record["arch"] is None or family is None:
            return None
        return Network("reference_scaled", family, tuple(record["arch"]))

    def train(self) -> list[Network]:
        """Every network of the comparison, by one recipe."""
        networks = self.select()
        for network in networks:
            self._trainer.trained(network)
            if self.journal.last("trained", role=network.role, arch=list(network.arch)) is None:
                self.journal.append("trained", role=network.role, arch=list(network.arch))
        return networks

    @cached_property
    def _trainer(self) -> Trainer:
        return Trainer(self.directory, self.space, self.data, self.device, self.loss, self.initialise)

    def finish(self) -> Result:
        """Train, export, check, measure, test, bundle: the whole rest of the run. At once when it is done already.

        Raises VerificationFailed when a file is wrong, or when no candidate measures within the budget.
        """
        there = self.ranks.told((self.path / "result.json").exists)
        while not (there and self.journal.last("done") is not None):
            networks = self.train()
            modules = {network.role: self._trainer.trained(network) for network in networks}
            if self.ranks.told(lambda n=networks, m=modules: self._shipped(n, m)):
                break
            self.journal.append("over_budget", arch=list(networks[0].arch))
        return Result.model_validate(self.ranks.told(lambda: load_result(self.path).model_dump(mode="json")))

    def _shipped(self, networks: list[Network], modules: dict[str, Module]) -> bool:
        """Export, check and measure; where the winner is within the budget, test and bundle too."""
        finals = [self._final(each, networks, modules) for each in self.config.each()]
        over = [final for final in finals if not final.within_budget("winner")]
        for final in over:
            ms, where = final.ms("winner"), final.config.target.name
            say(f"the winner takes {ms:.4g} ms on {where}, over {final.budget_ms:.4g} ms: taking the next")
        if over:
            return False
        winner = networks[0]
        tested, samples = test_all(winner, modules, finals, self.data, self.device, self.journal, self.path)
        predicted, views = self._predicted(winner), self.problem.each()
        results = []
        for final, prediction, view, right in zip(finals, predicted, views, tested, strict=True):
            results.append(complete_result(prediction, final, networks, view, right))
            files = final.exported["winner"]
            folder = self.path / ("bundle" if final is finals[0] else f"bundle-{final.config.target.name}")
            ship(folder, results[-1], final.config, self.data, modules["winner"], files, samples, view.latency)
        result = together(results, self.config)
        self._write(result)
        if self.journal.last("done") is None:
            self.journal.append("done", arch=result.arch)
        return True

    def _final(self, config: RunConfig, networks: list[Network], modules: dict[str, Module]) -> Final:
        """The files and their measurement on one target. Measured once: a rerun must not choose another winner after
        the test."""
        target = config.target.name
        folder = self.path / "exports" / (target if self.config.also_on else "")
        exported = export_all(networks, modules, config, self.data, folder)
        archs = {network.role: list(network.arch) for network in networks}
        record = self.journal.last("measured", archs=archs, target=target)
        if record is None:
            facts = final_measurement(exported, config).facts()
            record = self.journal.append("measured", archs=archs, target=target, **facts)
        return Final.of(record, config, exported)

    def _predicted(self, winner: Network) -> list[Result]:
        return predicted_results(self.config, self.problem, self._found, winner, self.journal)

    def _write(self, result: Result) -> None:
        write_atomic(self.path / "result.json", result.model_dump_json(indent=1) + "\n")
