import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.core.budget import parse_budget
from hwnas.core.errors import BadInput

positive = st.floats(min_value=1e-6, max_value=1e6)


@given(positive, st.sampled_from(["ms", "ms@p90", "ms@median", "ms@p50", "%", "%@p90"]))
def test_a_budget_reads_back_as_it_prints(number: float, unit: str):
    budget = parse_budget(f"{number:g}{unit}")
    assert parse_budget(str(budget)) == budget
    assert budget.statistic == ("p90" if unit.endswith("p90") else "median")
    expected = float(f"{number:g}") * (2.0 / 100 if "%" in unit else 1.0)
    assert budget.resolve_ms(2.0) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["0ms", "-3ms", "-1%", "0%", "1e999ms", "1.2.3ms", "--ms", "ems", "-ms"])
def test_a_number_that_is_not_positive_is_refused(text: str):
    with pytest.raises(BadInput, match="positive number") as refused:
        parse_budget(text)
    assert "12ms" in refused.value.mend


@pytest.mark.parametrize("text", ["fast", "", "12", "ms", "12s", "12ms@p95", "nanms", "infms", "12 ms please", "½ms"])
def test_what_is_no_latency_is_refused(text: str):
    with pytest.raises(BadInput, match="not a latency") as refused:
        parse_budget(text)
    assert "60%" in refused.value.mend


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_message(text: str):
    try:
        budget = parse_budget(text)
    except BadInput as refused:
        assert refused.mend
    else:
        assert budget.resolve_ms(1.0) > 0


def test_spaces_are_no_mistake():
    assert parse_budget(" 12 ms ") == parse_budget("12ms")
