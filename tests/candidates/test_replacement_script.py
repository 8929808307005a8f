"""The example experiment of the guide, run for legacy models and for what replaces them."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCRIPT = DOCS / "experiment_script.py"
SMALL = ["--seq_len", "48", "--label_len", "24", "--pred_len", "12", "--train_epochs", "2"]
SMALL += ["--d_model", "16", "--e_layers", "1"]
LEVELS = ["--quantile_levels", "0.1", "0.5", "0.9"]
PAIRS = [
    ("BayesianEnhancedAutoformer", "HFBayesianAutoformer", []),
    ("QuantileBayesianAutoformer", "HFQuantileAutoformer", LEVELS),
    ("HierarchicalEnhancedAutoformer", "HFHierarchicalAutoformer", []),
]


@pytest.mark.slow
@pytest.mark.parametrize(("legacy", "replacement", "more"), PAIRS, ids=lambda value: str(value)[:9])
def test_only_the_model_name_changes(legacy, replacement, more, capsys):
    """The same script trains, tests and reads the uncertainty of both."""
    main = runpy.run_path(str(SCRIPT))["main"]

    found = [main(["--model", name, *SMALL, *more]) for name in (legacy, replacement)]

    assert found[0].keys() == found[1].keys()
    assert found[1]["last loss"] < found[1]["first loss"]
    assert found[1]["mse"] < 1.0
    if "covered by 95 %" in found[1]:
        assert 0.85 <= found[1]["covered by 95 %"] <= 1.0
    assert replacement in capsys.readouterr().out


def test_example_of_the_guide_runs_as_printed():
    """The page's example gives what its comments say."""
    page = (DOCS / "replacement.md").read_text(encoding="utf-8")
    found = {}

    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], found)

    assert found["path"].shape == found["high"].shape == (8, 24, 3)
    assert set(found["band"]) == {"lower", "upper", "width"}
    assert len(found["beyond"]) == 2
