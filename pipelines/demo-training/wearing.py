# SPDX-License-Identifier: LGPL-2.1-or-later
"""What video goes through before it is captioned: chroma subsampling, limited range, JPEG, blur, noise, levels.

Each step works on those frames of a batch [n][3][h][w] of 0 to 255 that want it. Frames that are drawn reduced have had
finer pixels, so that the steps that belong to pixels are weaker there.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

import pack

TO_YUV = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
FROM_YUV = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
# Frequencies are quantised the more coarsely the higher they are, as JPEG's tables do: about 16 + 5.5 (u + v) for luma.
QUANTISER_BASE, QUANTISER_SLOPE = 14.0, 6.0


def mix(picture, matrix):
    """matrix [3][3], on the device."""
    return (matrix @ picture.flatten(2)).view(picture.shape)


def halve_chroma(yuv, is_smooth):
    """4:2:0 and back; is_smooth: interpolated, else repeated."""
    h, w = yuv.shape[2:]
    chroma = F.avg_pool2d(yuv[:, 1:], 2, ceil_mode=True)
    back = F.interpolate(chroma, (h, w), mode='bilinear') if is_smooth else chroma.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.cat([yuv[:, :1], back[:, :, :h, :w]], 1)


def make_cosines(device):
    """[8][8] of the DCT, orthonormal."""
    k = torch.arange(8, device=device)
    matrix = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def quantise(yuv, quality, cosines):
    """Blocks of 8x8, transformed, rounded by quality (of JPEG's scale, [n]) and transformed back."""
    n, _, h, w = yuv.shape
    padded = F.pad(yuv, (0, -w % 8, 0, -h % 8), mode='replicate')
    rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.view(n, 3, rows, 8, columns, 8).transpose(3, 4).reshape(n, -1, 8, 8)
    k = torch.arange(8, device=yuv.device)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = ((QUANTISER_BASE + QUANTISER_SLOPE * (k[:, None] + k[None, :])) * scale[:, None, None]).clamp(min=1)[:, None]
    made = (cosines @ blocks @ cosines.T).div_(steps).round_().mul_(steps)
    back = (cosines.T @ made @ cosines).view(n, 3, rows, columns, 8, 8).transpose(3, 4)
    return back.reshape(padded.shape)[:, :, :h, :w]


def blur(picture, sigma):
    """Gaussian of [n] widths, five pixels wide."""
    offsets = torch.arange(-2, 3, device=picture.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True))[:, None, None, None, :]
    n, _, h, w = picture.shape
    padded = F.pad(picture, (2, 2, 2, 2), mode='replicate')
    across = sum(padded[..., i:i + w] * kernel[..., i] for i in range(5))
    return sum(across[:, :, i:i + h] * kernel[..., i] for i in range(5))


class Wearer:
    """What the steps need on a device."""

    def __init__(self, device):
        put = lambda values: torch.tensor(values, device=device)  # noqa: E731
        self.to_yuv, self.from_yuv, self.cosines = put(TO_YUV), put(FROM_YUV), make_cosines(device)
        self.limits = put([219 / 255, 224 / 255, 224 / 255]).view(3, 1, 1)

    @staticmethod
    def plan(parcel, wear, reduction):
        """wear: numpy [n][len (pack.WEAR)]. Rows of those that each step is for, and its numbers."""
        column = {name: wear[:, i] for i, name in enumerate(pack.WEAR)}
        yuv = np.flatnonzero((column['chroma'] > 0) | (column['jpeg'] > 0))
        is_levelled = (column['gain'] != 1) | (column['offset'] != 0) | (column['gamma'] != 1)
        halved = [np.flatnonzero((column['chroma'][yuv] == kind) & (reduction < 1.6)) for kind in (1, 2)]

        def add(rows, *names):
            """(rows, a number for each name) in the parcel; None where there are none. Rows of YUV count from its first."""
            of = yuv[rows] if names == ('jpeg',) else rows
            floats = [parcel.add(column[name][of].astype(np.float32)) for name in names]
            return (parcel.add(rows.astype(np.int64)), *floats) if len(rows) else None

        return {
            'blur': add(np.flatnonzero(column['blur']), 'blur'), 'noise': add(np.flatnonzero(column['noise']), 'noise'),
            'yuv': add(yuv), 'smooth': add(halved[0]), 'blocky': add(halved[1]),
            'jpeg': add(np.flatnonzero(column['jpeg'][yuv]), 'jpeg'),
            'levels': add(np.flatnonzero(is_levelled), 'gain', 'offset', 'gamma')}

    def wear(self, parcel, plan, picture, dice):
        """picture [n][3][h][w], which is changed."""
        part = {step: [parcel[number] for number in numbers] for step, numbers in plan.items() if numbers}
        if 'blur' in part:
            rows, sigma = part['blur']
            picture.index_copy_(0, rows, blur(picture.index_select(0, rows), sigma))
        if 'noise' in part:
            rows, sigma = part['noise']
            noise = dice.normal(len(rows), *picture.shape[1:]).mul_(sigma[:, None, None, None])
            picture.index_add_(0, rows, noise)
        if 'yuv' in part:
            rows = part['yuv'][0]
            yuv = self.wear_yuv(mix(picture.index_select(0, rows).clamp_(0, 255), self.to_yuv), part)
            picture.index_copy_(0, rows, mix(yuv, self.from_yuv))
        if 'levels' in part:
            rows, *levels = part['levels']
            gain, offset, gamma = (column[:, None, None, None] for column in levels)
            levelled = picture.index_select(0, rows).mul_(1 / 255).clamp_(0, 1).pow_(gamma).mul_(255 * gain).add_(offset)
            picture.index_copy_(0, rows, levelled)
        return picture

    def wear_yuv(self, yuv, part):
        """Chroma, JPEG, and luma in 219 steps and chroma in 224."""
        for step in ('smooth', 'blocky'):
            if step in part:
                rows = part[step][0]
                yuv.index_copy_(0, rows, halve_chroma(yuv.index_select(0, rows), step == 'smooth'))
        if 'jpeg' in part:
            rows, quality = part['jpeg']
            yuv.index_copy_(0, rows, quantise(yuv.index_select(0, rows), quality, self.cosines))
        return yuv.mul_(self.limits).round_().div_(self.limits)
