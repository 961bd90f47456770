"""The processes of Ray's actors."""

import os
import time


def pids(name):
    """The processes of living actors of a class."""
    processes = os.popen("ps -eo pid,args").read().splitlines()
    return [int(line.split()[0]) for line in processes if f"ray::{name}" in line]


def all_end(*names, seconds=30):
    """Waits for the end of all actors of these classes. Returns whether they have ended."""
    deadline = time.time() + seconds
    while any(pids(name) for name in names):
        if time.time() > deadline:
            return False
        time.sleep(0.2)
    return True
