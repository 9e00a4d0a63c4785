"""Level profiles: the built-in ones, a site's own, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from trabecula.clinical import load_constants, load_profile, parse_profile, profile_names
from trabecula.errors import ClinicalDataError

TEXT = (resources.files("trabecula.clinical") / "profiles" / "acr.toml").read_text(encoding="utf-8")
OWN = TEXT.replace('name = "acr"', 'name = "our-hospital"')


def test_built_in_profiles_are_whole_and_every_rule_says_scale_and_source() -> None:
    assert set(profile_names()) == {"acr", "cn-2024"}
    for name in profile_names():
        constants = load_constants(profile=name)
        assert constants.profile is not None
        assert constants.profile.label == f"{name}-1.0.0"
        assert constants.version.endswith(f"+{name}-1.0.0")
        levels = [level for row in constants.rows("levels") for level in row.texts("levels")]
        assert sorted(levels) == sorted([*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))])
        for entry in constants.table("levels"):
            assert entry.scale == "K2HPO4"
            if "recalled" in entry.source:
                assert not entry.verified


def test_profiles_differ_where_they_say() -> None:
    chinese = load_constants(profile="cn-2024").row("levels.lower-thoracic")
    acr = load_constants(profile="acr").row("levels.lower-thoracic")
    line = [chinese.number("slope") * x + chinese.number("intercept_mg_cm3") for x in (91.0, 128.0)]
    assert line == pytest.approx([80.0, 120.0], abs=1e-6)
    assert (acr.number("slope"), acr.number("intercept_mg_cm3")) == (1.0, 0.0)
    assert load_constants(profile="acr").row("levels.lumbar").number("osteoporosis_below_mg_cm3") == 80.0


def test_a_sites_own_profile_replaces_rules_and_cutoffs_and_is_named_with_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    extra = '\n[assessment.band.coverage_factor]\nvalue = 2.0\nunit = "1"\nsource = "our choice"\nverified = false\n'
    path.write_text(OWN.replace("= 91.0", "= 88.5") + extra, encoding="utf-8")
    constants = load_constants(profile=path)
    assert constants.row("levels.lower-thoracic").number("osteoporosis_below_mg_cm3") == 88.5
    assert constants.number("assessment.band.coverage_factor") == 2.0
    assert constants.profile is not None
    assert constants.profile.label == f"our-hospital-1.0.0-{constants.profile.sha256[:12]}"
    path.write_text(OWN, encoding="utf-8")
    assert load_constants(profile=path).version != constants.version


EDITS: dict[str, Callable[[str], str]] = {
    "not TOML": lambda text: text + "\n= 3",
    "no name": lambda text: text.replace('name = "our-hospital"\n', ""),
    "a name with blanks": lambda text: text.replace('"our-hospital"', '"our hospital"'),
    "no version": lambda text: text.replace('version = "1.0.0"\n', ""),
    "the name of a built-in one": lambda text: text.replace("our-hospital", "cn-2024"),
    "a section that is not its own": lambda text: text.replace("[levels.mid-thoracic]", "[calibration.mid-thoracic]"),
    "no lumbar rule": lambda text: text.replace("[levels.lumbar]", "[levels.lumbal]"),
    "a level that there is not": lambda text: text.replace('"T11", "T12"', '"T11", "T13"'),
    "a level twice": lambda text: text.replace('"T11", "T12"', '"T11", "L1"'),
    "cut-offs the wrong way round": lambda text: text.replace("= 91.0", "= 191.0"),
    "a falling line": lambda text: text.replace("slope = 0.9,", "slope = -0.9,"),
    "a rule without its error": lambda text: text.replace("standard_error_mg_cm3 = 8.0, ", ""),
    "no scale": lambda text: text.replace('scale = "K2HPO4"\n', ""),
    "no source": lambda text: text.replace("source = ", "note = ", 1),
    "another way to decide": lambda text: text.replace('"lumbar-equivalent"', '"whichever"'),
    "a choice about no rule": lambda text: text.replace('["levels.upper-thoracic"]', '["levels.neck"]'),
    "a choice left out": lambda text: text.replace("[profile.flag_only]", "[profile.flags]"),
}


def test_the_text_that_the_edits_start_from_is_good() -> None:
    assert parse_profile(OWN.encode()).name == "our-hospital"


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_profile_that_cannot_be_trusted_is_refused(edit: Callable[[str], str]) -> None:
    assert edit(OWN) != OWN
    with pytest.raises(ClinicalDataError):
        parse_profile(edit(OWN).encode())


def test_a_profile_may_not_invent_assessment_entries(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN + '\n[assessment.nothing]\nvalue = 1\nunit = "1"\nsource = "x"\nverified = false\n')
    with pytest.raises(ClinicalDataError):
        load_constants(profile=path)


@pytest.mark.parametrize("name", ["", "who-1994", "no/such/file.toml"])
def test_a_profile_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ClinicalDataError):
        load_profile(name)
