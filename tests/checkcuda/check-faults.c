/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Planted faults: each makes its checks fail, or the checks are worth nothing. */
#include "check.h"

#include <math.h>

typedef struct {
  const char *name;
  CheckFault fault;
  const CheckEntry *entries;
  const char *entry;
} Planted;

static const Planted all[] = {
    {"one row less", CHECK_FAULT_ROW_MISSING, checks_of_products, "linear"},
    {"one row less", CHECK_FAULT_ROW_MISSING, checks_of_products, "norm_swiglu_few"},
    {"one row more", CHECK_FAULT_ROW_TOO_MANY, checks_of_products, "layer_norm_linear"},
    {"one row more", CHECK_FAULT_ROW_TOO_MANY, checks_of_products, "logits_few"},
    {"off by one row", CHECK_FAULT_ROW_SHIFTED, checks_of_products, "linear_residual"},
    {"off by one row", CHECK_FAULT_ROW_SHIFTED, checks_of_tower, "embed_patches"},
    {"off by one row", CHECK_FAULT_ROW_SHIFTED, checks_of_tower, "copy_columns"},
    {"off by one row", CHECK_FAULT_ROW_SHIFTED, checks_of_rows, "embed_tokens"},
    {"off by one row", CHECK_FAULT_ROW_SHIFTED, checks_of_rows, "norm_outputs"},
    {"rows and columns swapped", CHECK_FAULT_TRANSPOSED, checks_of_products, "linear"},
    {"rows and columns swapped", CHECK_FAULT_TRANSPOSED, checks_of_products, "linear_residual_tokens_few"},
    {"eps ten times as large", CHECK_FAULT_EPS, checks_of_products, "layer_norm_linear"},
    {"eps ten times as large", CHECK_FAULT_EPS, checks_of_products, "norm_swiglu_few"},
    {"eps ten times as large", CHECK_FAULT_EPS, checks_of_rows, "norm_outputs"},
    {"eps ten times as large", CHECK_FAULT_EPS, checks_of_decoder, "norm_q_heads_many"},
    {"tanh GELU", CHECK_FAULT_TANH_GELU, checks_of_products, "layer_norm_linear_gelu"},
    {"tap off by one", CHECK_FAULT_TAP, checks_of_tower, "projector"},
    {"tile off by one", CHECK_FAULT_TAP, checks_of_tower, "norm_add_tiles"},
    {"missing pad key", CHECK_FAULT_PAD_KEY, checks_of_tower_attention, "every_row"},
    {"missing last key", CHECK_FAULT_PAD_KEY, checks_of_attention, "cross_attention_few"},
    {"missing key bias", CHECK_FAULT_KEY_BIAS, checks_of_tower_attention, "every_row"},
    {"missing key bias", CHECK_FAULT_KEY_BIAS, checks_of_attention, "cross_attention_many"},
    {"wrong GQA map", CHECK_FAULT_HEAD_MAP, checks_of_attention, "self_attention_few"},
    {"wrong GQA map", CHECK_FAULT_HEAD_MAP, checks_of_attention, "self_attention_many"},
    {"wrong GQA map", CHECK_FAULT_HEAD_MAP, checks_of_attention, "cross_attention_few"},
    {"one token ahead", CHECK_FAULT_CAUSAL, checks_of_attention, "self_attention_many"},
    {"another row's page", CHECK_FAULT_PAGE, checks_of_attention, "self_attention_few"},
    {"position off by one", CHECK_FAULT_POSITION, checks_of_decoder, "norm_qkv_rope_few"},
    {"position off by one", CHECK_FAULT_POSITION, checks_of_decoder, "norm_qkv_rope_many"},
};

static const CheckEntry *
find_entry (const Planted *planted)
{
  const CheckEntry *entry = planted->entries;

  while (!g_str_equal (entry->name, planted->entry))
    entry++;
  return entry;
}

static void
run_fault (CheckReport *report, const Planted *planted, const char *name, const char *check_name, MllamaDtype dtype)
{
  Check check = {.name = name, .device = report->device, .dtype = dtype, .fault = planted->fault};
  double factor;
  g_autofree char *comment = NULL;

  check_run (&check, find_entry (planted)->run);
  factor = MIN (check.factor, 1e9); /* bits, guards and NaN have no bound to be a multiple of */
  comment = g_strdup_printf ("%.4g times the bound", factor);
  check_report_test (report, name, check.failure && !check.is_broken, comment);
  g_string_append_printf (report->faults, "%s\n  {\"name\": \"%s\", \"check\": \"%s\", \"factor\": %.6g}",
                          report->faults->len ? "," : "", planted->name, check_name, factor);
  g_free (check.failure);
}

void
check_run_faults (CheckReport *report)
{
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    for (guint d = 0; d < 2; d++) {
      g_autofree char *check_name = g_strdup_printf ("%s/%s", all[i].entry, d ? "bf16" : "f32"),
                      *name = g_strdup_printf ("faults/%s breaks %s", all[i].name, check_name);

      if (check_report_wants (report, name))
        run_fault (report, &all[i], name, check_name, d ? MLLAMA_DTYPE_BF16 : MLLAMA_DTYPE_F32);
    }
}
