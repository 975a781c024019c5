# SPDX-License-Identifier: LGPL-2.1-or-later
"""The optimiser: Muon for stacks of matrices, all of one shape in one go, and AdamW for the rest.

Muon (Jordan et al. 2024): the momentum of a matrix is replaced by the nearest matrix with orthogonal rows, found by
five steps of a Newton-Schulz iteration. torch.optim.Muon does so matrix by matrix, thousands of kernels for a hundred
small ones.
"""

import torch

# Odd polynomial a x + b x^3 + c x^5 whose iteration takes singular values in (0, 1] near 1 soonest; Jordan et al.
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonalise(x, n_steps=5):
    """[N][r][c], r <= c -> the same with singular values near 1."""
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(n_steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x


def is_matrix(name, parameter):
    """Those whose rows and columns both are features; embeddings, tables and the head are not."""
    return name == 'projector' or (parameter.dim() >= 3 and name.startswith(('tower_', 'text_')))


class Optimiser:
    def __init__(self, network, momentum=0.95, decay=0.01, betas=(0.9, 0.98)):
        self.momentum, self.decay = momentum, decay
        self.groups, plain = {}, {}
        for name, parameter in network.named_parameters():
            if is_matrix(name, parameter):
                self.groups.setdefault(tuple(parameter.shape[-2:]), []).append(parameter)
            else:
                plain[name] = parameter
        self.moments = {shape: torch.zeros_like(self.gather(group, False)) for shape, group in self.groups.items()}
        self.plain = plain
        fused = next(network.parameters()).is_cuda
        self.adam = torch.optim.AdamW([
            {'params': [p for p in plain.values() if p.dim() >= 2 and p.numel() > 50000], 'weight_decay': decay},
            {'params': [p for p in plain.values() if p.dim() < 2 or p.numel() <= 50000], 'weight_decay': 0.0},
        ], lr=1e-3, betas=betas, eps=1e-9, fused=fused)

    @staticmethod
    def gather(group, of_gradients=True):
        """[N][r][c] of all matrices of a shape."""
        return torch.cat([(p.grad if of_gradients else p.detach()).view(-1, *p.shape[-2:]) for p in group])

    @torch.no_grad()
    def step(self, muon_rate, adam_rate, clip=1.0):
        torch.nn.utils.clip_grad_norm_(list(self.plain.values()), clip)
        for group in self.adam.param_groups:
            group['lr'] = adam_rate
        self.adam.step()
        for shape, group in self.groups.items():
            self.step_group(shape, group, muon_rate)

    def step_group(self, shape, group, rate):
        gradient, moment = self.gather(group), self.moments[shape]
        moment.lerp_(gradient, 1 - self.momentum)
        update = gradient.lerp(moment, self.momentum).to(torch.bfloat16 if gradient.is_cuda else torch.float32)
        rows, columns = shape
        update = orthogonalise(update.mT).mT if rows > columns else orthogonalise(update)
        scale = rate * max(1, rows / columns) ** 0.5
        parts = update.float().split([parameter.numel() // (rows * columns) for parameter in group])
        torch._foreach_mul_(group, 1 - rate * self.decay)
        torch._foreach_add_(group, [part.view_as(parameter) for part, parameter in zip(parts, group)], alpha=-scale)

    def clear(self):
        """Gradients stay where they are, since CUDA graphs add to them there."""
        torch._foreach_zero_([p.grad for group in (*self.groups.values(), self.plain.values()) for p in group])

    # --- files ---

    def spell(self):
        """Name -> tensor; averages of squares as their roots, which bf16 holds more closely."""
        tensors = {f'muon/{r}x{c}': moment for (r, c), moment in self.moments.items()}
        for name, parameter in self.plain.items():
            if state := self.adam.state.get(parameter):
                tensors[f'adam/{name}/mean'] = state['exp_avg']
                tensors[f'adam/{name}/root'] = state['exp_avg_sq'].sqrt()
        return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}

    def read(self, tensors, n_steps):
        for (r, c), moment in self.moments.items():
            moment.copy_(tensors[f'muon/{r}x{c}'])
        for name, parameter in self.plain.items():
            self.adam.state[parameter] = {
                'step': torch.tensor(float(n_steps), device=parameter.device if self.adam.defaults['fused'] else 'cpu'),
                'exp_avg': tensors[f'adam/{name}/mean'].to(parameter),
                'exp_avg_sq': tensors[f'adam/{name}/root'].to(parameter).square_(),
            }
