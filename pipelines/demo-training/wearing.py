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
    return torch.einsum('ij,njhw->nihw', torch.tensor(matrix, device=picture.device), picture)


def halve_chroma(yuv, is_smooth):
    """4:2:0 and back; is_smooth: interpolated, else repeated."""
    h, w = yuv.shape[2:]
    chroma = F.avg_pool2d(yuv[:, 1:], 2, ceil_mode=True)
    back = F.interpolate(chroma, (h, w), mode='bilinear') if is_smooth else chroma.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.cat([yuv[:, :1], back[:, :, :h, :w]], 1)


def round_limited(yuv):
    """Luma in 219 steps and chroma in 224."""
    steps = torch.tensor([219 / 255, 224 / 255, 224 / 255], device=yuv.device).view(3, 1, 1)
    return (yuv * steps).round() / steps


def make_cosines(device):
    """[8][8] of the DCT, orthonormal."""
    k = torch.arange(8, device=device)
    matrix = torch.cos(math.pi / 8 * (k[None, :] + 0.5) * k[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def quantise(yuv, quality):
    """Blocks of 8x8, transformed, rounded by quality (of JPEG's scale, [n]) and transformed back."""
    n, _, h, w = yuv.shape
    padded = F.pad(yuv, (0, -w % 8, 0, -h % 8), mode='replicate')
    blocks = padded.view(n, 3, padded.shape[2] // 8, 8, padded.shape[3] // 8, 8)
    cosines = make_cosines(yuv.device)
    k = torch.arange(8, device=yuv.device)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    steps = ((QUANTISER_BASE + QUANTISER_SLOPE * (k[:, None] + k[None, :])) * scale[:, None, None]).clamp(min=1)
    steps = steps[:, None, None, :, None, :]
    made = torch.einsum('uy,vx,ncaybx->ncaubv', cosines, cosines, blocks)
    made = (made / steps).round() * steps
    return torch.einsum('uy,vx,ncaubv->ncaybx', cosines, cosines, made).reshape(padded.shape)[:, :, :h, :w]


def wear_yuv(picture, rows, wear, table, reduction):
    """The steps in YUV, for the frames in rows; wear: numpy [n][...]; table: the same on the device."""
    at = torch.from_numpy(rows).to(picture.device)
    yuv, chosen = mix(picture[at], TO_YUV), wear[rows]
    if reduction < 1.6:
        for kind, is_smooth in ((1, True), (2, False)):
            part = torch.from_numpy(np.flatnonzero(chosen[:, 1] == kind)).to(picture.device)
            if len(part):
                yuv[part] = halve_chroma(yuv[part], is_smooth)
    part = torch.from_numpy(np.flatnonzero(chosen[:, 3])).to(picture.device)
    if len(part):
        yuv[part] = quantise(yuv[part], table[at][part, 3])
    picture[at] = mix(round_limited(yuv), FROM_YUV)


def blur(picture, sigma):
    """Gaussian of [n] widths, five pixels wide."""
    offsets = torch.arange(-2, 3, device=picture.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    n, _, h, w = picture.shape
    padded = F.pad(picture, (2, 2, 2, 2), mode='replicate')
    weights = kernel[:, None, None, None, :]
    across = sum(padded[..., i:i + w] * weights[..., i] for i in range(5))
    return sum(across[:, :, i:i + h] * weights[..., i] for i in range(5))


def wear(picture, wear_rows, table, reduction, dice):
    """The worn frames. wear_rows: numpy [n][len (pack.WEAR)], to choose by; table: the same on the device."""
    picture = picture.contiguous()
    columns = {name: i for i, name in enumerate(pack.WEAR)}
    rows = np.flatnonzero(wear_rows[:, columns['blur']])
    if len(rows):
        at = torch.from_numpy(rows).to(picture.device)
        picture[at] = blur(picture[at], table[at, columns['blur']])
    rows = np.flatnonzero(wear_rows[:, columns['noise']])
    if len(rows):
        at = torch.from_numpy(rows).to(picture.device)
        picture[at] += dice.normal(len(rows), *picture.shape[1:]) * table[at, columns['noise'], None, None, None]
    rows = np.flatnonzero((wear_rows[:, columns['chroma']] > 0) | (wear_rows[:, columns['jpeg']] > 0))
    if len(rows):
        wear_yuv(picture.clamp_(0, 255), rows, wear_rows, table, reduction)
    gain, offset, gamma = (table[:, columns[name], None, None, None] for name in ('gain', 'offset', 'gamma'))
    return (picture * (1 / 255)).clamp_(0, 1).pow_(gamma).mul_(255 * gain).add_(offset)
