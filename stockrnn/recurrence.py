"""One recurrent layer of many members at once: PyTorch's RNN (tanh), GRU and LSTM equations, batched over members.

The input products of all steps are one product, and so are the weight gradients; only what truly depends on the
step before is done step by step. The backward pass is written by hand: every factor that does not depend on the
incoming gradient is computed for all steps in one go, which leaves two to five operations a step.

Shapes: `inputs` (members, sequence, batch, features), `w_ih` (members, gates x hidden, features),
`w_hh` (members, gates x hidden, hidden), `b_ih`, `b_hh` (members, gates x hidden);
outputs (members, sequence, batch, hidden). Gates stand in PyTorch's order: r z n (GRU), i f g o (LSTM).

Equations: the documentation of `torch.nn.RNN`, `torch.nn.GRU` and `torch.nn.LSTM`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["CELLS"]


def _projected(inputs: Tensor, w_ih: Tensor, bias: Tensor) -> Tensor:
    """Input products of all steps, (members, sequence, batch, gates x hidden)."""
    members, sequence, batch, features = inputs.shape
    flat = torch.baddbmm(bias[:, None], inputs.reshape(members, sequence * batch, features), w_ih.transpose(1, 2))
    return flat.view(members, sequence, batch, -1)


def _states(inputs: Tensor, hidden: int) -> Tensor:
    """Room for the states before and after every step, (members, sequence + 1, batch, hidden); the first are zero."""
    members, sequence, batch, _ = inputs.shape
    states = inputs.new_empty(members, sequence + 1, batch, hidden)
    states[:, 0] = 0
    return states


def _by_step(like: Tensor) -> Tensor:
    """Room for (sequence, members, batch, ...): PyTorch multiplies batches fast only into contiguous results."""
    return like.new_empty(like.shape[1], like.shape[0], *like.shape[2:])


def _weight_gradients(
    d_input: Tensor, d_hidden: Tensor, inputs: Tensor, states: Tensor, w_ih: Tensor, need_inputs: bool
) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of inputs and weights from those of the input and hidden products, each one product over all steps."""
    members, sequence, batch, features = inputs.shape
    rows = sequence * batch
    by_input, by_hidden = d_input.reshape(members, rows, -1), d_hidden.reshape(members, rows, -1)
    before = states.view(members, -1, states.shape[-1])[:, :rows]
    d_w_ih = torch.bmm(by_input.transpose(1, 2), inputs.reshape(members, rows, features))
    d_w_hh = torch.bmm(by_hidden.transpose(1, 2), before)
    d_b_ih = by_input.sum(1)
    d_b_hh = d_b_ih if d_input is d_hidden else by_hidden.sum(1)
    d_inputs = torch.bmm(by_input, w_ih).view(inputs.shape) if need_inputs else None
    return d_inputs, d_w_ih, d_w_hh, d_b_ih, d_b_hh


