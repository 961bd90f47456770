"""Learning from recorded CartPole-v1 episodes, and reading them, with RLlib.

The workloads `offline-cloning` and `offline-reading` of `cargo xtask compare`: 20 000 random steps as RLlib records
them (episodes in Parquet files). Cases: bc and marwil (64 x 64 tanh, batches of 2000 rows, 100 updates per training
step), read (the pipeline from files to the learner's batches, without updates). Prints rows per second.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "bc,marwil,read"))

import logging
import tempfile
import warnings

import gymnasium
import msgpack
import msgpack_numpy
import pyarrow.parquet
import ray
import torch
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.marwil import MARWILConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

EPISODES = 900
BATCH = 2000
UPDATES = 100

warnings.simplefilter("ignore")
torch.set_num_threads(args.threads)
logging.disable(logging.WARNING)
# Actors that decode keep a CPU each, and reading waits for another one: a number of labels, not of cores.
ray.init(num_cpus=8, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
ray.data.DataContext.get_current().enable_progress_bars = False


def record(folder):
    """Writes random steps as RLlib's offline runner does with `output_write_episodes`."""
    config = BCConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=8).debugging(seed=args.seed)
    runner = SingleAgentEnvRunner(config=config)
    # The pipeline refuses episodes that go on. Random ones have about 22 steps.
    episodes = runner.sample(num_episodes=EPISODES, random_actions=True)
    items = [msgpack.packb(episode.get_state(), default=msgpack_numpy.encode) for episode in episodes]
    pyarrow.parquet.write_table(pyarrow.table({"item": items}), f"{folder}/episodes.parquet")
    runner.stop()
    return sum(len(episode) for episode in episodes)


def config_of(case, folder):
    base = MARWILConfig() if case == "marwil" else BCConfig()
    env = gymnasium.make("CartPole-v1")
    return (
        base.environment(
            "CartPole-v1", observation_space=env.observation_space, action_space=env.action_space
        )
        .rl_module(
            model_config={"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh", "vf_share_layers": False}
        )
        .training(train_batch_size_per_learner=BATCH)
        .offline_data(
            input_=[folder],
            input_read_episodes=True,
            dataset_num_iters_per_learner=UPDATES,
            # Each pass decodes again, as it must with data that do not fit into memory.
            materialize_mapped_data=case != "read",
        )
        .debugging(seed=args.seed)
    )


with tempfile.TemporaryDirectory() as folder:
    steps = record(folder)
    for case in args.cases:
        algo = config_of(case, folder).build_algo()
        if case == "read":
            data = algo.offline_data

            def read():
                """One pass over all steps."""
                iterator = data.sample(num_samples=BATCH, return_iterator=True)[0]
                for batch in iterator.iter_batches(batch_size=BATCH, prefetch_batches=2):
                    del batch
                return steps

            read()
            value = rate(args.seconds, read)
        else:

            def train():
                algo.train()
                return UPDATES * BATCH

            train()
            value = rate(args.seconds, train)
        report(case, "rllib", ray.__version__, value)
        algo.stop()
ray.shutdown()
