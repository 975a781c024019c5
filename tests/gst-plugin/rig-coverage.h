/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every test with text pads asserts on the way: before a video buffer is pushed, each text pad has been handed
 * text or a GAP up to its end. */
#pragma once

#include "rig.h"

G_BEGIN_DECLS

typedef struct _RigCoverage RigCoverage;

/* Watches src and the text pads that exist now. A video buffer waits for its text, and fails the test if none comes.
 * Three things excuse a pad: hold; with the time of the frame, a frame that is not answered; and a push that downstream
 * holds up, for then the text has been handed over as far as can be seen from outside. */
RigCoverage *rig_coverage_new (GstElement *element);
void rig_coverage_free (RigCoverage *coverage);

/* Video buffers for which text was there on every pad that had no excuse. */
guint rig_coverage_count (RigCoverage *coverage);

G_END_DECLS
