"""The published page from the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cohort.patients import DEVELOPMENT, TEST
from cohort.plots import BLAND_ALTMAN, BY_KVP, BY_SIZE

Figures = Mapping[str, Any]

_INTRODUCTION: Final = Path(__file__).with_name("introduction.md")


def as_markdown(results: Figures) -> str:
    """The whole page."""
    parts = [
        _INTRODUCTION.read_text(encoding="utf-8").format(
            patients=results["patients"],
            seed=TEST.seed,
            development=DEVELOPMENT.seed,
            development_patients=DEVELOPMENT.count,
        ),
        _targets(results),
        _methods(results["methods"]),
        _plots(),
        _default_strata(results["strata"]),
        _all_strata(results),
        _comparisons(results["comparisons"]),
        _weak_spots(results),
        _ablations(results["ablations"]),
        _repeats(results["repeats"]),
    ]
    if results.get("images"):
        parts.append(_images(results["images"]))
    if results.get("series"):
        parts.append(_series(results["series"]))
    return "\n".join(parts)


def _targets(results: Figures) -> str:
    """What the design asks for, and whether it is reached."""
    usual = next(m["usual"] for m in results["methods"] if m["name"] == "phantomless")
    again = {row["change"]: row["rms_cv_percent"] for row in results["repeats"]}
    covered = 100 * usual["covered"]
    rows = [
        ("bias, usual scans", "within 1", f"{usual['bias']:+.1f}", abs(usual["bias"]) <= 1.0),
        ("RMSE, usual scans", "under 4", f"{usual['rmse']:.1f}", usual["rmse"] < 4.0),
        ("95 % interval covers, usual scans", "93 to 97 %", f"{covered:.1f} %", 93.0 <= covered <= 97.0),
        *(
            (f"RMS CV, same patient, other {change}", "under 1.3 %", f"{again[change]:.1f} %", again[change] < 1.3)
            for change in ("kernel", "dose", "tube voltage")
        ),
    ]
    cells = [[name, asked, found, "yes" if reached else "**no**"] for name, asked, found, reached in rows]
    return "## Against the design's targets\n\n" + _table(["of the default", "target", "found", "reached"], cells)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _bias(figures: Figures) -> str:
    return f"{figures['bias']:+.1f} [{figures['bias_low']:+.1f}, {figures['bias_high']:+.1f}]"


def _limits(figures: Figures) -> str:
    return f"{figures['limit_low']:+.0f} to {figures['limit_high']:+.0f}"


def _covered(figures: Figures) -> str:
    if figures["covered"] is None:
        return "none stated"
    low, high = 100 * figures["covered_low"], 100 * figures["covered_high"]
    return f"{100 * figures['covered']:.1f} % [{low:.0f}, {high:.0f}]"


def _stated(figures: Figures) -> str:
    return "-" if figures["stated"] is None else f"{figures['stated']:.1f}"


def _methods(methods: Sequence[Figures]) -> str:
    header = ["method", "n", "bias [95 % CI]", "SD", "RMSE", "95 % limits", "stated", "covered"]
    parts = ["## Every method\n"]
    for who, title in (("usual", "Usual scans"), ("everyone", "Everyone")):
        rows = []
        for method in methods:
            f = method[who]
            if f is None:
                continue
            name = f"**{method['title']}**" if method["name"] == "phantomless" else method["title"]
            row = [name, str(f["count"]), _bias(f), f"{f['sd']:.1f}", f"{f['rmse']:.1f}", _limits(f), _stated(f)]
            row.append(_covered(f))
            if who == "usual":
                mineral = method["against_mineral"]
                row.append(f"{mineral['bias']:+.0f} ± {mineral['sd']:.0f}")
            rows.append(row)
        columns = [*header, "against mineral, bias ± SD"] if who == "usual" else header
        parts += [f"### {title}\n", _table(columns, rows)]
    return "\n".join(parts)


def _plots() -> str:
    return (
        f"![Bland-Altman plot of each method]({BLAND_ALTMAN})\n\n"
        f"![Bias and limits of agreement by tube voltage]({BY_KVP})\n\n"
        f"![Bias and limits of agreement by patient size]({BY_SIZE})\n"
    )


def _default_strata(strata: Sequence[Figures]) -> str:
    rows = []
    for stratum in strata:
        f = stratum["methods"]["phantomless"]
        if f is not None:
            row = [stratum["group"], stratum["name"], str(f["count"]), _bias(f), f"{f['rmse']:.1f}", _limits(f)]
            rows.append([*row, _stated(f), _covered(f)])
    header = ["by", "", "n", "bias [95 % CI]", "RMSE", "95 % limits", "stated", "covered"]
    return "## The default by kind of scan\n\n" + _table(header, rows)


def _all_strata(results: Figures) -> str:
    names = [method["name"] for method in results["methods"]]
    rows = []
    for stratum in results["strata"]:
        cells = []
        for name in names:
            f = stratum["methods"][name]
            cells.append("-" if f is None else f"{f['bias']:+.1f} / {f['rmse']:.1f}")
        rows.append([stratum["group"], stratum["name"], *cells])
    return "## Every method by kind of scan\n\nBias / RMSE, mg/cm³.\n\n" + _table(["by", "", *names], rows)


def _verdict(paired: Figures | None) -> str:
    if paired is None:
        return "-"
    word = {True: "better", False: "**worse**", None: "no difference shown"}[paired["better"]]
    return f"{paired['rmse_ours']:.1f} against {paired['rmse_theirs']:.1f}: {word}"


def _comparisons(comparisons: Sequence[Figures]) -> str:
    rows, exceptions = [], []
    for c in comparisons:
        slope, intercept = c["line"]
        rows.append(
            [
                c["title"],
                _verdict(c["usual"]),
                _verdict(c["everyone"]),
                _verdict(c["usual_fitted"]),
                f"{slope:.2f} x {intercept:+.0f}",
            ]
        )
        bad = [f"{s['group']} {s['name']}" for s in c["strata"] if s["better"] is False]
        even = [f"{s['group']} {s['name']}" for s in c["strata"] if s["better"] is None]
        exceptions.append(
            f"- **{c['title']}**: worse in {', '.join(bad) if bad else 'no kind of scan'}; "
            f"no difference shown in {', '.join(even) if even else 'none'}; better in the other kinds."
        )
    text = (
        "## Is the default better than each published phantomless method?\n\n"
        "RMSE of the default against RMSE of the other, on the patients to whom both give a density; *better* and\n"
        "*worse* where the 95 % bootstrap interval of the difference leaves out zero. As an advantage for the others,\n"
        "the last but one column gives each of them a straight line fitted to the truth of the development cohort\n"
        "(the last column), which the default does not get.\n\n"
    )
    header = ["other method", "usual scans", "everyone", "usual scans, other method re-fitted", "line of the re-fit"]
    return text + _table(header, rows) + "\nBy kind of scan, as published:\n\n" + "\n".join(exceptions) + "\n"


def _ablations(rows: Sequence[Figures]) -> str:
    cells = []
    for row in rows:
        on, off = row["with"], row["without"]
        cells.append(
            [
                row["correction"],
                f"{row['subset']} ({on['count']})",
                f"{on['bias']:+.1f} -> {off['bias']:+.1f}",
                f"{on['rmse']:.1f} -> {off['rmse']:.1f}",
                f"{_stated(on)} -> {_stated(off)}",
                f"{100 * on['covered']:.0f} % -> {100 * off['covered']:.0f} %",
            ]
        )
    text = (
        "## What each correction is worth\n\nWith the correction -> with it switched off, on the scans it is there for"
        " (number in brackets).\n\n"
    )
    return text + _table(["correction", "scans", "bias", "RMSE", "stated", "covered"], cells)


_TELLING_BIAS: Final = 1.5
"""mg/cm3; a stratum's bias under this is not named."""


