# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two published readings of Mllama: transformers as it is, and Meta's, which differs in two places."""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mllama import modeling_mllama

SEMANTICS = ('transformers', 'meta')

layer_forward = modeling_mllama.MllamaCrossAttentionDecoderLayer.forward


def tap_before_layers(self, hidden_states, attention_mask=None):
    """MllamaVisionEncoder.forward with the states that enter the layers."""
    states = ()
    for layer in self.layers:
        states += (hidden_states,)
        hidden_states = layer(hidden_states, attention_mask=attention_mask)
    return BaseModelOutput(last_hidden_state=hidden_states, hidden_states=states)


def drop_blind_attention(self, *args, full_text_row_masked_out_mask=None, **kwargs):
    """MllamaCrossAttentionDecoderLayer.forward with an attention branch of zero in rows that see no picture."""
    def zero_blind_rows(module, inputs, outputs):
        return outputs[0] * full_text_row_masked_out_mask[:, 0], outputs[1]

    hook = None
    if full_text_row_masked_out_mask is not None:
        hook = self.cross_attn.register_forward_hook(zero_blind_rows)
    try:
        return layer_forward(self, *args, full_text_row_masked_out_mask=full_text_row_masked_out_mask, **kwargs)
    finally:
        if hook:
            hook.remove()


@contextmanager
def use_semantics(semantics, taps=None, blind_rows=None):
    """taps and blind_rows, if given, take one of the two places from the other reading."""
    with ExitStack() as stack:
        if (taps or semantics) == 'meta':
            stack.enter_context(patch.object(modeling_mllama.MllamaVisionEncoder, 'forward', tap_before_layers))
        if (blind_rows or semantics) == 'meta':
            stack.enter_context(patch.object(
                modeling_mllama.MllamaCrossAttentionDecoderLayer, 'forward', drop_blind_attention))
        yield
