"""From label maps to model bundles with one command; stopped and started again, it goes on where it was.

    python -m models.training.run --minutes 120                    # two cores: about an hour for each network
    python -m models.training.run --minutes 120 --self-training    # and real CT with pseudo-labels (split.toml)

Everything lands under ``--out`` (git ignores ``runs/``): seeds, banks of rendered samples, checkpoints with their
curves, and the exported bundles. The two renderers keep refilling the banks while the networks train.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOTS = {"fine": 400, "coarse": 300}
LEAST_SAMPLES = 60
"""A network starts to train when this many samples lie in its bank."""
SELF_TRAINING_SHARE = "0.3"
PSEUDO_SHARE = "0.25"


def call(module: str, *arguments: str) -> None:
    """Run one step and stop when it fails."""
    print(f"== {module} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", f"models.training.{module}", *arguments], check=True)  # noqa: S603  (own modules)


@contextmanager
def renderers(out: Path, shares: list[str], seed: int) -> Iterator[None]:
    """Both renderers filling their banks for as long as the block runs."""
    running = []
    for at, kind in enumerate(SLOTS):
        command = [sys.executable, "-m", "models.training.render", kind, "--seeds", str(out / "seeds")]
        command += ["--out", str(out / "bank" / kind), "--slots", str(SLOTS[kind]), "--seed", str(seed + at), *shares]
        running.append(subprocess.Popen(command))  # noqa: S603  (own modules)
    try:
        for kind in SLOTS:
            _wait_for_samples(out / "bank" / kind, running)
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _wait_for_samples(bank: Path, running: list[subprocess.Popen[bytes]]) -> None:
    while len(list(bank.glob("[0-9]*[0-9].npz"))) < LEAST_SAMPLES:
        if any(process.poll() is not None for process in running):
            raise SystemExit("a renderer stopped; its message is above")
        time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, default=Path("../shared/data/labels"), help="folder of the label maps")
    parser.add_argument("--ct", type=Path, default=Path("../shared/data/ct"), help="folder of the real CTs")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--minutes", type=float, default=120.0, help="training time, half for each network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--self-training", action="store_true", help="draw real CT with pseudo-labels too")
    parser.add_argument("--version", default="0.0.0", help="version written into the bundles")
    args = parser.parse_args()
    out: Path = args.out
    if not (out / "seeds" / "spl.npz").exists():
        call("seeds", "--labels", str(args.labels), "--out", str(out / "seeds"))
    shares = []
    if args.self_training:
        if not list((out / "seeds").glob("real-*.npz")):
            call("real_seeds", "--data", str(args.ct), "--out", str(out / "seeds"))
        shares = ["--real-share", SELF_TRAINING_SHARE, "--pseudo-share", PSEUDO_SHARE]
    common = ["--minutes", str(args.minutes / 2), "--threads", str(args.threads), "--seed", str(args.seed)]
    common += ["--resume", "--count-earlier"]
    with renderers(out, shares, 1000 + args.seed):
        call("train", "fine", "--bank", f"{out}/bank/fine", "--out", f"{out}/fine", "--batch", "2", *common)
        begin = ["--init", f"{out}/fine/checkpoint.pt"] if not (out / "coarse" / "checkpoint.pt").exists() else []
        call("train", "coarse", "--bank", f"{out}/bank/coarse", "--out", f"{out}/coarse", *common, *begin)
    note = ["--self-training"] if args.self_training else []
    for kind in SLOTS:
        checkpoint = f"{out}/{kind}/checkpoint.pt"
        call(
            "export",
            kind,
            "--checkpoint",
            checkpoint,
            "--out",
            f"{out}/export/{kind}",
            "--version",
            args.version,
            *note,
        )


if __name__ == "__main__":
    main()
