"""Learners whose gradients are not added up: the negative control."""

import sys

import ray

from rekindle import _ray_learners
from rekindle._torch_collective import TorchCollective

# The workers of Ray do not find this module.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def all_reduce_sum(self, floats):
    """Waits for the others, as the real operation does, and adds nothing."""
    self.agree_max(0)


class Deaf(_ray_learners.Learner.__ray_metadata__.modified_class):
    """The actor of a learner that hears nothing of the others."""

    def __init__(self, *args):
        TorchCollective.all_reduce_sum = all_reduce_sum
        super().__init__(*args)


DeafLearner = ray.remote(Deaf)
