"""IMPALA and APPO on CartPole-v1 with RLlib's new API stack, timed after two iterations to warm up.

The workload `asynchronous-cartpole` of `cargo xtask compare`. A case is `impala` or `appo`; prints sampled
environment steps per second.
"""

from common import parse, parser, rate, report

arguments = parser(__doc__, "impala,appo")
arguments.add_argument("--env-runners", type=int, default=2, help="processes that sample")
arguments.add_argument("--learners", type=int, default=0, help="processes that learn; 0 is the driver process")
args = parse(arguments)

import logging

import ray
import torch
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig

STEPS = "num_env_steps_sampled_lifetime"
CONFIGS = {"impala": IMPALAConfig, "appo": APPOConfig}

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)


def algorithm(name):
    return (
        CONFIGS[name]()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=args.env_runners,
            num_envs_per_env_runner=5,
            rollout_fragment_length=50,
            # A small machine has fewer processors than processes.
            num_cpus_per_env_runner=0.5,
        )
        .learners(num_learners=args.learners, num_cpus_per_learner=0.5)
        .rl_module(
            model_config={
                "fcnet_hiddens": [64, 64],
                "fcnet_activation": "tanh",
                "vf_share_layers": True,
            }
        )
        .training(train_batch_size_per_learner=500 // max(args.learners, 1))
        # By default an iteration takes ten seconds.
        .reporting(min_time_s_per_iteration=1)
        .debugging(seed=args.seed)
        .build_algo()
    )


for case in args.cases:
    algo = algorithm(case)
    algo.train()
    steps = algo.train()[STEPS]

    def train():
        global steps
        before, steps = steps, algo.train()[STEPS]
        return steps - before

    report(case, "rllib", ray.__version__, rate(args.seconds, train))
    algo.stop()
