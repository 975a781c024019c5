/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One spelling for the tensors of a checkpoint. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* mllama_tensor_name_canonicalise: the name as the engine knows it (transfer full), spec 2.3:
 *
 *   language_model.{embed_tokens,norm}.weight, language_model.layers.N....    text model
 *   lm_head.weight
 *   vision_model....  multi_modal_projector.{weight,bias}
 *
 * from the hub's names (language_model.model.layers...), those of transformers' classes since 4.52
 * (model.language_model.layers...), and of a bare text model (model.layers..., or layers...). Other names
 * come out as they are, but for one leading "model.". */
char *mllama_tensor_name_canonicalise (const char *name);

/* Whether a canonical name belongs to a part of the model. */
gboolean mllama_tensor_name_is_known (const char *canonical);

/* What kind of file the name comes from, if its tensors are laid out in another way than Hugging Face's
 * ("MLX", "Meta's original"); else NULL. */
const char *mllama_tensor_name_get_foreign_layout (const char *name);

G_END_DECLS
