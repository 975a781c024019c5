/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams that share one model, each with a thread that does to it what applications do, at random. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

#define SOAK_MAX_STREAMS 64

typedef struct {
  const char *model;
  guint n_streams; /* at most SOAK_MAX_STREAMS */
  guint32 seed;
  double seconds;    /* of one phase */
  guint patience_s;  /* without any sign of life from a stream: deadlock */
  gboolean is_stuck; /* plants a deadlock in the first stream, to see it found */
} SoakSettings;

typedef struct {
  guint64 n_captions;
  guint64 n_acts;                 /* starts, stops, seeks, changes of prompts and the like */
  double rates[SOAK_MAX_STREAMS]; /* captions a second of each stream */
  gsize heap_bytes;               /* in use when all streams have stopped; 0 under sanitizers */
  guint64 n_errors;               /* messages, warnings too */
  char first_error[256];
} SoakPhase;

/* Starts all streams, lets them be handled for settings->seconds, and stops them. Ends the process with all its stacks
 * if one gets stuck. phase is a number that changes the random choices. */
void soak_run (const SoakSettings *settings, guint phase, SoakPhase *result);

/* A pipeline of a stream; its element is named c. */
GstElement *soak_launch (const char *model, guint number, const char *properties);

G_END_DECLS
