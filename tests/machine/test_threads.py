"""How threads wait is decided before torch is loaded, and never against the user."""

import os
import subprocess
import sys

import pytest

from moceir.machine.threads import CHOSEN_BY_USER, SPINS


def spins_after(statement: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    code = f"import os\n{statement}\nprint(os.environ.get('GOMP_SPINCOUNT'))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_lets_threads_sleep_soon() -> None:
    assert spins_after("import moceir") == SPINS


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_what_the_user_has_chosen_stays(name: str, value: str) -> None:
    expected = value if name == "GOMP_SPINCOUNT" else "None"
    assert spins_after("import moceir", **{name: value}) == expected


def test_a_torch_that_is_loaded_already_has_read_the_variable() -> None:
    assert spins_after("import sys, types; sys.modules['torch'] = types.ModuleType('torch'); import moceir") == "None"
