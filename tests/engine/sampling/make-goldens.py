#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes goldens.json: what transformers' logits processors leave of a row of logits. Needs torch and transformers."""
import json
import pathlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

# name, row, temperature, top_k, top_p, penalty, history
CASES = [
    ("plain", "normal", 1.0, 0, 1.0, 1.0, []),
    ("hot", "normal", 1.7, 0, 1.0, 1.0, []),
    ("cold", "normal", 0.13, 0, 1.0, 1.0, []),
    ("top_k", "normal", 0.6, 5, 1.0, 1.0, []),
    ("top_k of one", "normal", 0.6, 1, 1.0, 1.0, []),
    ("top_k beyond the row", "normal", 1.0, 1000, 1.0, 1.0, []),
    ("top_k with ties", "coarse", 1.0, 4, 1.0, 1.0, []),
    ("top_p", "normal", 1.0, 0, 0.9, 1.0, []),
    ("top_p small", "normal", 1.0, 0, 0.01, 1.0, []),
    ("top_p with ties", "coarse", 1.0, 0, 0.55, 1.0, []),
    ("top_p, all equal", "equal", 1.0, 0, 0.5, 1.0, []),
    ("top_p, ten equal, share on the edge", "ten", 1.0, 0, 0.9, 1.0, []),
    ("instruct", "normal", 0.6, 50, 0.9, 1.0, []),
    ("top_k then top_p", "normal", 1.2, 7, 0.8, 1.0, []),
    ("penalty", "normal", 1.0, 0, 1.0, 1.3, [0, 3, 3, 11, 39]),
    ("penalty below one", "normal", 1.0, 0, 1.0, 0.8, [5, 6, 7]),
    ("everything", "normal", 0.7, 12, 0.85, 1.2, [1, 1, 2, 8, 30]),
    ("one logit", "single", 0.5, 3, 0.5, 1.1, [0]),
    ("some impossible", "holes", 1.0, 0, 0.95, 1.2, [2, 4]),
]


def make_rows():
    torch.manual_seed(20240918)
    holes = torch.randn(30) * 2
    holes[::3] = -torch.inf
    return {
        "normal": torch.randn(40) * 3,
        "coarse": torch.randint(-3, 4, (33,)).float(),
        "equal": torch.full((8,), 1.5),
        "ten": torch.zeros(10),
        "single": torch.tensor([-2.5]),
        "holes": holes,
    }


def process(row, temperature, top_k, top_p, penalty, history):
    processors = LogitsProcessorList()
    if penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    if temperature != 1.0:
        processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        processors.append(TopPLogitsWarper(top_p))
    scores = processors(torch.tensor([history], dtype=torch.long), row[None].clone())
    return scores[0].double().softmax(0).tolist()


def main():
    rows = make_rows()
    cases = []
    for name, row, *settings in CASES:
        temperature, top_k, top_p, penalty, history = settings
        cases.append({
            "name": name,
            "logits": [str(v) if v == v and abs(v) != float("inf") else "-inf" for v in rows[row].tolist()],
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "penalty": penalty,
            "history": history,
            "probabilities": process(rows[row], *settings),
            "logprobs": rows[row].double().log_softmax(0).clamp(min=-1e300).tolist(),
        })
    path = pathlib.Path(__file__).with_name("goldens.json")
    path.write_text(json.dumps(cases, indent=0) + "\n")


main()
