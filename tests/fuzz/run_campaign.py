"""One part of the DICOM campaign as a program of its own: ``run_campaign.py SEED INSTANCES SECONDS``.

Goes on where an earlier run with this seed stopped; its state is ``out/fuzz/state-SEED.json``.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(FOLDER), str(FOLDER.parent / "support")) if path not in sys.path]

from fuzz_campaign import Tally, run_now  # noqa: E402

if __name__ == "__main__":
    kept = FOLDER.parents[1] / "out" / "fuzz"
    seed = int(sys.argv[1])
    tally = Tally.load(kept / f"state-{seed}.json", seed)
    run_now(kept, tally, instances=int(sys.argv[2]), seconds=float(sys.argv[3]))
