"""docs/degradations.md tells of everything there is, and its example runs."""

import re
from pathlib import Path

import pytest

from moceir.degradations import CDD11, DEGRADATIONS

TEXT = (Path(__file__).parents[2] / "docs" / "degradations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"real"}))
def test_every_parameter_stands_in_the_row_of_its_degradation(name: str) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |")]
    for field in DEGRADATIONS[name].model_fields:
        assert f"`{field}`" in row


def test_every_composite_is_named() -> None:
    for name in (*CDD11, "real"):
        assert f"`{name}`" in TEXT


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    exec(compile(example, "docs/degradations.md", "exec"), {})  # noqa: S102 (our own text)
