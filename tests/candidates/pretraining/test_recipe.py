"""Recipes are read strictly, and the full one is that of the bundled checkpoint."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import candidates
from candidates.pretraining.optimise import build_network, parameter_count
from candidates.pretraining.recipe import builtin_recipes, differences, read_recipe
from harness.errors import ConfigError

BUNDLED = Path(candidates.__file__).parent / "checkpoints" / "chronos-bolt-synthetic"


def test_full_recipe_builds_the_bundled_network():
    """Its network has exactly the tensors of the bundled checkpoint, and the same config."""
    network = build_network(read_recipe("full"))
    known = json.loads((BUNDLED / "config.json").read_text(encoding="utf-8"))
    with safe_open(str(BUNDLED / "model.safetensors"), "np") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a dict

    ours = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    same = ("chronos_config", "d_ff", "d_kv", "num_heads", "num_layers", "initializer_factor")

    assert parameter_count(network) == 2_689_664
    assert stored.items() <= ours.items()
    assert all(name.endswith("embed_tokens.weight") for name in ours.keys() - stored.keys())
    assert {key: network.config.to_dict()[key] for key in same} == {key: known[key] for key in same}


def test_full_recipe_trains_as_the_bundled_checkpoint_was():
    """Steps, batch, pool, rate and mixture are those its facts state."""
    recipe = read_recipe("full")

    training = recipe.training
    assert (training.steps, training.batch, training.pool) == (12678, 2048, 131072)
    assert (training.learning_rate, training.seed, training.compiled) == (2e-3, 0, True)
    assert (recipe.mixture.price_like, recipe.mixture.mixed) == (0.7, 0.1)
    assert set(builtin_recipes()) == {"toy", "full"}


@pytest.mark.parametrize(
    "name", ["network", "mixture", "mixture.prices", "mixture.structure", "loss", "training"]
)
def test_unknown_key_is_named(tmp_path, name):
    """A key nobody reads is an error that names file, table and key."""
    file = tmp_path / "mine.toml"
    file.write_text(f"[{name}]\nbogus = 1\n")

    with pytest.raises(ConfigError, match=rf"mine.toml: \[{name}\]: unknown key 'bogus'"):
        read_recipe(str(file))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bogus]\n", "unknown key 'bogus'; known tables are network, mixture"),
        ("network = 3\n", "network = 3: expected a table"),
        ('[training]\nsteps = "9"\n', "steps = '9': expected a valid integer"),
        ("[training]\npool = 100\nbatch = 64\n", "pool = 100: expected a multiple of batch"),
        ("[training]\nlearning_rate = 0.0\n", "learning_rate = 0.0: expected more than 0"),
        ("[training]\nleast = 600\n", "least = 600: expected at most the context, 512"),
        ("[network]\nd_model = 100\n", "d_model = 100: expected a multiple of 32"),
        ("[network]\ncontext = 100\n", "context = 100: expected a multiple of patch"),
        ("[network]\nlevels = [0.5, 0.1]\n", "expected rising levels"),
        ("[mixture]\nmixed = 1.5\n", "mixed = 1.5: expected a share, 0 to 1"),
        ("[mixture.prices]\nlogs = 0.5\n", "levels \\+ logs = 1.15: expected 1 or less"),
        ("[network\n", "not valid TOML"),
    ],
)
def test_bad_recipe_is_refused_in_one_line(tmp_path, text, said):
    """What is wrong, found and expected stands in the message, with the file."""
    file = tmp_path / "mine.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=said) as caught:
        read_recipe(str(file))

    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_recipe_is_named():
    """A name that is neither built in nor a file says what there is."""
    with pytest.raises(ConfigError, match="one of full, toy"):
        read_recipe("huge")
    with pytest.raises(ConfigError, match="no such file"):
        read_recipe("huge.toml")


def test_differences_are_named_by_path():
    """Nested settings that differ are listed with both values."""
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2, not 3"]
