/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures and videos through the element: uridecodebin ! mllamacaption ! fakesink. One pipeline serves all files, so
 * that the model stays loaded; each file brings a decoder of its own. */
#include "mllama-caption.h"

#define POLL_TIME (100 * GST_MSECOND)

struct _CaptionMedia {
  const CaptionOptions *options; /* borrowed, as are the next two */
  CaptionOutput *output;
  CaptionProgress *progress;
  GstElement *pipeline;
  GstBus *bus;
  CaptionCues *cues;  /* NULL unless subtitles are written */
  GstElement *source; /* of the present file; owned by the pipeline */
  const char *file;
  guint n_captions, n_failed;
  char *missing;   /* what GStreamer lacks to decode the file */
  char *status;    /* what the element is busy with before the first caption */
  gint64 drawn_at; /* progress: monotonic time in microseconds */

  gint type_known, picture, n_frames; /* atomic: written by streaming threads */
};

/* Only the first frame of a picture counts: some formats append thumbnails. */
static GstPadProbeReturn
count_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  CaptionMedia *media = data;
  gint n_before = g_atomic_int_add (&media->n_frames, 1);

  return n_before > 0 && g_atomic_int_get (&media->picture) ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

/* The first caps that decodebin asks about are the type of the file itself. Animations are videos. */
static gboolean
note_type (GstElement *source, GstPad *pad, GstCaps *caps, gpointer data)
{
  CaptionMedia *media = data;
  const char *name = gst_caps_is_empty (caps) ? "" : gst_structure_get_name (gst_caps_get_structure (caps, 0));

  if (g_atomic_int_compare_and_exchange (&media->type_known, FALSE, TRUE))
    g_atomic_int_set (&media->picture, g_str_has_prefix (name, "image/") && !g_str_equal (name, "image/gif"));
  return TRUE;
}

static void
link_video (GstElement *source, GstPad *pad, gpointer data)
{
  CaptionMedia *media = data;
  g_autoptr (GstPad) sink = gst_element_get_static_pad (media->options->element, "sink");

  if (!gst_pad_is_linked (sink))
    gst_pad_link (pad, sink);
}

/* All prompts are answered over one encode of each frame. */
static void
set_prompts (GstElement *element, char **prompts)
{
  GValue array = G_VALUE_INIT;

  g_value_init (&array, GST_TYPE_ARRAY);
  for (char **prompt = prompts; *prompt; prompt++) {
    GValue value = G_VALUE_INIT;
    g_value_init (&value, G_TYPE_STRING);
    g_value_set_string (&value, *prompt);
    gst_value_array_append_and_take_value (&array, &value);
  }
  g_object_set_property (G_OBJECT (element), "prompts", &array);
  g_value_unset (&array);
}

static gboolean
open_model (CaptionMedia *media, GError **error)
{
  if (gst_element_set_state (media->pipeline, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
    return TRUE;
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (media->bus, GST_MESSAGE_ERROR);
  if (message)
    g_propagate_error (error, caption_error_from_message (message, NULL));
  else
    g_set_error (error, CAPTION_ERROR, CAPTION_ERROR_MODEL, "The element mllamacaption did not start");
  return FALSE;
}

CaptionMedia *
caption_media_new (const CaptionOptions *options, CaptionOutput *output, CaptionProgress *progress, GError **error)
{
  g_autoptr (CaptionMedia) media = g_new0 (CaptionMedia, 1);
  GstElement *element = options->element;
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (element, "sink");
  gboolean subtitles = options->format == CAPTION_FORMAT_SRT || options->format == CAPTION_FORMAT_VTT;

  *media = (CaptionMedia){.options = options, .output = output, .progress = progress};
  media->pipeline = gst_object_ref_sink (gst_pipeline_new (NULL));
  media->bus = gst_element_get_bus (media->pipeline);
  g_object_set (sink, "sync", FALSE, NULL);
  /* Messages carry what is printed; without metadata more frames can be in work at once. */
  g_object_set (element, "post-messages", TRUE, "attach-meta", FALSE, NULL);
  if (options->prompts)
    g_object_set (element, "prompt", options->prompts[0], NULL);
  if (options->prompts && options->prompts[1] && !subtitles)
    set_prompts (element, options->prompts);
  gst_bin_add_many (GST_BIN (media->pipeline), element, sink, NULL);
  gst_element_link (element, sink);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_frame, media, NULL);
  if (subtitles)
    media->cues = caption_cues_new (options, GST_BIN (media->pipeline));
  return open_model (media, error) ? g_steal_pointer (&media) : NULL;
}

/* uridecodebin decodes video alone; further streams would only cost time. */
static gboolean
start_file (CaptionMedia *media, const char *file, GError **error)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string ("video/x-raw(ANY)");
  g_autofree char *uri = caption_file_to_uri (file, error);

  if (!uri)
    return FALSE;
  media->file = file;
  media->n_captions = media->n_failed = 0;
  media->type_known = media->picture = media->n_frames = 0;
  media->source = gst_element_factory_make ("uridecodebin", NULL);
  g_object_set (media->source, "uri", uri, "caps", caps, "expose-all-streams", FALSE, NULL);
  g_signal_connect (media->source, "pad-added", G_CALLBACK (link_video), media);
  g_signal_connect (media->source, "autoplug-continue", G_CALLBACK (note_type), media);
  gst_bin_add (GST_BIN (media->pipeline), media->source);
  gst_element_set_state (media->pipeline, GST_STATE_PLAYING);
  return TRUE;
}

