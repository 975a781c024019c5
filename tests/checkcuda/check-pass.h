/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes over rows whose pages lie in no order, and keys and values that are known to the bit. */
#pragma once

#include "check.h"

G_BEGIN_DECLS

typedef struct {
  MllamaPass pass;
  guint n_max, pages_a_row;
  guint32 *ids, *positions, *rows, *first_span, *n_spans; /* [n_max] */
  guint8 *sees_image;
  guint32 *pages; /* [n_rows][pages_a_row] */
  MllamaRow row_table[MLLAMA_MAX_ROWS];
  guint32 outputs[MLLAMA_MAX_ROWS];
  MllamaSampling sampling[MLLAMA_MAX_ROWS];
  GArray *spans; /* MllamaKeySpan */
} CheckPass;

/* No tokens yet; every token sees pictures, and no keys. */
CheckPass *check_pass_new (MllamaPassKind kind, guint n_max, guint n_rows, guint pages_a_row, MllamaKv *kv);
void check_pass_free (CheckPass *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CheckPass, check_pass_free)

void check_pass_clear (CheckPass *p);
/* n tokens of a row, from position on. */
void check_pass_add (CheckPass *p, guint row, guint position, guint n);
/* All tokens in one row, the first n_outputs of them outputs: enough for operations that look at rows of tensors. */
void check_pass_fill (CheckPass *p, guint n_tokens, guint n_outputs);
/* The token's keys begin at the next span that is added; returns its index. */
guint check_pass_add_span (CheckPass *p, const MllamaSlab *slab, guint first, guint n_keys, float bias);
/* pass_begin, what run does, pass_end. */
void check_pass_run (OracleDevice *device, const CheckPass *p, CheckRun run, gpointer data);

/* --- known keys --- */

/* Columns of a weight, of which each position of a row, or each key of a slab, has one: rows of its input are zero but
 * for one number, so that keys and values are numbers of the weight, and known. A device with a still rope. */
#define CHECK_N_COLUMNS 256

typedef struct {
  OracleDevice *device;
  guint n_kv_heads, head_width;
  float *keys, *values; /* [CHECK_N_COLUMNS][K][C] */
  float error;          /* of any of them */
  MllamaWeight *norm, *w;
  MllamaTensor *x, *q;
} CheckKeys;

/* Which column; seed: of the row or slab. */
guint check_keys_get_column (guint seed, guint position);

/* Keys and values of rows: for check_keys_append. */
void check_keys_init_self (CheckKeys *keys, const Check *check, OracleDevice *device);
/* Writes positions [first, first + n) of a row of the pass, in passes of the kind; is_poison: NaN. */
void check_keys_append (CheckKeys *keys, const CheckPass *p, MllamaPassKind kind, guint layer, guint row, guint first,
                        guint n, gboolean is_poison);
/* Of slabs. */
void check_keys_init_cross (CheckKeys *keys, const Check *check, OracleDevice *device);
/* A slab of the layers 0 and 1, with known keys in layer 1; those outside [first, first + n) are NaN. */
MllamaSlab *check_keys_new_slab (CheckKeys *keys, guint seed, guint n_keys, guint first, guint n);
void check_keys_clear (CheckKeys *keys);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (CheckKeys, check_keys_clear)

/* The key that a query sees. */
OracleKey check_keys_get (const CheckKeys *keys, guint seed, guint position, guint head, double bias);

G_END_DECLS
