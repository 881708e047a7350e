"""What all tests share."""

import torch

torch.set_num_threads(1)  # the networks are small: more threads only get in each other's way
