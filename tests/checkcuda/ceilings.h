/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the device itself can do, measured without the backend: the ceilings that times are shares of. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Median rates of 9 runs; 0: could not be measured. Bytes count what is read and what is written. */
double ceilings_measure_copy (void);    /* bytes/s, device to device, 1 GiB */
double ceilings_measure_read (void);    /* bytes/s, a sum over 1 GiB */
double ceilings_measure_product (void); /* flops/s of cuBLASLt in bf16, 8192 cubed */

/* A copy in the device's memory, for pictures that lie there already. */
void *ceilings_copy_to_device (const void *bytes, gsize n_bytes);
void ceilings_free (void *device);

G_END_DECLS
