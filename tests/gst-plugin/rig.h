/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pipelines around the element and the scripted engine, with everything they say written down. */
#pragma once

#include <gst/gst.h>
#include "fake-mllama.h"

G_BEGIN_DECLS

typedef struct {
  GstElement *pipeline;
  GstElement *element; /* the one named c */
  GPtrArray *captions; /* GstStructure of final mllama-caption messages */
  GPtrArray *partials; /* of the partial ones */
  GPtrArray *messages; /* all messages (GstMessage) */
  GError *error;       /* of the first ERROR */
  GPtrArray *log;      /* lines of rig_watch(), in the order in which things passed */
  GMutex lock;         /* guards log */

  struct _RigCoverage *coverage; /* rig-coverage.h: video waits for text */
} Rig;

/* Initialises GStreamer, registers the element, and runs the tests. */
int rig_main (int argc, char **argv, void (*add_tests) (void));

/* Parses the launch line; %s and the like are filled in. The script is reset first. */
Rig *rig_new (const char *line, ...) G_GNUC_PRINTF (1, 2);
void rig_free (Rig *rig);

/* Writes down buffers and events of a pad, such as "text_0 caption 0 1000 red" (times in ms), "src video 40",
 * "text_0 gap 0 33", "src eos". Flags and seqnums are left out. */
void rig_watch (Rig *rig, const char *pad);
/* The lines so far that begin with prefix, as a NULL-terminated array to be freed with g_strfreev. */
char **rig_read (Rig *rig, const char *prefix);
/* Index of the first line that begins with prefix, or -1. */
gint rig_find (Rig *rig, const char *prefix);

void rig_set_state (Rig *rig, GstState state);
/* Plays to EOS or ERROR, and goes to NULL. Fails the test after 20 s. */
void rig_run (Rig *rig);
/* Runs until the condition holds; fails the test after 10 s. */
void rig_wait (Rig *rig, gboolean (*condition) (Rig *rig));
/* Waits for EOS or ERROR; the state stays. */
void rig_wait_for_end (Rig *rig);
/* Takes what has come over the bus within so many ms. */
void rig_listen (Rig *rig, guint ms);

const char *rig_get_text (Rig *rig, guint caption);
guint64 rig_get_time (Rig *rig, guint caption, const char *field);
guint rig_count_messages (Rig *rig, GstMessageType type);
guint64 rig_get_stat (Rig *rig, const char *field);

G_END_DECLS
