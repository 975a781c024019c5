# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much each planted fault changes the records, and what it makes of the case it changes most."""

import numpy as np
import torch

from . import faults, records
from .semantics import use_semantics

# The tests grant log-probabilities 2e-4: a fault counts as found where it moves one by ten times that.
MIN_CHANGE = 2e-3


def find_largest_change(reference, plant, runs, outcomes, folder):
    """(change, record) of the case whose probes differ most."""
    largest = (0.0, None)
    for semantics, case in runs:
        outcome = outcomes[semantics, case.name]
        with use_semantics(semantics), plant(reference, semantics):
            logits, _ = reference.run_forward(reference.make_inputs(case, folder))
        logprobs = torch.log_softmax(logits.double(), -1).numpy()
        first = max(0, len(logprobs) - records.MAX_ROWS)
        probes = records.choose_probes(logprobs.shape[1])
        changes = np.abs(logprobs - outcome.logprobs)[first:, probes].max(1)
        row = int(changes.argmax())
        if changes[row] > largest[0]:
            largest = (float(changes[row]), {
                'semantics': semantics, 'case': case.name, 'token': first + row,
                'probes': [round(float(p), 7) for p in logprobs[first + row, probes]]})
    return largest


def record_prompt_faults(reference, runs, outcomes, folder):
    names = [name for name in faults.FAULTS if reference.has_vision or name in faults.TEXT_FAULTS]
    for name in names:
        change, record = find_largest_change(reference, faults.FAULTS[name], runs, outcomes, folder)
        if change >= MIN_CHANGE:
            yield {'name': name, 'kind': 'logprobs', 'change': round(change, 6), **record}


def record_answer_faults(reference, runs, outcomes, folder):
    """The first case whose answer has other ids."""
    for name, plant in faults.ANSWER_FAULTS.items():
        for semantics, case in runs:
            outcome = outcomes[semantics, case.name]
            with use_semantics(semantics), plant(reference, semantics):
                ids, *_ = reference.generate(case, reference.make_inputs(case, folder), outcome.stop_ids)
            if ids != outcome.answer_ids and min(outcome.gaps) > MIN_CHANGE:
                yield {'name': name, 'kind': 'answer', 'semantics': semantics, 'case': case.name, 'ids': ids}
                break


def record_id_faults(reference, runs, outcomes):
    for name, plant in faults.PROMPT_FAULTS.items():
        for semantics, case in runs:
            with plant(reference, semantics):
                ids = reference.encode_prompt(case)
            if ids != outcomes[semantics, case.name].ids:
                yield {'name': name, 'kind': 'ids', 'semantics': semantics, 'case': case.name, 'ids': ids}
                break


def record_faults(reference, runs, outcomes, folder):
    """Faults that this checkpoint's records find."""
    short = [(semantics, case) for semantics, case in runs if len(outcomes[semantics, case.name].ids) < 200]
    return [*record_prompt_faults(reference, short, outcomes, folder),
            *record_answer_faults(reference, short, outcomes, folder),
            *record_id_faults(reference, short, outcomes)]


def list_faults():
    return [*faults.FAULTS, *faults.ANSWER_FAULTS, *faults.PROMPT_FAULTS]
