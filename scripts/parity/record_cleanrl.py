"""Record what agents of CleanRL's PPO scripts compute.

    pip install torch==2.9.1 safetensors==0.8.0 numpy
    python scripts/parity/record_cleanrl.py

CleanRL is a set of scripts and not a library to import. The agents below have the layers and the
parameter names of the class `Agent` in `ppo.py`, `ppo_continuous_action.py` and `ppo_atari.py`,
with fewer units. Writes to tests/parity/data, for <agent> = discrete, continuous and atari:

cleanrl_<agent>.safetensors           the state dict
cleanrl_<agent>_recorded.safetensors  obs [B, ...] (bytes and channels last for atari), logits
    [B, inputs of the action distribution], values [B]

`cleanrl_discrete` is the state dict of `torch.compile(agent)`: every name begins with `_orig_mod.`.
Parameters are random. Float32, CPU, one thread; the version is in the metadata of every file.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

DATA = Path(__file__).parents[2] / "tests/parity/data"


def perceptron(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, outputs)
    )


class Discrete(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = perceptron(4, 1)
        self.actor = perceptron(4, 2)

    def forward(self, obs):
        return self.actor(obs), self.critic(obs)


class Continuous(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = perceptron(4, 1)
        self.actor_mean = perceptron(4, 3)
        self.actor_logstd = nn.Parameter(torch.zeros(1, 3))

    def forward(self, obs):
        mean = self.actor_mean(obs)
        return torch.cat([mean, self.actor_logstd.expand_as(mean)], 1), self.critic(obs)


class Atari(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 5, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(5, 6, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(6, 4, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 2 * 2, 7),
            nn.ReLU(),
        )
        self.actor = nn.Linear(7, 3)
        self.critic = nn.Linear(7, 1)

    def forward(self, obs):
        hidden = self.network(obs / 255.0)
        return self.actor(hidden), self.critic(hidden)


def record(name, agent, obs, compiled=False):
    for parameter in agent.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        nn.init.uniform_(parameter, -1.5 / fan_in**0.5, 1.5 / fan_in**0.5)
    with torch.no_grad():
        logits, values = agent(obs)
    if obs.dim() == 4:
        obs = obs.permute(0, 2, 3, 1).contiguous()
    state = (torch.compile(agent) if compiled else agent).state_dict()
    about = {"about": json.dumps({"torch": torch.__version__})}
    save_file(state, DATA / f"cleanrl_{name}.safetensors", metadata=about)
    recorded = {"obs": obs, "logits": logits, "values": values.squeeze(1)}
    save_file(recorded, DATA / f"cleanrl_{name}_recorded.safetensors", metadata=about)
    print(name, *((key, tuple(tensor.shape)) for key, tensor in state.items()), sep="\n    ")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(25)
    record("discrete", Discrete(), 2 * torch.randn(16, 4), compiled=True)
    record("continuous", Continuous(), 2 * torch.randn(16, 4))
    record("atari", Atari(), torch.randint(256, (3, 4, 44, 44), dtype=torch.uint8))
