/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "source.h"

#include "frame-filter.h"

#define CODED "coded" /* data of a source: the pad that coded pictures come to */

/* parsebin shows every stream; the first of pictures is taken. */
static void
link_parsed (GstElement *parser, GstPad *pad, gpointer data)
{
  GstPad *coded = g_object_get_data (data, CODED);
  g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);
  const char *type = gst_caps_get_size (caps) > 0 ? gst_structure_get_name (gst_caps_get_structure (caps, 0)) : "";

  if (!gst_pad_is_linked (coded) && (g_str_has_prefix (type, "video/") || g_str_has_prefix (type, "image/")))
    gst_pad_link (pad, coded);
}

gboolean
archive_source_has_video (GstElement *source)
{
  return gst_pad_is_linked (g_object_get_data (G_OBJECT (source), CODED));
}

/* Without a stream of pictures nothing comes out of the decoder, not even an end. */
static void
check_drained (GstElement *parser, gpointer data)
{
  if (!archive_source_has_video (data))
    GST_ELEMENT_ERROR (parser, STREAM, FAILED, ("There is no video in it"), (NULL));
}

static void
show_decoded (GstElement *decoder, GstPad *pad, gpointer data)
{
  GstElement *source = data;
  GstPad *ghost;

  if (source->srcpads)
    return;
  ghost = gst_ghost_pad_new ("src", pad);
  gst_pad_set_active (ghost, TRUE);
  gst_element_add_pad (source, ghost);
}

GstElement *
archive_source_new (const char *path, GstClockTime interval)
{
  GstElement *source = gst_bin_new (NULL);
  GstElement *file = gst_element_factory_make ("filesrc", NULL), *parser = gst_element_factory_make ("parsebin", NULL);
  GstElement *decoder = gst_element_factory_make ("decodebin", NULL), *first = decoder;
  g_autoptr (GstCaps) caps = gst_caps_from_string ("video/x-raw(ANY)");

  g_object_set (file, "location", path, NULL);
  g_object_set (decoder, "caps", caps, "expose-all-streams", FALSE, NULL);
  gst_bin_add_many (GST_BIN (source), file, parser, decoder, NULL);
  if (interval > 0) {
    first = archive_frame_filter_new (interval);
    gst_bin_add (GST_BIN (source), first);
    gst_element_link (first, decoder);
  }
  g_object_set_data_full (G_OBJECT (source), CODED, gst_element_get_static_pad (first, "sink"), gst_object_unref);
  gst_element_link (file, parser);
  g_signal_connect (parser, "pad-added", G_CALLBACK (link_parsed), source);
  g_signal_connect (parser, "drained", G_CALLBACK (check_drained), source);
  g_signal_connect (decoder, "pad-added", G_CALLBACK (show_decoded), source);
  return source;
}

static void
count_tasks (const GValue *item, gpointer data)
{
  GstElement *element = g_value_get_object (item);
  guint *n_tasks = data;

  GST_OBJECT_LOCK (element);
  for (GList *at = element->pads; at; at = at->next)
    *n_tasks += gst_pad_get_task_state (at->data) == GST_TASK_STARTED;
  GST_OBJECT_UNLOCK (element);
}

/* parsebin keeps an error to itself that a demuxer posts while it is being plugged: nothing moves then any more. */
gboolean
archive_source_is_stuck (GstElement *source)
{
  GstIterator *elements = gst_bin_iterate_recurse (GST_BIN (source));
  guint n_tasks = 0;

  while (gst_iterator_foreach (elements, count_tasks, &n_tasks) == GST_ITERATOR_RESYNC)
    gst_iterator_resync (elements);
  gst_iterator_free (elements);
  return n_tasks == 0 && !archive_source_has_video (source);
}
