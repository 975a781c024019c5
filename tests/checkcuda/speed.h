/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operations in the shapes of the 11B model: checked at some rows and columns, and timed. */
#pragma once

#include "check-pass.h"

G_BEGIN_DECLS

typedef struct {
  CheckReport *report;
  double read_rate, product_rate; /* ceilings: bytes/s, flops/s */
} Speed;

/* What a line says. Of bytes and flops the one that takes longer at its ceiling counts. */
typedef struct {
  const char *name;
  double bytes, flops;
} SpeedCost;

/* Runs it if the filter takes the name in; a line of TAP if it does not survive. */
void speed_run (const Speed *speed, const char *name, CheckRun run, gpointer data);
/* Median seconds of one of n calls, in a pass or (NULL) without one. */
double speed_measure (OracleDevice *device, const CheckPass *pass, guint n, CheckRun call, gpointer data);
/* A line of TAP for what was checked, and one of figures; frees the check's failure. */
void speed_report (const Speed *speed, Check *check, const SpeedCost *cost, double seconds);

void speed_run_products (const Speed *speed);
void speed_run_attention (const Speed *speed);

G_END_DECLS
