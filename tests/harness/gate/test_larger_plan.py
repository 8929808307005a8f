"""The next step of a verdict that is not decided."""

from harness.experiments.experiment import read_experiment
from harness.gate.circumstances import circumstances_of
from harness.gate.dossier import Dossier
from harness.running.fill import prepare
from harness.running.store_folder import open_store


def test_the_larger_built_in_experiment_is_known_by_its_origins(tmp_path):
    """`nightly` names a first date and no count: its origins are counted on the data."""
    grid = prepare(read_experiment("quick"), [])
    store = open_store(tmp_path / "runs", create=True)

    asked = Dossier(grid=grid, store=store, policy=grid.experiment.policy)
    given = circumstances_of(asked, problems=(), today=None, changed=None)

    assert given.larger is not None
    assert given.larger.name == "nightly"
    assert given.larger.origins == {"DOW_JONES": 125, "GOLD": 125}
    assert given.larger.seeds == 5
    assert given.larger.bounds["coverage_80:guardrail"] == 0.05
    assert given.counted == ("DOW_JONES", "GOLD")
    assert given.ended == ("DOW_JONES", "GOLD")