def _weak_spots(results: Figures) -> str:
    """Found in the figures themselves, so that nothing is left out of the page by kindness."""
    strata = [(f"{s['group']} {s['name']}", s["methods"]["phantomless"]) for s in results["strata"]]
    known = [(name, f) for name, f in strata if f is not None]
    biased = [
        f"{name} ({f['bias']:+.1f})"
        for name, f in known
        if abs(f["bias"]) > _TELLING_BIAS and f["bias_low"] * f["bias_high"] > 0
    ]
    wide = [f"{name} ({100 * f['covered']:.0f} %)" for name, f in known if f["covered_low"] > 0.95]
    narrow = [f"{name} ({100 * f['covered']:.0f} %)" for name, f in known if f["covered_high"] < 0.95]
    equal = [c["title"] for c in results["comparisons"] if c["usual_fitted"]["better"] is not True]
    idle = [
        f"{a['correction']} ({a['subset']})"
        for a in results["ablations"]
        if a["without"]["rmse"] < 1.05 * a["with"]["rmse"]
    ]
    lines = [
        ("Not shown better than, once these have a line of their own fitted to the truth", equal),
        (f"Bias beyond {_TELLING_BIAS} mg/cm³ that is not chance", biased),
        ("Stated error too wide (the interval covers more than 95 % beyond chance)", wide),
        ("Stated error too narrow", narrow),
        ("Corrections that leave RMSE as it is and act on the stated error alone", idle),
    ]
    text = "\n".join(f"- {title}: {', '.join(found) if found else 'none'}." for title, found in lines)
    return "## Where the default is weak\n\n" + text + "\n"


