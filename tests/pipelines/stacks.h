/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every thread of the process is doing, for a watchdog to print. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Readies the signal (SIGUSR2) and the unwinder; before threads are started. */
void stacks_init (void);

/* Writes the stack of every thread to standard error. Takes no lock and allocates nothing that a stuck thread might
 * hold: threads are asked one by one by a signal. addr2line makes lines of the addresses. */
void stacks_print (void);

G_END_DECLS
