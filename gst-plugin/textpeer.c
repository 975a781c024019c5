/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "textpeer.h"

#define MAX_N_ELEMENTS 32 /* a chain longer than this is no chain of queues */

/* The pad through which leaves what comes in by this one: the first if there are several. */
static GstPad *
find_way_out (GstPad *pad)
{
  GstIterator *links = gst_pad_iterate_internal_links (pad);
  GValue value = G_VALUE_INIT;
  GstPad *out = NULL;

  if (links && gst_iterator_next (links, &value) == GST_ITERATOR_OK)
    out = g_value_dup_object (&value);
  g_value_unset (&value);
  g_clear_pointer (&links, gst_iterator_free);
  return out;
}

/* Whether one of the sink pads on the way is wanted. */
static gboolean
leads_to (GstPad *pad, gboolean (*is_wanted) (GstPad *sink))
{
  g_autoptr (GstPad) out = gst_object_ref (pad);

  for (guint i = 0; out && i < MAX_N_ELEMENTS; i++) {
    g_autoptr (GstPad) in = gst_pad_get_peer (out);
    if (!in || is_wanted (in))
      return in != NULL;
    gst_object_unref (out);
    out = find_way_out (in);
  }
  return FALSE;
}

static gboolean
is_of_isomp4 (GstPad *sink)
{
  g_autoptr (GstObject) parent = gst_object_get_parent (GST_OBJECT (sink));
  const GType type = g_type_from_name ("GstBaseQTMux"); /* 0 as long as nobody has made one */

  return parent && type && g_type_is_a (G_OBJECT_TYPE (parent), type);
}

static gboolean
is_of_webvtt (GstPad *sink)
{
  g_autoptr (GstPad) out = find_way_out (sink);
  g_autoptr (GstCaps) caps = out ? gst_pad_get_pad_template_caps (out) : NULL;

  return caps && !gst_caps_is_any (caps) && !gst_caps_is_empty (caps) &&
         gst_structure_has_name (gst_caps_get_structure (caps, 0), "application/x-subtitle-vtt");
}

gboolean
gst_mllama_caption_text_peer_ignores_gaps (GstPad *pad)
{
  return leads_to (pad, is_of_isomp4);
}

gboolean
gst_mllama_caption_text_peer_is_webvtt (GstPad *pad)
{
  return leads_to (pad, is_of_webvtt);
}
