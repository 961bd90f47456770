"""The update of `benches/src/bin/measure/update_on_device.rs` in eager PyTorch: same networks, loss, optimizer, clipping
and minibatches, all rows on the device before it begins. Prints one line of JSON.

Needs PyTorch (any 2.x); `scripts/gpu-check` calls it.
"""

import argparse
import json
import math
import time

import torch
from torch import nn


class Mlp(nn.Module):
    """Policy and value function with two tanh layers of 256 each."""

    def __init__(self):
        super().__init__()
        self.policy, self.value = (
            nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, out))
            for out in (4, 1)
        )

    def forward(self, obs):
        return self.policy(obs), self.value(obs).squeeze(-1)


class Cnn(nn.Module):
    """84x84x4 bytes, the convolutions of DQN's Nature paper, heads with 512 features each."""

    def __init__(self, compute_dtype):
        super().__init__()
        self.compute_dtype = compute_dtype
        self.encoder = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
            nn.Flatten(),
        )
        self.policy, self.value = (
            nn.Sequential(nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, out)) for out in (6, 1)
        )

    def forward(self, obs):
        images = obs.permute(0, 3, 1, 2).float() / 255.0
        with torch.autocast(obs.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            features = self.encoder(images)
        features = features.float()
        return self.policy(features), self.value(features).squeeze(-1)


def loss(model, obs, actions, old_logp, advantages, targets):
    logits, values = model(obs)
    log_probs = logits.log_softmax(-1)
    logp = log_probs.gather(1, actions[:, None]).squeeze(1)
    ratio = (logp - old_logp).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return -surrogate.mean() + 0.5 * (values - targets).square().mean() - 0.01 * entropy.mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", choices=["mlp", "cnn"], default="mlp")
    parser.add_argument("--compute-dtype", choices=["f32", "bf16", "f16"], default="f32")
    parser.add_argument("--minibatch-size", type=int, default=4096)
    parser.add_argument("--minibatches", type=int, default=32)
    parser.add_argument("--updates", type=int, default=3)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device(args.device)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[args.compute_dtype]
    model, actions = (Mlp(), 4) if args.network == "mlp" else (Cnn(dtype), 6)
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4, eps=1e-8)
    rows = args.minibatch_size * args.minibatches
    if args.network == "mlp":
        obs = torch.randn(rows, 64, device=device)
    else:
        obs = torch.randint(0, 251, (rows, 84, 84, 4), dtype=torch.uint8, device=device)
    columns = (
        obs,
        torch.randint(0, actions, (rows,), device=device),
        torch.full((rows,), -math.log(actions), device=device),
        torch.randn(rows, device=device),
        torch.randn(rows, device=device),
    )

    def update():
        order = torch.randperm(rows, device=device)
        for indices in order.split(args.minibatch_size):
            value = loss(model, *(column[indices] for column in columns))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        value.item()

    update()
    started = time.perf_counter()
    for _ in range(args.updates):
        update()
    rate = rows * args.updates / (time.perf_counter() - started)
    print(json.dumps({
        "workload": f"update-{args.network}",
        "system": f"PyTorch {torch.__version__}, eager",
        "device": args.device,
        "compute_dtype": args.compute_dtype,
        "minibatch_size": args.minibatch_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows_per_s": rate,
    }))


if __name__ == "__main__":
    main()
