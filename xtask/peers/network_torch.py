"""PPO's update and the acting pass of a network over recorded rows, in eager PyTorch on the CPU.

The workloads `cnn-update`, `cnn-acting`, `recurrent-update` and `recurrent-acting` of `cargo xtask compare`: the same
networks, loss, optimizer, clipping and minibatches as `benches/src/bin/measure/network.rs`. A case is NETWORK-ROWS;
prints rows per second.
"""

from common import parse, parser, rate, report

arguments = parser(__doc__, "nature-32,nature-256,small-32,small-256")
arguments.add_argument("--what", choices=["update", "acting"], default="update")
args = parse(arguments)

import math

import torch
from torch import nn

torch.set_num_threads(args.threads)
torch.manual_seed(args.seed)

STEPS = 20
ACTIONS = 6


class Cnn(nn.Module):
    """Convolutions shared by policy and value function, and heads with one hidden layer each."""

    def __init__(self, side, filters, hidden):
        super().__init__()
        layers, channels, self.side = [], 4, side
        for out, kernel, stride in filters:
            layers += [nn.Conv2d(channels, out, kernel, stride), nn.ReLU()]
            channels, side = out, (side - kernel) // stride + 1
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.policy, self.value = (
            nn.Sequential(nn.Linear(channels * side * side, hidden), nn.ReLU(), nn.Linear(hidden, out))
            for out in (ACTIONS, 1)
        )

    def observations(self, rows):
        return torch.randint(0, 256, (rows, self.side, self.side, 4), dtype=torch.uint8)

    def features(self, obs, state):
        return self.encoder(obs.permute(0, 3, 1, 2).float() / 255.0), state

    def state(self, rows):
        return None


class Recurrent(nn.Module):
    """A tanh layer and a recurrent layer shared by policy and value function, and linear heads."""

    def __init__(self, layer, hidden):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(16, hidden), nn.Tanh())
        self.rnn = layer(hidden, hidden, batch_first=True)
        self.policy, self.value = (nn.Linear(hidden, out) for out in (ACTIONS, 1))
        self.hidden = hidden

    def observations(self, rows):
        return torch.randn(rows, 16)

    def features(self, obs, state):
        sequences = (state[0] if isinstance(state, tuple) else state).shape[1]
        x = self.mlp(obs).reshape(sequences, -1, self.hidden)
        y, state = self.rnn(x, state)
        return y.reshape(-1, self.hidden), state

    def state(self, sequences):
        zeros = torch.zeros(1, sequences, self.hidden)
        return (zeros, zeros.clone()) if isinstance(self.rnn, nn.LSTM) else zeros


NETWORKS = {
    "nature": lambda: Cnn(84, [(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512),
    "small": lambda: Cnn(10, [(16, 3, 1), (32, 3, 1)], 128),
    "lstm64": lambda: Recurrent(nn.LSTM, 64),
    "lstm256": lambda: Recurrent(nn.LSTM, 256),
    "gru64": lambda: Recurrent(nn.GRU, 64),
    "gru256": lambda: Recurrent(nn.GRU, 256),
}


def loss(model, state, obs, actions, old_logp, advantages, targets):
    features, _ = model.features(obs, state)
    values = model.value(features).squeeze(-1)
    log_probs = model.policy(features).log_softmax(-1)
    logp = log_probs.gather(1, actions[:, None]).squeeze(1)
    ratio = (logp - old_logp).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return -surrogate.mean() + 0.5 * (values - targets).square().mean() - 0.01 * entropy.mean()


def update(model, minibatch):
    """Returns a function that passes once over 8 minibatches."""
    rows = 8 * minibatch
    unit = STEPS if isinstance(model, Recurrent) else 1
    columns = (
        model.observations(rows),
        torch.randint(0, ACTIONS, (rows,)),
        torch.full((rows,), -math.log(ACTIONS)),
        torch.randn(rows),
        torch.randn(rows),
    )
    columns = [column.reshape(rows // unit, unit, *column.shape[1:]) for column in columns]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def run():
        for units in torch.randperm(rows // unit).split(minibatch // unit):
            state = model.state(len(units))
            value = loss(model, state, *(column[units].flatten(0, 1) for column in columns))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            value.item()
        return rows

    return run


def acting(model, rows):
    """Returns a function that computes the logits of some rows."""
    observations = model.observations(rows).numpy()
    state = model.state(rows)

    def run():
        nonlocal state
        with torch.inference_mode():
            features, state = model.features(torch.from_numpy(observations), state)
            model.policy(features).numpy()
        return rows

    return run


for case in args.cases:
    name, rows = case.split("-")
    model = NETWORKS[name]()
    run = (update if args.what == "update" else acting)(model, int(rows))
    rate(min(0.2, args.seconds), run)
    report(case, "torch", torch.__version__, rate(args.seconds, run))
