"""PPO on CartPole-v1 with RLlib's new API stack, timed after two iterations to warm up.

The workloads `ppo-cartpole` and `memory` of `cargo xtask compare`. A case is ENVSxROLLOUTxHIDDEN;
prints environment steps per second. Without env runners, the driver process samples and learns.
"""

from common import parse, parser, rate, report, sizes

arguments = parser(__doc__, "8x128x64")
arguments.add_argument("--env-runners", type=int, default=0, help="processes that sample")
arguments.add_argument("--learners", type=int, default=0, help="processes that learn; 0 is the driver process")
args = parse(arguments)

import logging

import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig

STEPS = "num_env_steps_sampled_lifetime"

torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)


def algorithm(num_envs, rollout, hidden):
    # The batch of all learners together is the same for any number of them.
    batch = num_envs * rollout // max(args.learners, 1)
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=args.env_runners,
            num_envs_per_env_runner=num_envs // max(args.env_runners, 1),
            rollout_fragment_length=rollout,
            # A small machine has fewer processors than processes.
            num_cpus_per_env_runner=0.5,
        )
        .learners(num_learners=args.learners, num_cpus_per_learner=0.5)
        .rl_module(
            model_config={
                "fcnet_hiddens": [hidden, hidden],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
            }
        )
        .training(
            train_batch_size_per_learner=batch,
            num_epochs=4,
            minibatch_size=batch // 4,
            lr=2.5e-4,
            gamma=0.99,
            lambda_=0.95,
            clip_param=0.2,
            vf_clip_param=float("inf"),
            entropy_coeff=0.01,
            vf_loss_coeff=0.5,
            grad_clip=0.5,
            use_kl_loss=False,
        )
        .debugging(seed=args.seed)
        .build_algo()
    )


for case in args.cases:
    algo = algorithm(*sizes(case))
    algo.train()
    steps = algo.train()[STEPS]

    def train():
        global steps
        before, steps = steps, algo.train()[STEPS]
        return steps - before

    report(case, "rllib", ray.__version__, rate(args.seconds, train))
    algo.stop()
