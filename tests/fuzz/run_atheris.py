"""Coverage-guided fuzzing of one reader: ``run_atheris.py TARGET [--seconds N] [--corpus FOLDER]``.

What it finds interesting is kept in the corpus folder, so that a later run goes on from there; what must not come out
ends the run with the input in ``crash-*`` beside it. Targets are those of :mod:`fuzz_targets`.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "support")]

import atheris  # noqa: E402

with atheris.instrument_imports(
    include=[
        "trabecula.imaging",
        "trabecula.hooks",
        "trabecula.programme",
        "trabecula.delivery",
        "trabecula.patient_file",
    ]
):
    from fuzz_targets import targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(targets()))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=FOLDER.parents[1] / "out" / "fuzz" / "atheris")
    chosen = parser.parse_args()
    target = targets()[chosen.target]
    place = chosen.corpus / target.name
    place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (place / f"seed-{number}").write_bytes(seed)
    for kept in sorted((FOLDER / "corpus" / target.name).glob("*")):
        (place / kept.name).write_bytes(kept.read_bytes())
    warnings.simplefilter("ignore")
    os.chdir(place.parent)
    options = [
        f"-max_total_time={chosen.seconds}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=65536",
        "-verbosity=0",
    ]

    def try_one(data: bytes) -> None:
        target.try_one(bytes(data))

    options += ["-print_final_stats=1", f"-artifact_prefix={target.name}-", str(place)]
    atheris.Setup([sys.argv[0], *options], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
