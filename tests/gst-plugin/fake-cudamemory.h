/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that calls itself CUDA memory, for machines that have none: what the flag GST_MAP_CUDA gives is kept apart
 * from what a plain map gives, which is a copy, counted as a download. */
#pragma once

#include <gst/video/video.h>

G_BEGIN_DECLS

typedef struct {
  guint n_originals, n_copies;                       /* alive */
  guint n_copied;                                    /* copies made on the device */
  guint n_original_downloads, n_copy_downloads;      /* maps to host memory */
  gboolean refuse_copies, refuse_maps_to_the_device; /* to be set by tests */
} FakeCudaMemory;

extern FakeCudaMemory fake_cuda_memory;

/* The frame of a buffer in host memory, as the only memory of a new buffer, with padded lines and a video meta. */
GstBuffer *fake_cuda_memory_upload (GstBuffer *buffer, const GstVideoInfo *info);

G_END_DECLS
