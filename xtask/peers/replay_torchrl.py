"""TorchRL's prioritized replay buffer with a million steps of CartPole-v1: drawing and setting priorities.

The workload `replay-prioritized` of `cargo xtask compare`. The only case is `prioritized`: 256 transitions are drawn,
and their priorities are set to new errors. Prints rows per second.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "prioritized"))

import torch
import torchrl
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

ROWS, CHUNK, MINIBATCH = 1_000_000, 10_000, 256

torch.set_num_threads(args.threads)
torch.manual_seed(args.seed)


def steps(count):
    columns = {
        "observation": torch.rand(count, 4),
        "action": torch.randint(0, 2, (count,)),
        "next": {
            "observation": torch.rand(count, 4),
            "reward": torch.ones(count, 1),
            "done": torch.zeros(count, 1, dtype=torch.bool),
            "terminated": torch.zeros(count, 1, dtype=torch.bool),
        },
        "td_error": torch.rand(count),
    }
    return TensorDict(columns, [count])


buffer = TensorDictPrioritizedReplayBuffer(
    alpha=0.6,
    beta=0.4,
    eps=1e-6,
    storage=LazyTensorStorage(ROWS),
    batch_size=MINIBATCH,
    priority_key="td_error",
)
for _ in range(ROWS // CHUNK):
    buffer.extend(steps(CHUNK))
errors = torch.rand(64, MINIBATCH)
turn = 0


def prioritized():
    global turn
    batch = buffer.sample()
    batch["td_error"] = errors[turn % len(errors)]
    buffer.update_tensordict_priority(batch)
    turn += 1
    return MINIBATCH


for case in args.cases:
    prioritized()
    report(case, "torchrl", torchrl.__version__, rate(args.seconds, prioritized))