_BODDEN: Final = {"kernel": 1.3, "contrast": 2.9, "session": 4.7, "scanner": 4.9, "all": 5.9}
"""RMS CV in percent; lacking scanner-specific calibration 3.7."""


def _repeats(rows: Sequence[Figures]) -> str:
    cells = [
        [
            row["change"],
            str(row["patients"]),
            f"{row['rms_cv_percent']:.1f} %",
            f"{_BODDEN[row['change']]:.1f} %" if row["change"] in _BODDEN else "-",
            f"{row['bias_mg_cm3']:+.1f}",
            f"{row['rmse_mg_cm3']:.1f}",
        ]
        for row in rows
    ]
    text = (
        "## The same patient again\n\nA first scan (120 kVp, soft kernel, unenhanced) against one with one thing"
        " changed, the default method; patients of 40 mg/cm³ and more. Beside it what Bodden and others 2024 (Eur"
        " Radiol Exp 8:86) found in patients; their session and scanner hold repositioning as well.\n\n"
    )
    header = ["changed", "patients", "RMS CV", "Bodden 2024", "mean difference", "RMS difference"]
    return text + _table(header, cells)


def _images(images: Figures) -> str:
    f = images["agreement"]
    text = (
        "## Through the pictures\n\n"
        f"{images['patients']} more patients as volumes ({images['vertebrae']} vertebrae, T11 to L2), so that"
        " regions, masks, partial volume, noise, kernel and thick slices have a say; labels are those of the digital"
        " phantom.\n"
        f"{images['left_out']} vertebrae were left out by the program, {images['refused']} patients refused.\n\n"
    )
    if images.get("note"):
        text += images["note"] + "\n"
    text += "Vertebrae of one patient share the errors of its calibration, so the intervals ought to be wider.\n\n"
    rows = [["all that count", str(f["count"]), _bias(f), f"{f['rmse']:.1f}", _limits(f), _stated(f), _covered(f)]]
    for name, g in images["groups"].items():
        if g is not None:
            rows.append([name, str(g["count"]), _bias(g), f"{g['rmse']:.1f}", _limits(g), _stated(g), _covered(g)])
    return text + _table(["", "vertebrae", "bias [95 % CI]", "RMSE", "95 % limits", "stated", "covered"], rows)


def _series(series: Figures) -> str:
    text = (
        "## A real patient, two kernels\n\n"
        f"{series['what']} Same raw data, kernels {series['kernels'][0]} and {series['kernels'][1]}."
        " No truth is known; the difference is what the kernel makes. The anatomy networks have seen both series in"
        " training (with pseudo-labels), so a new scan may differ by more.\n\n"
    )
    rows = [
        [
            row["level"],
            *(f"{row[k]['vbmd']:.1f} ± {row[k]['u']:.1f}" for k in ("first", "second")),
            f"{row['second']['vbmd'] - row['first']['vbmd']:+.1f}",
            *(f"{row[k]['hu']:.1f}" for k in ("first", "second")),
        ]
        for row in series["vertebrae"]
    ]
    header = ["level as named", *(f"vBMD, {k}" for k in series["kernels"]), "difference"]
    header += [f"HU, {k}" for k in series["kernels"]]
    tail = (
        f"\n{series['count']} vertebrae: mean difference {series['mean_difference']:+.1f}, RMS"
        f" {series['rms_difference']:.1f} mg/cm³, RMS CV {series['rms_cv_percent']:.1f} %. {series['remark']}\n"
    )
    return text + _table(header, rows) + tail
