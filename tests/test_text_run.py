"""Language models through the same verbs: run, verify, and what is refused; a killed search goes on to the same end."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import safetensors.torch
import torch
import yaml
from bundles import edit
from conftest import hwnas
from small_data import write_text

from hwnas.core.config import PluginSettings
from hwnas.core.errors import BadInput
from hwnas.deploy.measure import measure
from hwnas.deploy.parity import compare
from hwnas.deploy.verify import verify_bundle
from hwnas.devices import open_runtime
from hwnas.exporters.onnx import Onnx
from hwnas.latency.protocol import Protocol
from hwnas.run.config import resolve
from hwnas.run.stages import Run
from hwnas.training.supernet import SharedWeights

QUICK = Protocol(rounds=2, extra_rounds=0, turn_ms=0.5, min_samples=2, warmup_runs=1)
TEXT = {
    "budget": "1000ms",
    "space": {"name": "rnn-cell", "hidden": 8, "nodes": [1, 2]},
    "data": {"name": "ptb", "dir": "text"},
    "strategy": {"name": "random", "trials": 2},
    "search": {"epochs": 2, "batch_size": 4},
    "training": {"epochs": 1, "batch_size": 4},
    "compute": {"device": "cpu", "threads": 1},
    "profile": {"fitted": 8, "held_out": 4, "protocol": QUICK.model_dump()},
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the text, the table and the finished run `run`. Only to be read."""
    folder = tmp_path_factory.mktemp("text run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("hwnas.run.networks._QUICK", QUICK)
        patch.setattr("hwnas.run.final.measure", partial(measure, protocol=QUICK))
        Path("text").mkdir()
        write_text(Path("text"), words=12, lines=30)
        Path("text.yaml").write_text(yaml.safe_dump(TEXT))
        outcome = hwnas("run", "--config", "text.yaml", "--out", "run")
        assert outcome.code == 0, outcome.stderr
    return folder


@pytest.fixture
def here(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own with the same text and table."""
    for name in ("text", "latency_tables"):
        shutil.copytree(done / name, tmp_path / name)
    shutil.copy(done / "text.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_says_perplexity_beside_accuracy(done: Path) -> None:
    result = json.loads((done / "run" / "result.json").read_text())
    for network in (result, result["reference"], result["reference_scaled"]):
        assert 1 < network["perplexity"] < 50 and 0 < network["accuracy"] < 1
        assert network["measured_ms"]["median"] > 0
    assert result["within_budget"] and result["reference_scaled"]["space"] == "lstm"


@pytest.mark.slow
def test_one_network_for_two_targets(here: Path) -> None:
    targets = ("--target", "cpu", "--target", "cpu-torch", "--budget", "1000ms")
    outcome = hwnas("run", "--config", "text.yaml", "--out", "both", *targets)
    assert outcome.code == 0, outcome.stderr
    result = json.loads(Path("both/result.json").read_text())
    (there,) = result["also_on"]
    assert there["perplexity"] == result["perplexity"] and there["measured_ms"] != result["measured_ms"]
    assert verify_bundle(Path("both/bundle-cpu-torch")).ok and outcome.stdout.count("test perplexity: winner") == 2


def test_the_bundle_verifies_and_reads_words_one_by_one(done: Path) -> None:
    outcome = verify_bundle(done / "run" / "bundle")
    assert {check.name: check.ok for check in outcome.checks if check.name != "latency"} == {
        "files": True,
        "structure": True,
        "preprocessing": True,
        "parity": True,
        "accuracy": True,
    }
    samples = safetensors.torch.load_file(done / "run" / "bundle" / "samples.safetensors")
    assert samples["inputs"].shape == (100, 9)
    session = ort.InferenceSession(done / "run" / "bundle" / "model.onnx", providers=["CPUExecutionProvider"])
    state = np.zeros((1, 8), np.float32)
    for step, expected in zip(samples["inputs"].numpy(), samples["logits"].numpy(), strict=True):
        out = session.run(None, {"input": np.concatenate([step[None, :1], state], 1)})[0]
        assert np.abs(out - expected).max() < 1e-4
        state = out[:, -8:]


def test_the_model_card_runs(done: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    card = (done / "run" / "bundle" / "README.md").read_text()
    monkeypatch.chdir(done / "run" / "bundle")
    exec("".join(part.split("```")[0] for part in card.split("```python")[1:]), {})
    assert capsys.readouterr().out.strip() in json.loads(Path("manifest.json").read_text())["class_names"]


def test_a_state_that_drifts_breaks_parity(done: Path) -> None:
    """Each step alone is right to 1e-4 and the file still wrong: its errors add up over the words."""
    folder = done / "run" / "bundle"
    samples, target = safetensors.torch.load_file(folder / "samples.safetensors"), resolve({}).target
    runtime = open_runtime(target)
    model = (folder / "model.onnx").read_bytes()
    sound = compare(Onnx, runtime, model, samples["inputs"], samples["logits"])
    assert sound.difference < 1e-4

    class Drifting:
        """Adds a little to the state it gives; told a state, it does not show."""

        def __init__(self, session: object) -> None:
            self.session = session

        def infer(self, inputs: np.ndarray) -> np.ndarray:
            return self.session.infer(inputs) + np.float32(5e-5)  # type: ignore[attr-defined]

        def close(self) -> None:
            self.session.close()  # type: ignore[attr-defined]

    class Wrong:
        def load(self, content: bytes) -> Drifting:
            return Drifting(runtime.load(content))

    drifting = compare(Onnx, Wrong(), model, samples["inputs"], samples["logits"])  # type: ignore[arg-type]
    assert drifting.difference > 6e-5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--set", "data.name=digits", "--set", "data.dir=null"), "there is no setting 'dir'"),
        (("--space", "mobile"), "there is no setting"),
        (("--target", "cpu-int8"), "word numbers as floats, which int8 does not hold"),
        (("--target", "cpu", "--target", "cpu-int8"), "word numbers as floats, which int8 does not hold"),
        (("--set", "exporters=[onnx-int8]"), "word numbers as floats, which onnx-int8 rounds"),
        (("--set", "training.teacher=largest"), "training.teacher is for images"),
    ],
)
def test_what_does_not_belong_together_is_refused(here: Path, flags: tuple[str, ...], said: str) -> None:
    outcome = hwnas("search", "--config", "text.yaml", *flags)
    assert outcome.code == 2 and said in outcome.stderr


def test_a_text_and_a_space_of_images_are_refused(here: Path) -> None:
    for space, data in (("mobile", ("--data", "ptb", "--data-dir", "text")), ("rnn-cell", ("--data", "digits"))):
        outcome = hwnas("search", "--space", space, *data)
        assert outcome.code == 2 and f"space {space} reads" in outcome.stderr


@pytest.mark.parametrize("estimator", ["subset", "full", "learning-curve"])
def test_a_search_judges_by_one_over_perplexity(here: Path, estimator: str) -> None:
    """A network that rates all 13 words alike has 1/13."""
    with Run(resolve({}, Path("text.yaml"), (f"estimator={estimator}",)), Path(estimator)) as run:
        assert all(1 / 20 < trial.accuracy < 0.6 for trial in run.search().trials)


def test_an_estimator_of_images_is_refused(here: Path) -> None:
    outcome = hwnas("search", "--config", "text.yaml", "--set", "estimator=zero-cost")
    assert outcome.code == 2 and "word numbers have no gradient" in outcome.stderr


@pytest.mark.parametrize("strategy", ["darts", "enas"])
def test_a_killed_search_goes_on_to_the_same_end(here: Path, monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    values = {key: value for key, value in TEXT.items() if key != "strategy"}
    Path("gradient.yaml").write_text(yaml.safe_dump(values))
    config = resolve({"strategy": {"name": strategy}}, Path("gradient.yaml"))
    with Run(config, Path("straight")) as run:
        run.search()
        expected = run.journal.digest()

    step, taken = SharedWeights.weight_step, 0

    def stopping(self: SharedWeights, *arguments: object) -> torch.Tensor:
        nonlocal taken
        taken += 1
        if taken == 10:  # in the second epoch
            raise KeyboardInterrupt
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SharedWeights, "weight_step", stopping)
    with pytest.raises(KeyboardInterrupt), Run(config, Path("killed")) as run:
        run.search()
    with Run(config, Path("killed")) as run:
        run.search()
        assert run.journal.digest() == expected
    assert taken > 10


def test_a_network_that_diverges_is_worth_nothing_and_ends_no_search(here: Path) -> None:
    config = resolve({}, Path("text.yaml"), ("search.learning_rate=1e12", "search.clip=null"))
    with Run(config, Path("steep")) as run:
        assert [trial.accuracy for trial in run.search().trials] == [0.0, 0.0]


@pytest.fixture
def bundle(done: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(done / "run" / "bundle", tmp_path / "bundle"))


def spoil(bundle: Path, **tensors: torch.Tensor) -> None:
    """Put these in the place of the samples' own, the hashes made right again."""
    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    safetensors.torch.save_file(samples | tensors, bundle / "samples.safetensors")
    edit(bundle)


@pytest.mark.parametrize("shapes", [((4, 1), (4, 21)), ((4, 40), (4, 21)), ((4, 9, 2), (4, 21))], ids=str)
def test_samples_that_hold_no_state_are_refused(bundle: Path, shapes: tuple[tuple[int, ...], ...]) -> None:
    spoil(bundle, **{name: torch.zeros(shape) for name, shape in zip(("inputs", "logits"), shapes, strict=True)})
    with pytest.raises(BadInput, match=r"float32 inputs .* or \[n, 1 \+ state\]"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("half a word", "numbers of no word"),
        ("a word beyond the last", "numbers of no word"),
        ("a word left out", "do not follow one another"),
        ("another state", "not of 13 words and a state of 7"),
        ("other words", "another class_names than the manifest"),
    ],
)
def test_what_is_said_of_the_words_is_checked(bundle: Path, damage: str, said: str) -> None:
    samples = safetensors.torch.load_file(bundle / "samples.safetensors")
    words = json.loads((bundle / "manifest.json").read_text())["class_names"]
    if damage in ("half a word", "a word beyond the last"):
        samples["inputs"][3, 0] = 0.5 if damage == "half a word" else len(words)
        spoil(bundle, **samples)
    elif damage == "a word left out":
        kept = [*range(50), *range(51, 100)]
        spoil(bundle, **{name: samples[name][kept].contiguous() for name in ("inputs", "logits")})
    elif damage == "another state":
        edit(bundle, preprocessing={"state": 7})
    else:
        edit(bundle, class_names=words[::-1])
    failed = {check.name: check.detail for check in verify_bundle(bundle).checks if not check.ok}
    assert failed.keys() == {"preprocessing"} and said in failed["preprocessing"]


def test_accuracy_on_a_data_set_is_for_images(bundle: Path) -> None:
    with pytest.raises(BadInput, match="reads text"):
        verify_bundle(bundle, None, PluginSettings(name="digits"))
