/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text pads come and go by request, also while the stream runs. */
#include "element.h"

#define PAD_PREFIX "text_"

static gint
compare_pads (gconstpointer a, gconstpointer b)
{
  guint64 x = g_ascii_strtoull (GST_OBJECT_NAME (a) + strlen (PAD_PREFIX), NULL, 10);
  guint64 y = g_ascii_strtoull (GST_OBJECT_NAME (b) + strlen (PAD_PREFIX), NULL, 10);

  return x < y ? -1 : x > y;
}

/* The requested name, or the next free one. */
static char *
choose_pad_name (GstMllamaCaption *self, const char *requested)
{
  guint64 number;

  g_mutex_lock (&self->lock);
  if (!requested || !g_str_has_prefix (requested, PAD_PREFIX) ||
      !g_ascii_string_to_unsigned (requested + strlen (PAD_PREFIX), 10, 0, G_MAXUINT - 1, &number, NULL))
    number = self->next_pad;
  self->next_pad = MAX (self->next_pad, (guint) number + 1);
  g_mutex_unlock (&self->lock);
  return g_strdup_printf (PAD_PREFIX "%" G_GUINT64_FORMAT, number);
}

GstPad *
gst_mllama_caption_request_new_pad (GstElement *element, GstPadTemplate *template, const gchar *requested,
                                    const GstCaps *caps)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (element);
  g_autofree char *name = choose_pad_name (self, requested);
  g_autoptr (GstPad) taken = gst_element_get_static_pad (element, name);
  GstPad *pad;

  if (taken)
    return NULL;
  pad = g_object_new (GST_TYPE_MLLAMA_CAPTION_PAD, "name", name, "direction", GST_PAD_SRC, "template", template, NULL);
  gst_pad_set_event_function (pad, GST_DEBUG_FUNCPTR (gst_mllama_caption_text_event));
  gst_pad_set_query_function (pad, GST_DEBUG_FUNCPTR (gst_mllama_caption_text_query));
  gst_pad_set_iterate_internal_links_function (pad, GST_DEBUG_FUNCPTR (gst_mllama_caption_iterate_internal_links));
  g_mutex_lock (&self->lock);
  const gboolean running = self->worker != NULL;
  g_mutex_unlock (&self->lock);
  if (running)
    gst_pad_set_active (pad, TRUE);
  gst_element_add_pad (element, pad);
  g_mutex_lock (&self->lock);
  self->text_pads = g_list_insert_sorted (self->text_pads, gst_object_ref (pad), compare_pads);
  gst_mllama_caption_start_text_pad (self, GST_MLLAMA_CAPTION_PAD (pad));
  /* An unchanged scene has no caption to repeat on it yet. */
  g_clear_pointer (&self->reference, gst_mllama_caption_frame_unref);
  g_mutex_unlock (&self->lock);
  gst_child_proxy_child_added (GST_CHILD_PROXY (self), G_OBJECT (pad), name);
  return pad;
}

void
gst_mllama_caption_release_pad (GstElement *element, GstPad *pad)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (element);
  g_autofree char *name = gst_object_get_name (GST_OBJECT (pad));
  GstMllamaCaptionPad *text_pad = GST_MLLAMA_CAPTION_PAD (pad);

  g_mutex_lock (&self->lock);
  GList *at = g_list_find (self->text_pads, pad);
  self->text_pads = g_list_delete_link (self->text_pads, at);
  g_hash_table_remove (self->latest, pad);
  g_hash_table_remove (self->said, name);
  g_mutex_unlock (&self->lock);
  gst_mllama_caption_cancel_pad (self, text_pad);
  gst_child_proxy_child_removed (GST_CHILD_PROXY (self), G_OBJECT (pad), name);
  gst_pad_set_active (pad, FALSE);
  gst_element_remove_pad (element, pad);
  gst_object_unref (pad);
}

static GObject *
get_child (GstChildProxy *proxy, guint index)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (proxy);

  g_mutex_lock (&self->lock);
  GObject *child = g_list_nth_data (self->text_pads, index);
  if (child)
    g_object_ref (child);
  g_mutex_unlock (&self->lock);
  return child;
}

static guint
count_children (GstChildProxy *proxy)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (proxy);

  g_mutex_lock (&self->lock);
  guint n = g_list_length (self->text_pads);
  g_mutex_unlock (&self->lock);
  return n;
}

void
gst_mllama_caption_child_proxy_init (gpointer iface, gpointer data)
{
  GstChildProxyInterface *proxy = iface;

  proxy->get_child_by_index = get_child;
  proxy->get_children_count = count_children;
}
