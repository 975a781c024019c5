/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of a backend's operations, through its table alone, against plain loops in double (../engine/oracle.h).
 *
 * Inputs are rounded to the backend's numbers first, so that the oracle sees what the kernels see. Outputs are preset
 * and stand before guard rows; every operation runs twice and must give the same bits. A fault may be planted in what
 * is expected or in the arguments, never in the backend: then the check has to fail. */
#pragma once

#include "oracle-device.h"
#include "oracle.h"

G_BEGIN_DECLS

typedef enum {
  CHECK_FAULT_NONE,
  CHECK_FAULT_ROW_MISSING,  /* an operation is told of one row less */
  CHECK_FAULT_ROW_TOO_MANY, /* ... of one row more: only the guard can tell */
  CHECK_FAULT_ROW_SHIFTED,  /* results of the row before are expected */
  CHECK_FAULT_TRANSPOSED,   /* rows and columns of a square weight change places */
  CHECK_FAULT_EPS,          /* ten times as large */
  CHECK_FAULT_TANH_GELU,    /* GELU by its approximation with tanh */
  CHECK_FAULT_TAP,          /* taps of the projector off by one */
  CHECK_FAULT_PAD_KEY,      /* the last key of a sequence is left out */
  CHECK_FAULT_KEY_BIAS,     /* biases of keys are left out */
  CHECK_FAULT_HEAD_MAP,     /* query head h reads head h % K rather than h / (H / K) */
  CHECK_FAULT_CAUSAL,       /* a token sees the one after it */
  CHECK_FAULT_PAGE,         /* a page of another row */
  CHECK_FAULT_POSITION,     /* rotated by the next position */
  CHECK_N_FAULTS,
} CheckFault;

typedef struct {
  const char *name;
  MllamaDevice device;
  MllamaDtype dtype;
  CheckFault fault;
  guint sparse;       /* of the cases only every so manieth is done; 0: all are */
  guint n_cases;      /* that check_wants_case was asked for */
  double factor;      /* largest error as a share of its bound */
  char *failure;      /* the first one; NULL: none */
  gboolean is_broken; /* stopped by an assertion */
} Check;

typedef void (*CheckFunc) (Check *check);

typedef struct {
  const char *name; /* NULL ends a list */
  CheckFunc run;
} CheckEntry;

/* One list for each file. */
extern const CheckEntry checks_of_products[], checks_of_tower[], checks_of_tower_attention[], checks_of_decoder[],
    checks_of_rows[], checks_of_attention[], checks_of_frames[], checks_of_draw[], checks_of_invariance[];

/* --- devices --- */

/* What a check needs of a model; the rest is made up. */
typedef struct {
  guint n_heads, n_kv_heads, head_width; /* 0: 2, 1, 8 */
  gboolean has_still_rope;               /* angles so small that nothing turns */
  guint tower_width, tower_heads;        /* 0: no tower */
  guint image_size, patch_size;
  guint n_ids; /* 0: 64 */
} CheckModel;

OracleDevice *check_open (const Check *check, const CheckModel *model);

/* --- cases --- */

/* Under a sanitizer every case takes long, and its values have been compared before. */
static inline gboolean
check_is_sparse (const Check *check)
{
  return check->sparse > 1;
}

/* Loops over shapes ask before each. The first stays, and so does what is_needed: one shape for every kernel. */
static inline gboolean
check_wants_case (Check *check, gboolean is_needed)
{
  gboolean is_turn = !check_is_sparse (check) || check->n_cases % check->sparse == 0;

  check->n_cases++;
  return is_turn || is_needed;
}

/* --- verdicts --- */

static inline gboolean
check_has (const Check *check, CheckFault fault)
{
  return check->fault == fault;
}

/* A planted fault has been noticed: the rest need not run. */
static inline gboolean
check_is_settled (const Check *check)
{
  return check->fault != CHECK_FAULT_NONE && check->failure;
}

void check_fail (Check *check, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* The found numbers lie within the bounds; format says which they are. */
void check_numbers (Check *check, const float *found, const OracleNumber *expected, gsize n, const char *format, ...)
    G_GNUC_PRINTF (5, 6);
/* The bits are the same. */
void check_bits (Check *check, const float *found, const float *expected, gsize n, const char *format, ...)
    G_GNUC_PRINTF (5, 6);

/* --- roundings --- */

/* A rounding point: nothing in f32. */
void check_round (const Check *check, OracleNumber *y, gsize n);
/* Those of RMSNorm: x / rms, and the product with the weight. */
void check_round_rms (const Check *check, OracleNumber *y, gsize n);
/* Of a weight of the softmax, relative. */
double check_get_weight_rounding (const Check *check);
/* eps, or the planted one. */
static inline double
check_eps (const Check *check, double eps)
{
  return check_has (check, CHECK_FAULT_EPS) ? 10 * eps : eps;
}

/* Inputs of a norm, [n][d]: a third of the rows are so small that eps matters. */
float *check_make_rows (OracleDevice *device, guint n, guint d);

/* --- runs --- */

typedef void (*CheckRun) (gpointer data);

/* Presets y (before [n_rows][width], or NaN) and its guard, runs, looks at the guard; twice. Returns what was found,
 * [n_rows][width]. what: for messages. Once if sparse. */
float *check_run_twice (Check *check, OracleDevice *device, MllamaTensor *y, gsize n_rows, gsize width,
                        const float *before, CheckRun run, gpointer data, const char *what);
/* Presets once, for those who run for themselves; and tells whether the guard has kept its bits. */
void check_preset (OracleDevice *device, MllamaTensor *y, gsize n_rows, gsize width, const float *before);
void check_guard (Check *check, OracleDevice *device, const MllamaTensor *y, gsize n_rows, gsize width,
                  const char *what);

/* --- the parts of checkcuda --- */

/* FALSE if an assertion failed on the way: the device said no, and standard error says what. */
gboolean check_survives (CheckRun run, gpointer data);
/* Runs it, and fails if it did not survive. */
void check_run (Check *check, CheckFunc run);

/* Whether the filter takes in the name; and numbers of what has run. */
typedef struct {
  const char *filter; /* NULL: everything */
  MllamaDevice device;
  guint sparse; /* of Check */
  guint n_tests, n_failed;
  GString *checks, *faults, *speed; /* JSON, comma separated */
} CheckReport;

gboolean check_report_wants (const CheckReport *report, const char *name);
/* One line of TAP. */
void check_report_test (CheckReport *report, const char *name, gboolean is_ok, const char *comment);

void check_run_faults (CheckReport *report);
void check_run_speed (CheckReport *report);

G_END_DECLS
