# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes tiny random Mllama checkpoints and records what transformers computes with them."""
