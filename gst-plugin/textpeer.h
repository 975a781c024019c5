/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a text pad leads to, through queues, filters and bins, where caps alone do not say how it takes text. */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* A muxer of GStreamer's isomp4 (mp4mux, qtmux and their kin). These go by the start of the newest text alone, whatever
 * GAPs say: video that is later waits. */
gboolean gst_mllama_caption_text_peer_ignores_gaps (GstPad *pad);

/* An encoder of WebVTT, which has markup and leaves the escaping to whom it is given. SubRip and Matroska know no
 * escapes, though their encoders take markup as well. */
gboolean gst_mllama_caption_text_peer_is_webvtt (GstPad *pad);

G_END_DECLS
