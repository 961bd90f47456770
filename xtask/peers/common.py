"""Shared parts of the peers' programs: arguments, threads, timing, and the JSON lines they print."""

import argparse
import json
import os
import time


def parser(description, cases):
    """Returns the parser of the arguments that all programs have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", default=cases, help="what to measure, with commas between")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each case")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def parse(parser):
    args = parser.parse_args()
    # NumPy and PyTorch read these when they are imported.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    args.cases = args.cases.split(",")
    return args


def sizes(case):
    """Returns the numbers of a case: 8x128x64 is 8, 128 and 64."""
    return [int(size) for size in case.split("x")]


def rate(seconds, work):
    """Repeats `work`, at least once, and returns the amount done per second. `work` returns the amount per call."""
    done, start = 0, time.perf_counter()
    while True:
        done += work()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed


def report(case, system, version, value, **more):
    line = {"case": case, "system": system, "version": version, "value": value, **more}
    print(json.dumps(line), flush=True)
