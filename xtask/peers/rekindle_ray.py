"""PPO and IMPALA on CartPole-v1 with rekindle's runners and learners in Ray, timed after two iterations to warm up.

The counterpart of `ppo_rllib.py` and `asynchronous_rllib.py` with the same settings. A case is `ppo` or `impala`; prints
environment steps per second that were sampled and learned from. It needs the packages `rekindle`, `ray` and, for several
learners, `torch`.
"""

from common import parse, parser, rate, report

arguments = parser(__doc__, "ppo,impala")
arguments.add_argument("--env-runners", type=int, default=2, help="processes that sample")
arguments.add_argument("--learners", type=int, default=1, help="learners; the first one is the driver process")
args = parse(arguments)

import logging
import os

# Kernels of this process. Those of an actor use the CPUs that Ray has assigned.
os.environ.setdefault("REKINDLE_NUM_THREADS", str(args.threads))

import ray

import rekindle
import rekindle.ray

STEPS = "env_runners/num_env_steps_sampled_lifetime"
CONFIGS = {
    "ppo": {
        "algorithm": "PPO",
        "environment": {"env": "CartPole-v1"},
        "env_runners": {"num_envs_per_env_runner": 8 // max(args.env_runners, 1)},
        "model_config": {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh", "vf_share_layers": False},
        "training": {
            "train_batch_size": 1024,
            "minibatch_size": 256,
            "num_epochs": 4,
            "lr": 2.5e-4,
            "gamma": 0.99,
            "lambda_": 0.95,
            "clip_param": 0.2,
            "vf_clip_param": float("inf"),
            "entropy_coeff": 0.01,
            "vf_loss_coeff": 0.5,
            "grad_clip": 0.5,
            "use_kl_loss": False,
        },
    },
    "impala": {
        "algorithm": "IMPALA",
        "environment": {"env": "CartPole-v1"},
        "env_runners": {"num_envs_per_env_runner": 5},
        "model_config": {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh", "vf_share_layers": True},
        "training": {"train_batch_size": 500, "fragment_length": 50},
    },
}

ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)

for case in args.cases:
    numbers = {"num_runners": args.env_runners, "num_learners": args.learners, "seed": args.seed}
    with rekindle.ray.train(CONFIGS[case], **numbers) as training:
        next(training)
        steps = next(training)[STEPS]

        def train():
            global steps
            before, steps = steps, next(training)[STEPS]
            return steps - before

        report(case, "rekindle", rekindle.__version__, rate(args.seconds, train))
