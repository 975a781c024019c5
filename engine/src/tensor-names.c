/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tensor-names.h"

#include <string.h>

static const char *
skip_prefix (const char *name, const char *prefix)
{
  return g_str_has_prefix (name, prefix) ? name + strlen (prefix) : name;
}

static gboolean
has_any_prefix (const char *name, const char *const *prefixes)
{
  for (; *prefixes; prefixes++)
    if (g_str_has_prefix (name, *prefixes))
      return TRUE;
  return FALSE;
}

char *
mllama_tensor_name_canonicalise (const char *name)
{
  static const char *const text_parts[] = {"embed_tokens.", "layers.", "norm.", NULL};
  const char *inner = skip_prefix (name, "model.");
  const char *text = skip_prefix (inner, "language_model.");

  if (text != inner) {
    text = skip_prefix (text, "model.");
    if (g_str_has_prefix (text, "lm_head."))
      return g_strdup (text);
    return g_strconcat ("language_model.", text, NULL);
  }
  if (has_any_prefix (inner, text_parts))
    return g_strconcat ("language_model.", inner, NULL);
  return g_strdup (inner);
}

gboolean
mllama_tensor_name_is_known (const char *canonical)
{
  static const char *const parts[] = {"language_model.", "lm_head.", "vision_model.", "multi_modal_projector.", NULL};

  return has_any_prefix (canonical, parts);
}

const char *
mllama_tensor_name_get_foreign_layout (const char *name)
{
  static const char *const mlx[] = {"vision_tower.", NULL};
  static const char *const meta[] = {"text_model.", "vision_model.vision_encoder.", "vision_model.vision_projection.",
                                     NULL};

  if (has_any_prefix (name, mlx))
    return "MLX";
  return has_any_prefix (name, meta) ? "Meta's original" : NULL;
}
