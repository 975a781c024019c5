/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each token of a prompt sees (spec 5.5 step 1). Marks next to one another are a group. An image is seen from its
 * own mark to the first mark of the next group, and those of the last group to the end. So a token sees one group or a
 * start of it, images that follow one another: one run for each token says it all. */
#include "prompt-private.h"

MllamaImageSpan *
mllama_image_spans_new (const guint32 *ids, gsize n_ids, guint32 image_id, guint n_images)
{
  MllamaImageSpan *spans = g_new (MllamaImageSpan, n_images);
  guint32 end = G_MAXUINT32, next_start = G_MAXUINT32;

  for (gsize t = n_ids; t-- > 0;) {
    if (ids[t] != image_id)
      continue;
    /* The next mark ends the span, unless it belongs to the same group. */
    if (next_start != G_MAXUINT32 && next_start != t + 1)
      end = next_start;
    spans[--n_images] = (MllamaImageSpan){t, end};
    next_start = t;
  }
  return spans;
}

MllamaImageRun *
mllama_image_runs_new (const guint32 *ids, gsize n_ids, guint32 image_id)
{
  MllamaImageRun *runs = g_new (MllamaImageRun, n_ids), run = {0, 0};

  for (gsize t = 0; t < n_ids; t++) {
    if (ids[t] == image_id && t > 0 && ids[t - 1] != image_id)
      run = (MllamaImageRun){run.first + run.n, 1};
    else if (ids[t] == image_id)
      run.n++;
    runs[t] = run;
  }
  return runs;
}
