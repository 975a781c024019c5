/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oracle-pass.h"

#include <string.h>

/* One head, odd ratios, groups of 1, 2, 4 and 8, widths that cut pages into 64, 32 and 16 keys. */
const OracleHeads oracle_heads[ORACLE_N_HEADS] = {{1, 1, 2},  {2, 2, 16}, {4, 2, 10},  {8, 2, 32},
                                                  {8, 1, 64}, {3, 1, 80}, {2, 1, 144}, {1, 1, 300}};

const guint32 oracle_pages[2][ORACLE_PAGES_A_ROW] = {{7, 2, 9, 0, 5}, {4, 11, 1, 3, 10}};
static const MllamaRow row_table[2] = {{0, oracle_pages[0]}, {1, oracle_pages[1]}};

void
oracle_pass_init (OraclePass *p, MllamaPassKind kind, MllamaKv *kv)
{
  memset (p, 0, sizeof *p);
  p->pass = (MllamaPass){.kind = kind,
                         .ids = p->ids,
                         .positions = p->positions,
                         .rows = p->rows,
                         .first_span = p->first_span,
                         .n_spans = p->n_spans,
                         .sees_image = p->sees_image,
                         .n_rows = 2,
                         .row_table = row_table,
                         .kv = kv};
}

void
oracle_pass_add (OraclePass *p, guint row, guint position, guint n)
{
  for (guint i = 0; i < n; i++) {
    guint t = p->pass.n_tokens++;
    g_assert_cmpuint (t, <, ORACLE_PASS_TOKENS);
    p->rows[t] = row;
    p->positions[t] = position + i;
  }
}
