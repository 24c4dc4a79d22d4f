"""A run that can be interrupted anywhere and goes on exactly where it was.

    python examples/resume.py --stop-after 7     # ends in the middle of the first epoch
    python examples/resume.py --procs 3          # delivers the rest, on other workers

Keep the state with the model's checkpoint: it is a small dict that fits into JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dataflow as df


def square(datapoint: list) -> list:
    return [datapoint[0], datapoint[0] ** 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path("state.json"), help="where it is kept")
    parser.add_argument("--stop-after", type=int, help="batches")
    parser.add_argument("--procs", type=int, default=2, help="processes")
    args = parser.parse_args()

    ds = df.DataFromList([[i] for i in range(100)], shuffle=True)
    ds = df.PrefetchDataZMQ(ds.map(square), args.procs)
    with df.BatchData(ds, 8) as ds:
        if args.state.exists():
            ds.load_state_dict(json.loads(args.state.read_text()))
            print("going on where the last run was")
        else:
            ds.seed(1)
        for step, (numbers, _squares) in enumerate(ds, start=1):
            print(*numbers)  # train here
            args.state.write_text(json.dumps(ds.state_dict()))
            if step == args.stop_after:
                return
    args.state.unlink()
    print("the epoch is complete")


main()
