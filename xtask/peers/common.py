"""What the peers' programs share: arguments, threads, timing, and the lines of JSON they print."""

import argparse
import json
import os
import time


def parser(description, cases):
    """The arguments of every program; a program may add its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", default=cases, help="what to measure, with commas between")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def parse(parser):
    args = parser.parse_args()
    # Read when NumPy and PyTorch are imported, so this comes before.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    args.cases = args.cases.split(",")
    return args


def sizes(case):
    """The numbers of a case: 8x128x64 is 8, 128 and 64."""
    return [int(size) for size in case.split("x")]


def rate(seconds, work):
    """What `work` does per second; it returns how much it did, and runs at least once."""
    done, start = 0, time.perf_counter()
    while True:
        done += work()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed


def report(case, system, version, value, **more):
    line = {"case": case, "system": system, "version": version, "value": value, **more}
    print(json.dumps(line), flush=True)
