/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

struct _MllamaStates {
  gatomicrefcount ref_count;
  MllamaModel *model; /* keeps the device memory's owner alive */
  MllamaSemantics semantics;
  MllamaSlab *slab;
  guint n_tiles, aspect_ratio_id;
  guint n_seen_keys;  /* keys of the used tiles, first in the slab */
  guint n_blank_keys; /* keys of unused tiles behind them: transformers only */
  float blank_bias;   /* log of how many unused tiles each of those stands for */
  gsize n_bytes;
  guint64 encode_id, queue_ns, encode_ns;
};

G_END_DECLS
