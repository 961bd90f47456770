"""Record what PyTorch computes with image encoders, and with constant parameters.

    pip install torch==2.9.1 safetensors==0.8.0 numpy
    python scripts/parity/record_cnn.py

Writes to tests/parity/data, float32, CPU, one thread:

torch_cnn_same, torch_cnn_mixed .safetensors
    obs [B, height, width, channels], logits [B, A], values [B], weights [B, A], loss [1]
    state.<parameter>, grad.<parameter>, grad.obs: parameters, and gradients of
    loss = sum(logits * weights) + 0.5 * mean(values ** 2)
torch_dummy_mlp, torch_dummy_cnn .safetensors
    obs [B, ...], logits [B, A], values [B] of the default networks whose i-th parameter, in the
    order of the parameters' names, is filled with DUMMY[i % 4]; parameters are not recorded

The filters are in the metadata. The first is RLlib's default for 10 x 10 with fewer channels; the
second has an odd shape, a kernel that is not square and a layer without padding.
"""

import torch
from networks import ActorCritic, ImageActorCritic
from record_torch import gradients, parameters, save, scalar_loss

DUMMY = (-0.02, -0.01, 0.01, 0.02)
SAME = ((10, 10, 4), [[8, 5, 2], [12, 5, 2]])
MIXED = ((12, 10, 3), [[6, [4, 3], 2], [8, 3, 2, "valid"], [5, 2, 1]])
DEFAULT = ((10, 10, 4), [[16, 5, 2], [32, 5, 2]])


def record(name, shape, filters, rows=4, actions=3):
    torch.manual_seed(8)
    net = ImageActorCritic(shape, filters, actions)
    obs = torch.rand(rows, *shape).requires_grad_()
    weights = torch.randn(rows, actions)
    loss = scalar_loss(net, obs, weights)
    loss.backward()
    logits, values = net(obs)
    figures = {"obs": obs, "weights": weights, "logits": logits, "values": values}
    figures |= {"loss": loss.reshape(1), "grad.obs": obs.grad}
    save(name, {**figures, **parameters(net), **gradients(net)}, shape=shape, filters=filters)


def record_dummy(name, net, obs, **about):
    with torch.no_grad():
        for i, (_, parameter) in enumerate(sorted(net.named_parameters())):
            parameter.fill_(DUMMY[i % len(DUMMY)])
        logits, values = net(obs)
    save(name, {"obs": obs, "logits": logits, "values": values}, dummy=DUMMY, **about)


def main():
    torch.set_num_threads(1)
    record("cnn_same", *SAME)
    record("cnn_mixed", *MIXED)
    torch.manual_seed(9)
    mlp = ActorCritic(4, [256, 256], 2, share=False)
    record_dummy("dummy_mlp", mlp, torch.randn(8, 4))
    cnn = ImageActorCritic(*DEFAULT, 2)
    record_dummy("dummy_cnn", cnn, torch.rand(3, *DEFAULT[0]), filters=DEFAULT[1])


if __name__ == "__main__":
    main()
