"""What the fault tests' sabotage replaces is still in the program: else nobody learns whether they would notice."""

from pathlib import Path

import pytest
from sabotage import SABOTAGES, Sabotage

import trabecula


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda each: each.what)
def test_each_text_to_be_replaced_is_there(sabotage: Sabotage):
    for file, text, replacement in sabotage.edits:
        source = (Path(trabecula.__file__).parent / file).read_text()
        assert text in source, file
        compile(source.replace(text, replacement), file, "exec")
