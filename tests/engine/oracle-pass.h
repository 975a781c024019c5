/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passes over two rows whose pages lie in no order, and the shapes of heads to try. */
#pragma once

#include "backend.h"

G_BEGIN_DECLS

#define ORACLE_N_HEADS     8
#define ORACLE_PASS_TOKENS 400
#define ORACLE_PASS_PAGES  12 /* of the pool */
#define ORACLE_PAGES_A_ROW 5

typedef struct {
  guint n_heads, n_kv_heads, head_width;
} OracleHeads;

extern const OracleHeads oracle_heads[ORACLE_N_HEADS];
extern const guint32 oracle_pages[2][ORACLE_PAGES_A_ROW];

typedef struct {
  MllamaPass pass;
  guint32 ids[ORACLE_PASS_TOKENS], positions[ORACLE_PASS_TOKENS], rows[ORACLE_PASS_TOKENS];
  guint32 first_span[ORACLE_PASS_TOKENS], n_spans[ORACLE_PASS_TOKENS];
  guint8 sees_image[ORACLE_PASS_TOKENS];
} OraclePass;

/* The two rows have the slots 0 and 1. */
void oracle_pass_init (OraclePass *p, MllamaPassKind kind, MllamaKv *kv);

/* n tokens of a row, from position on. */
void oracle_pass_add (OraclePass *p, guint row, guint position, guint n);

G_END_DECLS
