"""Updates of d3rlpy's IQL and CQL on recorded steps of Pendulum-v1.

The workload `offline-256` of `cargo xtask compare`: 20 000 random steps, 256 x 256 relu networks, minibatches of 256,
d3rlpy's defaults otherwise. A case is an algorithm; prints rows per second, with drawing the minibatches.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "iql,cql"))

import d3rlpy
import gymnasium
import numpy
import torch
from d3rlpy.models.encoders import VectorEncoderFactory

STEPS = 20_000
BATCH = 256
UPDATES = 20

torch.set_num_threads(args.threads)
d3rlpy.seed(args.seed)


def dataset():
    env = gymnasium.make("Pendulum-v1")
    env.action_space.seed(args.seed)
    columns = {name: [] for name in ["observations", "actions", "rewards", "timeouts"]}
    observation, _ = env.reset(seed=args.seed)
    for _ in range(STEPS):
        action = env.action_space.sample()
        following, reward, _, truncated, _ = env.step(action)
        for name, value in zip(columns, [observation, action, reward, truncated]):
            columns[name].append(value)
        observation = env.reset()[0] if truncated else following
    columns = {name: numpy.array(column, numpy.float32) for name, column in columns.items()}
    columns["timeouts"][-1] = 1
    return d3rlpy.dataset.MDPDataset(terminals=numpy.zeros(STEPS, numpy.float32), **columns)


data = dataset()
encoder = VectorEncoderFactory([256, 256])
for case in args.cases:
    scaler = d3rlpy.preprocessing.MinMaxActionScaler(minimum=-2.0, maximum=2.0)
    common = dict(
        batch_size=BATCH, actor_encoder_factory=encoder, critic_encoder_factory=encoder, action_scaler=scaler
    )
    if case == "iql":
        config = d3rlpy.algos.IQLConfig(value_encoder_factory=encoder, **common)
    else:
        config = d3rlpy.algos.CQLConfig(**common)
    algo = config.create(device=False)
    algo.build_with_dataset(data)

    def update():
        for _ in range(UPDATES):
            algo.update(data.sample_transition_batch(BATCH))
        return UPDATES * BATCH

    update()
    report(case, "d3rlpy", d3rlpy.__version__, rate(args.seconds, update))