class _RNN(torch.autograd.Function):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        projected = _projected(inputs, w_ih, b_ih + b_hh)
        states = _states(inputs, w_hh.shape[2])
        recurrent = w_hh.transpose(1, 2)
        product = torch.empty_like(states[:, 0])
        for x, before, after in zip(projected.unbind(1), states.unbind(1), states[:, 1:].unbind(1), strict=False):
            torch.tanh(torch.baddbmm(x, before, recurrent, out=product), out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states = ctx.saved_tensors
        slope = 1 - states[:, 1:].square()
        d_pre = torch.empty_like(slope)
        steps = list(zip(gradient.unbind(1), slope.unbind(1), d_pre.unbind(1), strict=True))
        d_state = steps[-1][0]
        for index in range(len(steps) - 1, -1, -1):
            _, slope_now, d_pre_now = steps[index]
            torch.mul(d_state, slope_now, out=d_pre_now)
            if index:
                d_state = torch.baddbmm(steps[index - 1][0], d_pre_now, w_hh)
        return _weight_gradients(d_pre, d_pre, inputs, states, w_ih, ctx.needs_input_grad[0])


class _GRU(torch.autograd.Function):
    """r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h' = (1 - z) n + z h."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        hidden = w_hh.shape[2]
        projected = _projected(inputs, w_ih, b_ih)
        states = _states(inputs, hidden)
        products = _by_step(projected)  # W_hh h + b_hh
        gates = torch.empty_like(projected[..., : 2 * hidden])  # r, z
        news = torch.empty_like(states[:, 1:])
        recurrent, bias = w_hh.transpose(1, 2), b_hh[:, None]
        steps = zip(
            zip(projected[..., : 2 * hidden].unbind(1), projected[..., 2 * hidden :].unbind(1), strict=True),
            zip(products, products[..., : 2 * hidden], products[..., 2 * hidden :], strict=True),
            zip(gates.unbind(1), gates[..., :hidden].unbind(1), gates[..., hidden:].unbind(1), strict=True),
            zip(news.unbind(1), states[:, :-1].unbind(1), states[:, 1:].unbind(1), strict=True),
            strict=True,
        )
        for (x_rz, x_n), (product, h_rz, h_n), (rz, r, z), (new, before, after) in steps:
            torch.baddbmm(bias, before, recurrent, out=product)
            torch.add(x_rz, h_rz, out=rz).sigmoid_()
            torch.addcmul(x_n, r, h_n, out=new).tanh_()
            torch.lerp(new, before, z, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states, products, gates, news)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states, products, gates, news = ctx.saved_tensors
        r, z = gates.chunk(2, -1)
        h_n = products[..., 2 * r.shape[-1] :].transpose(0, 1)
        # What each pre-activation's gradient is per unit of the state's gradient, for all steps.
        by_new = (1 - z) * (1 - news.square())
        factors = news.new_empty(*z.shape[:-1], 3, z.shape[-1])
        f_r, f_z, f_hn = factors.unbind(-2)
        torch.mul(by_new, r, out=f_hn)
        torch.mul(f_hn * h_n, 1 - r, out=f_r)
        torch.mul((states[:, :-1] - news) * z, 1 - z, out=f_z)
        d_gates = torch.empty_like(factors)
        d_hidden = d_gates.flatten(-2)
        d_states = _by_step(news)
        d_states[-1] = gradient[:, -1]
        steps = list(
            zip(
                gradient.unbind(1),
                d_states,
                d_states.unsqueeze(-2),
                z.unbind(1),
                factors.unbind(1),
                d_gates.unbind(1),
                d_hidden.unbind(1),
                strict=True,
            )
        )
        for index in range(len(steps) - 1, -1, -1):
            _, d_state, d_state_of_gates, z_now, factor, d_gate, d_product = steps[index]
            torch.mul(d_state_of_gates, factor, out=d_gate)
            if index:
                above, d_before = steps[index - 1][0], steps[index - 1][1]
                torch.addcmul(above, d_state, z_now, out=d_before).baddbmm_(d_product, w_hh)
        d_input = d_hidden.clone()
        torch.mul(d_states.transpose(0, 1), by_new, out=d_input.unflatten(-1, (3, -1)).select(-2, 2))
        return _weight_gradients(d_input, d_hidden, inputs, states, w_ih, ctx.needs_input_grad[0])


class _LSTM(torch.autograd.Function):
    """i, f, o = sigmoid(...); g = tanh(...); c' = f c + i g; h' = o tanh(c')."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        hidden = w_hh.shape[2]
        gates = _projected(inputs, w_ih, b_ih + b_hh)  # becomes the activated gates, step by step
        states, cells = _states(inputs, hidden), _states(inputs, hidden)
        squashed = torch.empty_like(states[:, 1:])  # tanh(c')
        recurrent = w_hh.transpose(1, 2)
        i, f, g, o = (part.unbind(1) for part in gates.split(hidden, -1))
        steps = zip(
            gates.unbind(1),
            gates[..., : 2 * hidden].unbind(1),
            zip(i, f, g, o, strict=True),
            zip(cells[:, :-1].unbind(1), cells[:, 1:].unbind(1), squashed.unbind(1), strict=True),
            zip(states[:, :-1].unbind(1), states[:, 1:].unbind(1), strict=True),
            strict=True,
        )
        product = torch.empty_like(gates[:, 0])
        product_if, product_g, product_o = product.split([2 * hidden, hidden, hidden], -1)
        for gate, i_f, (i_now, f_now, g_now, o_now), (c_before, c_after, squashed_now), (before, after) in steps:
            torch.baddbmm(gate, before, recurrent, out=product)
            torch.sigmoid(product_if, out=i_f)
            torch.tanh(product_g, out=g_now)
            torch.sigmoid(product_o, out=o_now)
            torch.mul(f_now, c_before, out=c_after).addcmul_(i_now, g_now)
            torch.tanh(c_after, out=squashed_now)
            torch.mul(o_now, squashed_now, out=after)
        ctx.save_for_backward(inputs, w_ih, w_hh, states, cells, gates, squashed)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w_ih, w_hh, states, cells, gates, squashed = ctx.saved_tensors
        hidden = w_hh.shape[2]
        i, f, g, o = gates.split(hidden, -1)
        factors = torch.empty_like(gates)  # of i, f, g per unit of the cell's gradient; of o per unit of the state's
        f_i, f_f, f_g, f_o = factors.split(hidden, -1)
        torch.mul(g * i, 1 - i, out=f_i)
        torch.mul(cells[:, :-1] * f, 1 - f, out=f_f)
        torch.mul(i, 1 - g.square(), out=f_g)
        torch.mul(squashed * o, 1 - o, out=f_o)
        to_cell = o * (1 - squashed.square())
        d_gates = torch.empty_like(gates)
        steps = list(
            zip(
                gradient.unbind(1),
                to_cell.unbind(1),
                f.unbind(1),
                factors[..., : 3 * hidden].unflatten(-1, (3, -1)).unbind(1),
                d_gates[..., : 3 * hidden].unflatten(-1, (3, -1)).unbind(1),
                f_o.unbind(1),
                d_gates[..., 3 * hidden :].unbind(1),
                d_gates.unbind(1),
                strict=True,
            )
        )
        d_state, d_cell = steps[-1][0], torch.zeros_like(squashed[:, 0])
        for index in range(len(steps) - 1, -1, -1):
            _, to_cell_now, f_now, factor, d_ifg, factor_o, d_o, d_gate = steps[index]
            d_cell.addcmul_(d_state, to_cell_now)
            torch.mul(d_cell.unsqueeze(-2), factor, out=d_ifg)
            torch.mul(d_state, factor_o, out=d_o)
            if index:
                d_state = torch.baddbmm(steps[index - 1][0], d_gate, w_hh)
                d_cell.mul_(f_now)
        return _weight_gradients(d_gates, d_gates, inputs, states, w_ih, ctx.needs_input_grad[0])


CELLS = {"rnn": _RNN.apply, "gru": _GRU.apply, "lstm": _LSTM.apply}
