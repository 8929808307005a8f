"""Code of users, run inside ours."""

import os
import subprocess
import sys

import pytest

from harness.arm_ref import user_code
from harness.errors import QuitError


@pytest.mark.parametrize("code", [None, 0, 3, "a text"])
def test_an_exit_is_an_error(code):
    """Whatever a user's code wants the program to end with, it is an error that says so."""
    with pytest.raises(QuitError, match="asks to end the program"), user_code():
        sys.exit(code)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_anything_else_stays_what_it_is(kind):
    """Ctrl-C and ordinary errors go through untouched."""
    with pytest.raises(kind), user_code():
        raise kind


def test_what_is_printed_goes_to_standard_error(capfd):
    """Prints of Python, of the descriptor below, and of a child all leave the result alone."""
    print("ours")
    with user_code():
        print("by Python")
        os.write(1, b"by the descriptor\n")
        subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
    print("ours again")

    out, err = capfd.readouterr()
    assert out == "ours\nours again\n"
    assert sorted(err.splitlines()) == ["by Python", "by a child", "by the descriptor"]


def test_outputs_may_be_closed():
    """Where whoever started us closed an output, a user's code runs all the same."""
    program = (
        "import os, sys\n"
        "os.close(int(sys.argv[1]))\n"
        "from harness.arm_ref import user_code\n"
        "with user_code():\n"
        "    done = 7\n"
        "os._exit(done)\n"
    )
    for closed in ("1", "2"):
        ended = subprocess.run([sys.executable, "-P", "-c", program, closed], check=False)
        assert ended.returncode == 7
