"""JSON schemas: an editor accepts what `abharness` reads, and completes its keys."""

import json
import tomllib
from importlib import resources

import pytest

from harness.errors import ConfigError
from harness.experiments.experiment import builtin_names, parse_experiment
from harness.verbs.schemas import schema_text

jsonschema = pytest.importorskip("jsonschema")
FOLDER = resources.files("harness") / "experiments"


def faults(what, found):
    """Where a value breaks a schema, by path."""
    schema = json.loads(schema_text(what))
    jsonschema.Draft202012Validator.check_schema(schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(found)
    return ["/".join(map(str, each.absolute_path)) for each in errors]


def builtin(name):
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_experiments_fit_the_schema_beside_them(name):
    """Their first line names the schema, the file beside them is what the verb prints."""
    text = builtin(name)
    beside = (FOLDER / "experiment.schema.json").read_text(encoding="utf-8")

    assert text.startswith("#:schema ./experiment.schema.json\n")
    assert beside == schema_text("experiment"), "write it again: config --schema experiment"
    assert faults("experiment", tomllib.loads(text)) == []
    assert faults("policy", tomllib.loads(text)["policy"]) == []
    assert faults("policy", {"policy": tomllib.loads(text)["policy"]}) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("title =", "tilte =", ""),
        ("horizon =", "horizn =", "plan"),
        ("horizon = 24", "horizon = 'a day'", "plan/horizon"),
        ("seeds =", "seed =", "run"),
        ('role = "legacy"', 'role = "old"', "arms"),
        ("margin =", "margn =", "policy"),
    ],
)
def test_what_is_refused_breaks_the_schema(old, new, where):
    """An unknown key, a wrong type or word is marked where it stands, as the reader refuses it."""
    text = builtin("quick")
    assert old in text
    wrong = text.replace(old, new, 1)
    found = faults("experiment", tomllib.loads(wrong))

    assert found
    assert all(each.startswith(where) for each in found)
    with pytest.raises(ConfigError):
        parse_experiment(wrong, source="quick.toml", folder=None)


def test_keys_are_explained():
    """Each key of a table has what the class's docstring says of it."""
    schema = json.loads(schema_text("experiment"))
    shown = schema["properties"]["run"]["properties"]

    assert shown["time_limit_s"]["description"] == shown["memory_limit_mib"]["description"]
    assert "Windows per call" in shown["batch"]["description"]
    for table in ("plan", "run", "measure"):
        rows = schema["properties"][table]["properties"].items()
        assert [name for name, row in rows if not row.get("description")] == []
    rows = schema["properties"]["policy"]["anyOf"][1]["properties"].items()
    assert [name for name, row in rows if not row.get("description")] == []


@pytest.mark.smoke
def test_a_verdict_fits_its_schema(finished):
    """What `gate` writes is what the schema of a verdict says."""
    (file,) = (finished / "verdicts" / "tiny").glob("*/verdict.json")
    found = json.loads(file.read_text(encoding="utf-8"))

    assert faults("verdict", found) == []
    assert faults("verdict", {**found, "outcome": "PERHAPS"}) == ["outcome"]


def test_config_prints_a_schema(call):
    """`config --schema` prints it, and reads no experiment."""
    code, out, err = call("config", "no-such-file.toml", "--schema", "policy")

    assert (code, err) == (0, "")
    assert out == schema_text("policy")