/* The element stays in READY, and so keeps the model. */
static void
stop_file (CaptionMedia *media)
{
  gst_element_set_state (media->pipeline, GST_STATE_READY);
  gst_element_set_state (media->source, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (media->pipeline), media->source);
  gst_bus_set_flushing (media->bus, TRUE);
  gst_bus_set_flushing (media->bus, FALSE);
  g_clear_pointer (&media->missing, g_free);
  g_clear_pointer (&media->status, g_free);
}

static void
take_caption (CaptionMedia *media, const GstStructure *structure)
{
  gboolean timed = !g_atomic_int_get (&media->picture), partial = FALSE;
  g_autoptr (CaptionMessage) message = caption_message_new (structure, &media->file, timed);

  if (gst_structure_get_boolean (structure, "partial", &partial) && partial)
    return;
  caption_progress_clear (media->progress);
  if (message->caption.error) {
    media->n_failed++;
    g_printerr ("mllama-caption: %s: %s\n", media->file, message->caption.error);
  }
  media->n_captions++;
  caption_output_write (media->output, &message->caption);
}

static void
take_element_message (CaptionMedia *media, GstMessage *message)
{
  const GstStructure *structure = gst_message_get_structure (message);

  if (gst_structure_has_name (structure, "mllama-caption")) {
    take_caption (media, structure);
  } else if (gst_structure_has_name (structure, "missing-plugin")) {
    g_free (media->missing);
    media->missing = g_strdup (gst_structure_get_string (structure, "name"));
  }
}

static void
take_progress (CaptionMedia *media, GstMessage *message)
{
  GstProgressType type;

  g_clear_pointer (&media->status, g_free);
  gst_message_parse_progress (message, &type, NULL, &media->status);
  if (type != GST_PROGRESS_TYPE_START && type != GST_PROGRESS_TYPE_CONTINUE)
    g_clear_pointer (&media->status, g_free);
}

static void
print_warning (CaptionMedia *media, GstMessage *message)
{
  g_autoptr (GError) warning = NULL;

  gst_message_parse_warning (message, &warning, NULL);
  caption_progress_clear (media->progress);
  g_printerr ("mllama-caption: %s: warning: %s\n", media->file, warning->message);
}

/* TRUE when the file has ended, well or with an error. */
static gboolean
take_message (CaptionMedia *media, GstMessage *message, GError **error)
{
  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ELEMENT:
    take_element_message (media, message);
    return FALSE;
  case GST_MESSAGE_PROGRESS:
    take_progress (media, message);
    return FALSE;
  case GST_MESSAGE_WARNING:
    print_warning (media, message);
    return FALSE;
  case GST_MESSAGE_EOS:
    if (g_atomic_int_get (&media->n_frames) > 0)
      return TRUE;
    /* fall through */
  default:
    g_propagate_error (error, caption_error_from_message (message, media->missing));
    return TRUE;
  }
}

static void
update_progress (CaptionMedia *media)
{
  gint64 position, duration, now = g_get_monotonic_time ();
  double fraction = -1;

  if (now - media->drawn_at < (gint64) GST_TIME_AS_USECONDS (POLL_TIME))
    return;
  media->drawn_at = now;
  if (gst_element_query_position (media->pipeline, GST_FORMAT_TIME, &position) &&
      gst_element_query_duration (media->pipeline, GST_FORMAT_TIME, &duration) && duration > 0)
    fraction = (double) position / (double) duration;
  caption_progress_update (media->progress, fraction, media->status);
}

static void
follow_file (CaptionMedia *media, GError **error)
{
  const GstMessageType types =
      GST_MESSAGE_ELEMENT | GST_MESSAGE_PROGRESS | GST_MESSAGE_WARNING | GST_MESSAGE_ERROR | GST_MESSAGE_EOS;
  gboolean ended = FALSE;

  while (!ended) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (media->bus, POLL_TIME, types);
    if (message)
      ended = take_message (media, message, error);
    update_progress (media);
    if (media->cues)
      caption_cues_write (media->cues, media->output, ended);
  }
}

gboolean
caption_media_run (CaptionMedia *media, const char *file, GError **error)
{
  g_autoptr (GError) fault = NULL;

  if (!start_file (media, file, error))
    return FALSE;
  follow_file (media, &fault);
  if (!fault && media->n_captions == 0)
    fault = g_error_new_literal (CAPTION_ERROR, CAPTION_ERROR_MODEL, "The element gave no caption for it");
  else if (!fault && media->n_failed > 0)
    fault = g_error_new (CAPTION_ERROR, CAPTION_ERROR_MODEL, "%u of %u captions failed", media->n_failed,
                         media->n_captions);
  stop_file (media);
  if (!fault)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&fault));
  return FALSE;
}

void
caption_media_free (CaptionMedia *media)
{
  if (!media)
    return;
  if (media->pipeline)
    gst_element_set_state (media->pipeline, GST_STATE_NULL);
  caption_cues_free (media->cues);
  gst_clear_object (&media->bus);
  gst_clear_object (&media->pipeline);
  g_free (media);
}
