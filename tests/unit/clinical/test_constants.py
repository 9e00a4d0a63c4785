"""The clinical data file is complete, and a broken one is named as such."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trabecula.clinical import load_constants, parse_constants
from trabecula.errors import ClinicalDataError

ENTRY = '[meta]\nversion = "1"\n[a.b]\nvalue = 2\nunit = "HU"\nsource = "x"\nverified = true\n'


def test_every_entry_says_where_it_is_from_and_whether_that_was_checked() -> None:
    constants = load_constants()
    assert re.fullmatch(r"\d{4}\.\d+\.\d+\+cn-2024-\d+\.\d+\.\d+", constants.version)
    for constant in constants:
        assert len(constant.source) >= 10, constant.id
        assert constant.unit, constant.id
        if "recalled" in constant.source.lower() or "proposal" in constant.source.lower():
            assert not constant.verified or ";" in constant.source, f"{constant.id} is recalled yet marked verified"


def test_every_density_says_its_scale() -> None:
    for constant in load_constants():
        if "mg/cm3" in constant.unit and constant.id.startswith(("levels.", "density.", "calibration.slope")):
            assert constant.scale in ("K2HPO4", "HA"), constant.id


def test_every_id_that_the_code_asks_for_is_in_the_file(repository: Path) -> None:
    constants = load_constants()
    call = re.compile(r"constants\.(number|text|flag|row|numbers|texts|table|rows)\(\s*\"([^\"]+)\"")
    asked = [
        (path.name, kind, name)
        for path in (repository / "server").rglob("*.py")
        for kind, name in call.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(asked) > 20
    for file, kind, name in asked:
        found = constants.table(name) if kind in ("table", "rows") else getattr(constants, kind)(name)
        assert found is not None, (file, name)


def test_level_rules_cover_every_thoracic_and_lumbar_level_once() -> None:
    named = [name for row in load_constants().rows("levels") for name in row.texts("levels")]
    assert sorted(named) == sorted([*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))])


def test_lower_thoracic_line_goes_through_both_cut_off_pairs() -> None:
    row = load_constants().row("levels.lower-thoracic")
    line = [row.number("slope") * x + row.number("intercept_mg_cm3") for x in (91.0, 128.0)]
    assert line == pytest.approx([80.0, 120.0], abs=1e-6)


def test_values_come_out_typed() -> None:
    text = (
        ENTRY
        + '[a.row]\nvalue = { n = 1, t = "x", f = true, l = [1, 2] }\nunit = "1"\nsource = "y"\nverified = false\n'
    )
    constants = parse_constants(text)
    assert constants.number("a.b") == 2.0
    row = constants.row("a.row")
    assert (row.number("n"), row.text("t"), row.flag("f"), row.numbers("l")) == (1.0, "x", True, (1.0, 2.0))
    assert [c.id for c in constants.table("a")] == ["a.b", "a.row"]
    assert constants["a.b"].verified
    for wrong in (
        lambda: row.number("t"),
        lambda: row.number("f"),
        lambda: constants.text("a.b"),
        lambda: row.text("?"),
    ):
        with pytest.raises(ClinicalDataError):
            wrong()


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (ENTRY.replace('source = "x"\n', ""), "a.b"),
        (ENTRY.replace("verified = true\n", ""), "a.b"),
        (ENTRY.replace("verified = true", 'verified = "yes"'), "a.b"),
        (ENTRY.replace('source = "x"', 'source = " "'), "a.b"),
        (ENTRY + 'sauce = "x"\n', "sauce"),
        (ENTRY.replace("value = 2", "value = nan"), "a.b"),
        (ENTRY.replace("value = 2", 'value = [1, "x"]'), "a.b"),
        (ENTRY.replace("[a.b]\n", "[a]\nstray = 1\n[a.b]\n"), "a.stray"),
        (ENTRY.replace('[meta]\nversion = "1"\n', ""), "version"),
        ('[meta]\nversion = "1"\n', "no constants"),
        (ENTRY + "[a.b]\n", "TOML"),
    ],
)
def test_a_broken_file_is_refused_at_load_and_the_entry_named(broken: str, named: str) -> None:
    with pytest.raises(ClinicalDataError, match=named):
        parse_constants(broken)


def test_an_unknown_id_and_a_missing_file_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ClinicalDataError, match=r"no\.such"):
        load_constants().number("no.such")
    with pytest.raises(ClinicalDataError):
        load_constants(tmp_path / "absent.toml")
