"""Update the parameters of all members in one optimizer step.

The step calls PyTorch's functional optimizers: their state is stacked like the parameters, and the first
`torch.optim.Adam(...)` of a process would import `torch._dynamo`, which takes over a second.
"""

import torch
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from stockrnn.training.config import TrainingConfig

__all__ = ["Optimizer"]


class Optimizer:
    """Adam, AdamW, RMSprop or SGD with PyTorch's defaults; each member has its own state and step count.

    Args:
        parameters: shape (members, parameters), updated in place.
        gradients: shape (members, parameters), read at each step.
        config: optimizer, learning rate, weight decay and gradient clipping.
    """

    def __init__(self, parameters: torch.Tensor, gradients: torch.Tensor, config: TrainingConfig) -> None:
        self.config = config
        members = len(parameters)
        self.first = torch.zeros_like(parameters)  # Adam's mean of gradients
        self.second = torch.zeros_like(parameters)  # Adam's and RMSprop's mean of squared gradients
        self.steps = torch.zeros(members, device=parameters.device)
        self._gradients = gradients
        # One tensor per member is enough, because the updates are elementwise.
        self._rows = [list(tensor.unbind()) for tensor in (parameters, gradients, self.first, self.second, self.steps)]

    @torch.no_grad()
    def step(self, active: int) -> None:
        """Clip the gradients of the first `active` members, each by its own norm, and update their parameters."""
        if self.config.gradient_clip is not None:
            gradients = self._gradients[:active]
            norms = gradients.norm(dim=1, keepdim=True)
            gradients *= torch.clamp(self.config.gradient_clip / (norms + 1e-6), max=1.0)
        parameters, gradients_, first, second, steps = (rows[:active] for rows in self._rows)
        decay, rate = self.config.weight_decay, self.config.learning_rate
        match self.config.optimizer:
            case "adam" | "adamw":
                fused = torch._fused_adam_ if self.config.optimizer == "adam" else torch._fused_adamw_
                self.steps[:active] += 1
                fused(parameters, gradients_, first, second, [], steps, lr=rate, weight_decay=decay, beta1=0.9,
                      beta2=0.999, eps=1e-8, amsgrad=False, maximize=False)  # fmt: skip
            case "rmsprop":
                rmsprop(parameters, gradients_, second, [], [], steps, foreach=True, lr=rate, weight_decay=decay,
                        alpha=0.99, eps=1e-8, momentum=0.0, centered=False, maximize=False)  # fmt: skip
            case _:
                sgd(parameters, gradients_, [None] * active, foreach=True, lr=rate, weight_decay=decay, momentum=0.0,
                    dampening=0.0, nesterov=False, maximize=False)  # fmt: skip
