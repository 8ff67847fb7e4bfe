from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.core.errors import BadInput
from hwnas.run.config import resolve


def test_nothing_given_gives_the_defaults():
    config = resolve({})
    assert (config.target.name, config.space.name, config.data.name) == ("cpu", "mobile", "digits")
    assert (config.strategy.name, config.budget, config.seed) == ("proxyless", "60%", 0)
    assert config.space.own()["resolution"] == 32  # plug-in defaults are written out


def test_file_then_flags_then_assignments(tmp_path: Path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "seed: 1\nbudget: 50%\nspace: {name: mobile, resolution: 16}\nstrategy: spos\nsearch: {epochs: 7}\n"
    )
    config = resolve({"budget": "40%", "space": {"name": "mobile"}}, file, ("search.epochs=9", "strategy.population=4"))
    assert (config.seed, config.budget, config.search.epochs) == (1, "40%", 9)
    assert config.space.own()["resolution"] == 16
    assert config.strategy.own()["population"] == 4


def test_the_stored_configuration_reads_back_as_the_same_run(tmp_path: Path):
    config = resolve({"seed": 3}, None, ("space.kernels=[3, 5]", "data.limit=100"))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert resolve({}, tmp_path / "config.yaml").digest() == config.digest()


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("search.epochs=3", lambda c: c.search.epochs == 3),
        ("training.learning_rate=1e-3", lambda c: c.training.learning_rate == 0.001),
        ("space.widths=[16, 24, 40, 48, 64]", lambda c: c.space.own()["widths"][-1] == 64),
        ("space=mobile-224", lambda c: c.space.name == "mobile-224"),
        ("strategy=spos", lambda c: c.strategy.name == "spos"),
        ("estimator=early-stop", lambda c: c.estimator.name == "early-stop"),
        ("target=cpu", lambda c: c.target.name == "cpu"),
        ("target.threads=2", lambda c: c.target.threads == 2),
        ("budget=2ms@p90", lambda c: c.budget == "2ms@p90"),
        ("baseline=true", lambda c: c.baseline is True),
        ("profile.protocol.rounds=5", lambda c: c.profile.protocol.rounds == 5),
        ("search.ema_decay=", lambda c: c.search.ema_decay is None),
    ],
)
def test_forms_of_set(assignment: str, value):
    assert value(resolve({}, None, (assignment,)))


@pytest.mark.parametrize(
    ("assignment", "what", "mend"),
    [
        ("search.epoch=3", "no setting 'search.epoch'", "did you mean 'epochs'?"),
        ("serch.epochs=3", "no setting 'serch'", "did you mean 'search'?"),
        ("space.resolutio=3", "no setting 'resolutio'", "did you mean 'resolution'?"),
        ("profile.protocol.round=3", "no setting 'profile.protocol.round'", "did you mean 'rounds'?"),
        ("strategy.zzz=3", "no setting 'zzz'", "known: "),
        ("target.thread=3", "no setting 'target.thread'", "did you mean 'threads'?"),
        ("seed", "not an assignment", "section.key=value"),
        ("=3", "not an assignment", "section.key=value"),
        ("seed.x=3", "'seed' is not a section", ""),
        ("seed=[", "not valid YAML", ""),
        ("seed=-1", "seed", ""),
        ("seed=1.5", "seed", ""),
        ("search.learning_rate=.nan", "learning_rate", ""),
        ("search.learning_rate=.inf", "learning_rate", ""),
        ("search.epochs=0", "search.epochs", ""),
        ("budget=5", "budget", ""),
        ("space=[1]", "space", ""),
        ("space=", "space", ""),
        ("space=mobil", "no space 'mobil'", "did you mean 'mobile'?"),
        ("space.widths=[16]", "same number of stages", ""),
        ("target=cpux", "no target 'cpux'", "did you mean 'cpu'?"),
        ("exporters=[onx]", "no exporter 'onx'", "did you mean 'onnx'?"),
        ("estimator=early-stp", "no estimator 'early-stp'", "did you mean 'early-stop'?"),
    ],
)
def test_what_set_refuses(assignment: str, what: str, mend: str):
    with pytest.raises(BadInput) as refused:
        resolve({"seed": 0, "space": {"name": "mobile"}}, None, (assignment,))
    assert what in refused.value.what
    assert mend in refused.value.mend


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"seed: [", "not valid YAML"),
        (b"\xff\xfe", "not valid YAML"),
        (b"", "must hold a mapping"),
        (b"just words", "must hold a mapping"),
        (b"- seed", "must hold a mapping"),
        (b"sed: 1", "no setting 'sed'"),
        (b"1: 2", "configuration"),
        (b"space: null", "space"),
        (b"space: [mobile]", "space"),
        (b"data: 3", "data"),
        (b"target: null", "target"),
        (b"target: {name: mine}", "target.runtime"),
        (b"search: 3", "search"),
        (b"a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
@pytest.mark.parametrize("flags", [{}, {"space": {"name": "mobile"}, "data": {"dir": "x"}}], ids=["alone", "flags"])
def test_files_that_are_refused(tmp_path: Path, content: bytes, what: str, flags: dict):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=what):
        resolve(flags, file)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(BadInput, match="cannot read"):
        resolve({}, tmp_path / "absent.yaml")
    with pytest.raises(BadInput, match="cannot read"):
        resolve({}, tmp_path)


section = st.sampled_from(["seed", "space", "search", "search.epochs", "target", "target.threads", "data.limit", "x"])


@settings(deadline=None, max_examples=60)
@given(section, st.text(max_size=10))
def test_any_assignment_is_a_configuration_or_a_message(path: str, text: str):
    try:
        config = resolve({}, None, (f"{path}={text}",))
    except BadInput as refused:
        assert refused.what
    else:
        assert config.digest()
