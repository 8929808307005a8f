"""Files a user asks for by name: written where that is possible, else one line."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("claims", "tiny.toml", "--markdown"),
        ("claims", "tiny.toml", "--json"),
        ("report", "tiny.toml", "--output"),
        ("report", "tiny.toml", "--format", "md", "--output"),
        ("report", "tiny.toml", "--nights", "--output"),
        ("gate", "tiny.toml", "--records"),
    ],
)
@pytest.mark.parametrize("place", ["a_folder", "a_file/below"])
def test_file_that_cannot_be_written_is_one_line(finished, call, tmp_path, arguments, place):
    """A folder, or a place below a file, is refused in one line with the system's reason.

    What stands in the way stays as it is.
    """
    (tmp_path / "a_folder").mkdir()
    (tmp_path / "a_file").write_text("in the way")
    where = place if arguments[-1] != "--records" else "a_file"

    code, _, err = call(*arguments, where)

    last = err.splitlines()[-1]
    assert code == 2
    assert "cannot be written: " in last
    assert "internal error" not in err
    assert (tmp_path / "a_file").read_text() == "in the way"
