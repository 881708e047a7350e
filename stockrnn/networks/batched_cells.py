"""Compute one recurrent layer of many members at once, with PyTorch's RNN (tanh), GRU and LSTM equations.

For many small networks this is faster than PyTorch's layers, for three reasons:

- The batch is the last axis and every step is one contiguous block. Products are as wide as the batch (a result with
  8 columns takes four times as long as one with 64) and accumulate in place, and a gate is a block of rows.
- The backward pass is written by hand. Factors that do not depend on the incoming gradient are computed for all
  steps at once, which leaves two to five operations per step.
- Training steps reuse their buffers. New memory costs a page fault for each 4 KB.

The hyperbolic tangent is computed as tanh(x) = 2 sigmoid(2 x) - 1, which takes a fifth of the time of `torch.tanh`
on the CPU. The weights are doubled once, and `torch.add(MINUS_ONE, s, alpha=2)` gives 2 s - 1 in one operation.

Shapes: `inputs` (sequence, members, features, batch), `w_ih` (members, gates x hidden, features),
`w_hh` (members, gates x hidden, hidden), `b_ih`, `b_hh` (members, gates x hidden);
outputs (sequence, members, hidden, batch). Gates are in PyTorch's order: r z n (GRU), i f g o (LSTM).

Equations: the documentation of `torch.nn.RNN`, `torch.nn.GRU` and `torch.nn.LSTM`.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["CELLS", "Workspace"]

MIN_FAST_COLUMNS = 16  # of a product; narrower results are slow to compute
MINUS_ONE = torch.tensor(-1.0)
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # gradient * (1 - s) * s
tanh_backward = torch.ops.aten.tanh_backward.grad_input  # gradient * (1 - t * t)


class Workspace:
    """A layer's buffers, reused in every training step.

    A layer must finish its backward pass before its next forward pass. The tensors that a layer returns are buffers
    of its workspace, and are valid until then.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def buffer(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Return a contiguous, uninitialized buffer of this shape; buffers of one name share their memory.

        On a GPU the buffer is always new: PyTorch's allocator is fast there, and a captured graph has its own memory.
        """
        if like.is_cuda:
            return like.new_empty(shape)
        size = math.prod(shape)
        memory = self._memory.get(name)
        if memory is None or len(memory) < size:
            memory = self._memory[name] = like.new_empty(size)
        return memory[:size].view(shape)


def _states(workspace: Workspace, name: str, inputs: Tensor, hidden: int) -> Tensor:
    """Return a buffer of states, (sequence + 1, members, hidden, batch), in which the initial states are zero."""
    sequence, members, _, batch = inputs.shape
    states = workspace.buffer(name, inputs, sequence + 1, members, hidden, batch)
    states[0] = 0
    return states


def _double_rows(weights: Tensor, first: int, last: int) -> Tensor:
    """Return the weights with the rows of the tanh gate doubled."""
    doubled = weights.clone()
    doubled[:, first:last] *= 2
    return doubled


class _WeightGradient:
    """Gradient of a weight (members, gates x hidden, n), summed over the steps; narrow ones are computed transposed."""

    def __init__(self, workspace: Workspace, name: str, weight: Tensor) -> None:
        self._narrow = weight.shape[2] < MIN_FAST_COLUMNS
        shape = weight.transpose(1, 2).shape if self._narrow else weight.shape
        self._sum = workspace.buffer(name, weight, *shape).zero_()

    def add(self, d_gates: Tensor, factor: Tensor) -> None:
        """Add a step: gradients (members, gates x hidden, batch) of products with `factor` (members, n, batch)."""
        left, right = (factor, d_gates) if self._narrow else (d_gates, factor)
        self._sum.baddbmm_(left, right.transpose(1, 2))

    @property
    def value(self) -> Tensor:
        """Sum in the weight's shape."""
        return self._sum.transpose(1, 2) if self._narrow else self._sum


class _LayerGradients:
    """Gradients of a layer's weights and inputs, computed from the gates' gradients step by step, last step first."""

    def __init__(self, ctx: Any, inputs: Tensor, states: Tensor, w_ih: Tensor, w_hh: Tensor) -> None:
        self._inputs, self._states = inputs.unbind(0), states.unbind(0)
        self._w_ih, self._w_hh = (
            _WeightGradient(ctx.workspace, "d_w_ih", w_ih),
            _WeightGradient(ctx.workspace, "d_w_hh", w_hh),
        )
        self._by_input = w_ih.transpose(1, 2)
        self.inputs = ctx.workspace.buffer("d_inputs", inputs, *inputs.shape) if ctx.needs_input_grad[0] else None

    def add(self, step: int, by_input: Tensor, by_hidden: Tensor) -> None:
        """Add a step's gradients of the input and hidden products, (members, gates x hidden, batch)."""
        self._w_ih.add(by_input, self._inputs[step])
        if step:  # the states before the first step are zero
            self._w_hh.add(by_hidden, self._states[step])
        if self.inputs is not None:
            torch.bmm(self._by_input, by_input, out=self.inputs[step])

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """Gradients of `w_ih` and `w_hh`."""
        return self._w_ih.value, self._w_hh.value


def _output_gradients(gradient: Tensor, sequence: int, last: bool) -> list[Tensor | None]:
    """Return the gradient of each step's state from the next layer or the head, without the next step's share."""
    return [None] * (sequence - 1) + [gradient] if last else list(gradient)


def _add_product(above: Tensor | None, left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """Compute above + left @ right into `out`."""
    return torch.bmm(left, right, out=out) if above is None else torch.baddbmm(above, left, right, out=out)


def _bias_gradient(gates: Tensor) -> Tensor:
    return gates.sum(3).sum(0)


class _RNN(torch.autograd.Function):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        last: bool,
        workspace: Workspace,
    ) -> Tensor:
        states = _states(workspace, "states", inputs, w_hh.shape[2])
        by_input, by_hidden, bias = 2 * w_ih, 2 * w_hh, (2 * (b_ih + b_hh))[:, :, None]
        now = workspace.buffer("now", inputs, *states.shape[1:])
        for step, (x, before, after) in enumerate(zip(inputs, states, states[1:], strict=False)):
            torch.baddbmm(bias, by_input, x, out=now)
            if step:
                now.baddbmm_(by_hidden, before)
            torch.add(MINUS_ONE, now.sigmoid_(), alpha=2, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states)
        ctx.workspace, ctx.last = workspace, last
        return states[-1] if last else states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states = ctx.saved_tensors
        buffer = ctx.workspace.buffer
        d_pre = buffer("d_pre", inputs, *states[1:].shape)
        d_state = buffer("d_state", inputs, *states.shape[1:])
        by_hidden = w_hh.transpose(1, 2)
        sums = _LayerGradients(ctx, inputs, states, w_ih, w_hh)
        above = _output_gradients(gradient, len(inputs), ctx.last)
        steps = list(zip(states[1:], d_pre, strict=True))
        incoming = gradient if ctx.last else gradient[-1]
        for index in range(len(steps) - 1, -1, -1):
            after, d_now = steps[index]
            tanh_backward(incoming, after, grad_input=d_now)
            sums.add(index, d_now, d_now)
            if index:
                incoming = _add_product(above[index - 1], by_hidden, d_now, d_state)
        d_bias = _bias_gradient(d_pre)
        return sums.inputs, *sums.weights, d_bias, d_bias, None, None


class _GRU(torch.autograd.Function):
    """r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h' = (1 - z) n + z h."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        last: bool,
        workspace: Workspace,
    ) -> Tensor:
        (sequence, members, _, batch), hidden = inputs.shape, w_hh.shape[2]
        x_rz, x_n = w_ih[:, : 2 * hidden], 2 * w_ih[:, 2 * hidden :]
        h_rz, h_n = w_hh[:, : 2 * hidden], 2 * w_hh[:, 2 * hidden :]
        b_rz, b_xn, b_hn = (
            bias[:, :, None]
            for bias in ((b_ih + b_hh)[:, : 2 * hidden], 2 * b_ih[:, 2 * hidden :], 2 * b_hh[:, 2 * hidden :])
        )
        states = _states(workspace, "states", inputs, hidden)
        gates = workspace.buffer("gates", inputs, sequence, members, 2 * hidden, batch)  # r, z
        products = workspace.buffer("products", inputs, sequence, members, hidden, batch)  # 2 (W_hn h + b_hn)
        news = workspace.buffer("news", inputs, sequence, members, hidden, batch)
        steps = zip(
            inputs, gates, gates[:, :, :hidden], gates[:, :, hidden:], products, news, states[:-1], states[1:],
            strict=True,
        )  # fmt: skip
        for step, (x, rz, r, z, product, new, before, after) in enumerate(steps):
            torch.baddbmm(b_rz, x_rz, x, out=rz)
            if step:
                rz.baddbmm_(h_rz, before)
                torch.baddbmm(b_hn, h_n, before, out=product)
            else:
                product.copy_(b_hn.expand_as(product))
            rz.sigmoid_()
            torch.baddbmm(b_xn, x_n, x, out=new).addcmul_(r, product).sigmoid_()
            torch.add(MINUS_ONE, new, alpha=2, out=new)
            torch.lerp(new, before, z, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states, gates, products, news)
        ctx.workspace, ctx.last = workspace, last
        return states[-1] if last else states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states, gates, products, news = ctx.saved_tensors
        buffer = ctx.workspace.buffer
        r, z = gates.chunk(2, 2)
        # First, for all steps: each pre-activation's gradient per unit of the state's gradient. Then, step by step:
        # the gradients themselves. The order is n (hidden product), r, z, n (input product): the first three are the
        # gradients of the hidden products, the last three those of the input products.
        d_gates = buffer("d_gates", inputs, *news.shape[:2], 4, *news.shape[2:])
        f_hn, f_r, f_z, f_xn = d_gates.unbind(2)
        spare = buffer("spare", inputs, *news.shape)
        tanh_backward(torch.sub(1, z, out=spare), news, grad_input=f_xn)
        torch.mul(f_xn, r, out=f_hn)
        torch.mul(f_xn, products, out=spare).div_(2)
        sigmoid_backward(spare, r, grad_input=f_r)
        sigmoid_backward(torch.sub(states[:-1], news, out=spare), z, grad_input=f_z)
        hidden = w_hh.shape[2]
        by_gate = torch.cat([w_hh[:, 2 * hidden :], w_hh[:, : 2 * hidden]], 1).transpose(1, 2)
        sums = _LayerGradients(ctx, inputs, states, w_ih, w_hh)
        above = _output_gradients(gradient, len(inputs), ctx.last)
        steps = list(
            zip(
                z, d_gates, d_gates[:, :, :3].flatten(2, 3), d_gates[:, :, 1:].flatten(2, 3),
                buffer("d_states", inputs, *news.shape), strict=True,
            )
        )  # fmt: skip
        d_state = gradient if ctx.last else gradient[-1]
        for index in range(len(steps) - 1, -1, -1):
            z_now, d_now, d_hidden, d_input, d_before = steps[index]
            d_now *= d_state[:, None]
            sums.add(index, d_input, d_hidden)
            if index:
                torch.mul(d_state, z_now, out=d_before)
                if (more := above[index - 1]) is not None:
                    d_before += more
                d_state = d_before.baddbmm_(by_gate, d_hidden)
        d_w_ih, d_w_hh = sums.weights
        d_bias = _bias_gradient(d_gates.flatten(2, 3))
        return (
            sums.inputs,
            d_w_ih,
            d_w_hh.roll(-hidden, 1),
            d_bias[:, hidden:],
            d_bias[:, : 3 * hidden].roll(-hidden, 1),
            None,
            None,
        )


class _LSTM(torch.autograd.Function):
    """i, f, o = sigmoid(...); g = tanh(...); c' = f c + i g; h' = o tanh(c'). Cells are stored doubled."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        last: bool,
        workspace: Workspace,
    ) -> Tensor:
        (sequence, members, _, batch), hidden = inputs.shape, w_hh.shape[2]
        tangent = (2 * hidden, 3 * hidden)
        by_input, by_hidden = _double_rows(w_ih, *tangent), _double_rows(w_hh, *tangent)
        bias = _double_rows(b_ih + b_hh, *tangent)[:, :, None]
        states, cells = (_states(workspace, name, inputs, hidden) for name in ("states", "cells"))
        gates = workspace.buffer("gates", inputs, sequence, members, 4 * hidden, batch)
        squashed = workspace.buffer("squashed", inputs, sequence, members, hidden, batch)  # tanh(c')
        steps = zip(
            inputs, gates, *gates.chunk(4, 2), cells[:-1], cells[1:], squashed, states[:-1], states[1:], strict=True
        )
        for step, (x, gate, i, f, g, o, c_before, c_after, squashed_now, before, after) in enumerate(steps):
            torch.baddbmm(bias, by_input, x, out=gate)
            if step:
                gate.baddbmm_(by_hidden, before)
            gate.sigmoid_()
            torch.add(MINUS_ONE, g, alpha=2, out=g)
            torch.mul(f, c_before, out=c_after).addcmul_(i, g, value=2)
            torch.sigmoid(c_after, out=squashed_now)
            torch.add(MINUS_ONE, squashed_now, alpha=2, out=squashed_now)
            torch.mul(o, squashed_now, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states, cells, gates, squashed)
        ctx.workspace, ctx.last = workspace, last
        return states[-1] if last else states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states, cells, gates, squashed = ctx.saved_tensors
        buffer = ctx.workspace.buffer
        hidden = w_hh.shape[2]
        i, f, g, o = gates.chunk(4, 2)
        # First the gradients per unit of the cell's gradient (i, f, g) and the state's (o); then the gradients.
        d_gates = buffer("d_gates", inputs, *gates.shape)
        f_i, f_f, f_g, f_o = d_gates.chunk(4, 2)
        spare = buffer("spare", inputs, *squashed.shape)
        sigmoid_backward(g, i, grad_input=f_i)
        sigmoid_backward(torch.div(cells[:-1], 2, out=spare), f, grad_input=f_f)
        tanh_backward(i, g, grad_input=f_g)
        sigmoid_backward(squashed, o, grad_input=f_o)
        to_cell = tanh_backward(o, squashed, grad_input=spare)
        by_hidden = w_hh.transpose(1, 2)
        sums = _LayerGradients(ctx, inputs, states, w_ih, w_hh)
        above = _output_gradients(gradient, len(inputs), ctx.last)
        of_cell = d_gates[:, :, : 3 * hidden].unflatten(2, (3, hidden))
        steps = list(zip(to_cell, f, of_cell, f_o, d_gates, strict=True))
        d_buffer, d_cell = (buffer(name, inputs, *squashed.shape[1:]) for name in ("d_state", "d_cell"))
        d_state = gradient if ctx.last else gradient[-1]
        d_cell.zero_()
        for index in range(len(steps) - 1, -1, -1):
            to_cell_now, f_now, d_ifg, d_o, d_now = steps[index]
            d_cell.addcmul_(d_state, to_cell_now)
            d_ifg *= d_cell[:, None]
            d_o *= d_state
            sums.add(index, d_now, d_now)
            if index:
                d_state = _add_product(above[index - 1], by_hidden, d_now, d_buffer)
                d_cell *= f_now
        d_bias = _bias_gradient(d_gates)
        return sums.inputs, *sums.weights, d_bias, d_bias, None, None


CELLS = {"rnn": _RNN.apply, "gru": _GRU.apply, "lstm": _LSTM.apply}
