"""Trains in Ray for a long time while runners and learners are killed at random.

    python scripts/soak_ray.py --minutes 30 --runners 2 --learners 2

The run begins anew whenever CartPole is solved, and every time it must be. Prints a line for each minute, and at the
end whether the memory of this program stayed flat and all actors have ended. Exits with 1 otherwise. Needs the packages
`rekindle` and `ray`, and for several learners `torch`.
"""

import argparse
import gc
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

IMPALA = {
    "algorithm": "IMPALA",
    "environment": {"env": "CartPole-v1"},
    "env_runners": {"num_envs_per_env_runner": 5},
    "model_config": {"fcnet_hiddens": [64, 64]},
    "training": {
        "lr": 0.002,
        "train_batch_size": 500,
        "fragment_length": 10,
        "vf_loss_coeff": 0.05,
        "entropy_coeff": 0.0,
    },
    "run": {"max_env_steps": 3_000_000, "stop_value": 475.0},
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--learners", type=int, default=1)
    parser.add_argument(
        "--runner-kills", type=float, nargs=2, default=(2.0, 8.0), help="seconds between two kills of runners"
    )
    parser.add_argument(
        "--learner-kills", type=float, nargs=2, default=(20.0, 60.0), help="the same of learners, which start slowly"
    )
    parser.add_argument("--threads", type=int, default=1, help="of kernels in this program")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def pids(name):
    """The processes of living actors of a class."""
    processes = os.popen("ps -eo pid,args").read().splitlines()
    return [int(line.split()[0]) for line in processes if f"ray::{name}" in line]


def memory():
    """The resident memory of this program, in MiB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Killer(threading.Thread):
    """Kills an actor of a class again and again."""

    def __init__(self, name, between, seed):
        super().__init__(daemon=True)
        self.actor = name
        self.between, self.random = between, random.Random(seed)
        self.over, self.killed = threading.Event(), 0

    def run(self):
        while not self.over.wait(self.random.uniform(*self.between)):
            if living := pids(self.actor):
                os.kill(self.random.choice(living), self.random.choice([signal.SIGKILL, signal.SIGABRT]))
                self.killed += 1


def killed(killers):
    return sum(killer.killed for killer in killers)


def soak(args):
    from rekindle.ray import train

    killers = [
        Killer("Runner", args.runner_kills, args.seed),
        Killer("Learner", args.learner_kills, args.seed + 1),
    ]
    for killer in killers:
        killer.start()
    start = report = time.monotonic()
    runs = solved = lost = lost_learners = steps = 0
    used = []
    while time.monotonic() - start < 60 * args.minutes:
        last = {}
        seed = args.seed + runs
        with train(IMPALA, num_runners=args.runners, num_learners=args.learners, seed=seed) as training:
            for last in training:
                if time.monotonic() - report >= min(60, 10 * args.minutes):
                    report = time.monotonic()
                    gc.collect()
                    used.append(memory())
                    print(
                        f"{(report - start) / 60:5.1f} min: {solved} of {runs} runs solved, {killed(killers)} killed, "
                        f"{lost + training.num_lost} runners and {lost_learners + training.num_lost_learners} "
                        f"learners replaced, {used[-1]:.0f} MiB",
                        flush=True,
                    )
            lost += training.num_lost
            lost_learners += training.num_lost_learners
        runs += 1
        steps += int(last["env_runners/num_env_steps_sampled_lifetime"])
        solved += last["env_runners/episode_return_mean"] >= 475
    for killer in killers:
        killer.over.set()
        killer.join()
    deadline = time.monotonic() + 30
    while (orphans := len(pids("Runner") + pids("Learner"))) and time.monotonic() < deadline:
        time.sleep(0.2)
    # The first fifth is the start: buffers that are filled once.
    settled = used[len(used) // 5 :] or [memory()]
    third = max(1, len(settled) // 3)
    growth = sum(settled[-third:]) / third - sum(settled[:third]) / third
    print(
        f"{solved} of {runs} runs solved, {steps:,} steps, {killed(killers)} killed, {lost} runners and {lost_learners} "
        f"learners replaced; memory grew by {growth:.1f} MiB; {orphans} actors are left"
    )
    return solved == runs and orphans == 0 and growth < 20


def main():
    args = arguments()
    # Read by the library when it is first used. Other cores are those of the actors.
    os.environ.setdefault("REKINDLE_NUM_THREADS", str(args.threads))
    import ray

    logging.getLogger("rekindle").setLevel(logging.ERROR)
    folder = tempfile.mkdtemp(prefix="ray-")
    ray.init(
        num_cpus=args.runners + args.learners,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder,
    )
    try:
        return 0 if soak(args) else 1
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
