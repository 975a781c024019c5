/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-mllamacaption
 *
 * Looks at video with Llama 3.2-Vision (Mllama) and says what it sees. Frames go through untouched; captions come as
 * timed text on request pads text_%u, each with a question of its own, as element messages mllama-caption, and as
 * GstCustomMeta mllama-caption on video buffers.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 -m videotestsrc num-buffers=60 ! mllamacaption prompt="What is this?" ! fakesink
 * ]| Captions as messages.
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! mllamacaption name=c c.text_0 ! srtenc ! filesink
 * location=out.srt
 * ]| Subtitles for a file.
 */
#include "gstmllamacaption.h"
#include "element.h"
#include "meta.h"

GST_DEBUG_CATEGORY (gst_mllama_caption_debug);
#define GST_CAT_DEFAULT gst_mllama_caption_debug

enum {
  SIGNAL_CAPTION_NOW,
  N_SIGNALS,
};

static guint signals[N_SIGNALS];
static GParamSpec *last_caption_spec;
static guint n_settings;

#define PROP_STATS        (n_settings + 1)
#define PROP_LAST_CAPTION (n_settings + 2)

/* What the model takes from CUDA memory as it is; other formats and memories are downloaded. */
#define CUDA_FORMATS "{ NV12, I420, YUY2, RGB, BGR, RGBA, BGRA, ARGB, ABGR, RGBx, BGRx, xRGB, xBGR, GRAY8 }"

#define VIDEO_CAPS                                                                                                     \
  GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL)                                                                          \
  "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES ("memory:CUDAMemory", CUDA_FORMATS) "; " GST_VIDEO_CAPS_MAKE_WITH_FEATURES (  \
      "ANY", GST_VIDEO_FORMATS_ALL)

static GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (VIDEO_CAPS));
static GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (VIDEO_CAPS));
static GstStaticPadTemplate text_template =
    GST_STATIC_PAD_TEMPLATE ("text_%u", GST_PAD_SRC, GST_PAD_REQUEST,
                             GST_STATIC_CAPS ("text/x-raw, format=(string){ utf8, pango-markup }; application/x-json"));

G_DEFINE_TYPE_WITH_CODE (GstMllamaCaption, gst_mllama_caption, GST_TYPE_ELEMENT,
                         G_IMPLEMENT_INTERFACE (GST_TYPE_CHILD_PROXY, gst_mllama_caption_child_proxy_init))
GST_ELEMENT_REGISTER_DEFINE (mllamacaption, "mllamacaption", GST_RANK_NONE, GST_TYPE_MLLAMA_CAPTION)

/* --- properties --- */

void
gst_mllama_caption_notify_last_caption (GstMllamaCaption *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), last_caption_spec);
}

/* Whether a new value of a property that makes up questions can be asked. */
static gboolean
is_acceptable (GstMllamaCaption *self, const char *name, const GValue *value)
{
  GstElement *element = GST_ELEMENT (self);

  if (g_str_equal (name, "prompt"))
    return gst_mllama_caption_check_question (element, g_value_get_string (value), -1);
  if (g_str_equal (name, "prompts")) {
    for (guint i = 0; i < gst_value_array_get_size (value); i++)
      if (!gst_mllama_caption_check_question (element, g_value_get_string (gst_value_array_get_value (value, i)), -1))
        return FALSE;
  } else if (g_str_equal (name, "prompt-format")) {
    g_mutex_lock (&self->lock);
    g_autofree char *prompt = g_strdup (self->settings.prompt);
    g_mutex_unlock (&self->lock);
    return gst_mllama_caption_check_question (element, prompt, g_value_get_enum (value));
  }
  return TRUE;
}

static gboolean
differs (const GstMllamaCaptionSettings *settings, guint id, const GValue *value, GParamSpec *pspec)
{
  GValue old = G_VALUE_INIT;

  g_value_init (&old, G_PARAM_SPEC_VALUE_TYPE (pspec));
  const gboolean changed =
      gst_mllama_caption_settings_get (settings, id, &old) && g_param_values_cmp (pspec, value, &old) != 0;
  g_value_unset (&old);
  return changed;
}

static void
gst_mllama_caption_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (object);
  static const char *const model_names[] = {"model", "device", "cuda-device-id", "dtype", NULL};

  if (!is_acceptable (self, pspec->name, value))
    return;
  g_mutex_lock (&self->lock);
  const gboolean changed = differs (&self->settings, id, value, pspec);
  if (!gst_mllama_caption_settings_set (&self->settings, id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  self->model_changed |= changed && g_strv_contains (model_names, pspec->name);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  if (changed && g_str_has_prefix (pspec->name, "prompt"))
    gst_mllama_caption_ask_anew (GST_ELEMENT (self), NULL);
  if (changed && g_str_equal (pspec->name, "latency"))
    gst_element_post_message (GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

/* What the engine, shared or not, has done since the model was loaded. */
static void
write_engine_stats (MllamaModel *model, GstStructure *structure)
{
  MllamaStatistics statistics = {0};

  if (model)
    mllama_model_get_statistics (model, &statistics);
  const double rows =
      statistics.n_decode_steps > 0 ? (double) statistics.n_decode_rows / (double) statistics.n_decode_steps : 0;
  const guint64 n_bytes = statistics.weight_bytes + statistics.kv_bytes + statistics.states_bytes;
  const gboolean on_gpu = model && mllama_model_get_device (model) == MLLAMA_DEVICE_CUDA;
  gst_structure_set (structure, "decode-steps", G_TYPE_UINT64, statistics.n_decode_steps, "rows-per-step",
                     G_TYPE_DOUBLE, rows, "weight-bytes", G_TYPE_UINT64, (guint64) statistics.weight_bytes, "kv-bytes",
                     G_TYPE_UINT64, (guint64) statistics.kv_bytes, "states-bytes", G_TYPE_UINT64,
                     (guint64) statistics.states_bytes, "gpu-bytes", G_TYPE_UINT64, on_gpu ? n_bytes : 0, NULL);
}

static GstStructure *
make_stats (GstMllamaCaption *self)
{
  g_autoptr (MllamaModel) model = gst_mllama_caption_ref_model (self);
  GstStructure *structure = gst_structure_new_empty ("mllama-caption-stats");

  g_mutex_lock (&self->lock);
  const char *mode = !self->mode_known ? "unknown" : self->live ? "live" : "archive";
  gst_structure_set (structure, "mode", G_TYPE_STRING, mode, "loaded", G_TYPE_BOOLEAN, self->loaded, "frames-in-flight",
                     G_TYPE_UINT, self->in_flight.length, NULL);
  gst_mllama_caption_stats_write (&self->stats, structure);
  g_mutex_unlock (&self->lock);
  write_engine_stats (model, structure);
  return structure;
}

static void
gst_mllama_caption_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (object);

  if (id == PROP_STATS) {
    g_value_take_boxed (value, make_stats (self));
    return;
  }
  g_mutex_lock (&self->lock);
  if (id == PROP_LAST_CAPTION)
    g_value_set_string (value, self->last_caption);
  else if (!gst_mllama_caption_settings_get (&self->settings, id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  g_mutex_unlock (&self->lock);
}

static void
caption_now (GstMllamaCaption *self)
{
  g_mutex_lock (&self->lock);
  self->forced = TRUE;
  g_mutex_unlock (&self->lock);
}

/* --- class --- */

GstStateChangeReturn
gst_mllama_caption_chain_up_state (GstElement *element, GstStateChange transition)
{
  return GST_ELEMENT_CLASS (gst_mllama_caption_parent_class)->change_state (element, transition);
}

static void
gst_mllama_caption_finalize (GObject *object)
{
  GstMllamaCaption *self = GST_MLLAMA_CAPTION (object);

  gst_mllama_caption_reset_stream (self);
  g_clear_pointer (&self->model, mllama_model_unref);
  g_list_free_full (self->text_pads, gst_object_unref);
  g_hash_table_unref (self->latest);
  g_hash_table_unref (self->said);
  g_ptr_array_unref (self->pending_meta);
  g_clear_error (&self->load_error);
  g_clear_object (&self->cancellable);
  g_clear_object (&self->load_cancellable);
  g_free (self->last_caption);
  gst_mllama_caption_settings_clear (&self->settings);
  g_cond_clear (&self->changed);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (gst_mllama_caption_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *klass)
{
  n_settings = gst_mllama_caption_settings_install (klass);
  g_object_class_install_property (klass, PROP_STATS,
                                   g_param_spec_boxed ("stats", "Statistics",
                                                       "Counts, and times in ns, since the element left READY",
                                                       GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  last_caption_spec = g_param_spec_string ("last-caption", "Last caption", "The newest caption", NULL,
                                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_property (klass, PROP_LAST_CAPTION, last_caption_spec);
}

static void
gst_mllama_caption_class_init (GstMllamaCaptionClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  static const gchar *no_tags[] = {NULL};

  GST_DEBUG_CATEGORY_INIT (gst_mllama_caption_debug, "mllamacaption", 0, "captions with Llama 3.2-Vision");
  object_class->set_property = gst_mllama_caption_set_property;
  object_class->get_property = gst_mllama_caption_get_property;
  object_class->finalize = gst_mllama_caption_finalize;
  install_properties (object_class);
  /**
   * GstMllamaCaption::caption-now:
   *
   * Chooses the next frame, whether it is due or not.
   */
  signals[SIGNAL_CAPTION_NOW] =
      g_signal_new_class_handler ("caption-now", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
                                  G_CALLBACK (caption_now), NULL, NULL, NULL, G_TYPE_NONE, 0);

  element_class->change_state = GST_DEBUG_FUNCPTR (gst_mllama_caption_change_state);
  element_class->request_new_pad = GST_DEBUG_FUNCPTR (gst_mllama_caption_request_new_pad);
  element_class->release_pad = GST_DEBUG_FUNCPTR (gst_mllama_caption_release_pad);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_add_static_pad_template_with_gtype (element_class, &text_template, GST_TYPE_MLLAMA_CAPTION_PAD);
  gst_element_class_set_static_metadata (element_class, "Mllama captioner", "Filter/Analyzer/Video",
                                         "Says what video shows, with Llama 3.2-Vision", "The gst-mllama authors");
  gst_type_mark_as_plugin_api (GST_TYPE_MLLAMA_CAPTION_PAD, 0);
  gst_mllama_caption_enums_mark ();
  gst_meta_register_custom (GST_MLLAMA_CAPTION_NAME, no_tags, NULL, NULL, NULL);
}

static GstPad *
add_video_pad (GstMllamaCaption *self, GstStaticPadTemplate *template)
{
  GstPad *pad = gst_pad_new_from_static_template (template, template->name_template);

  gst_pad_set_iterate_internal_links_function (pad, GST_DEBUG_FUNCPTR (gst_mllama_caption_iterate_internal_links));
  gst_element_add_pad (GST_ELEMENT (self), pad);
  return pad;
}

static void
gst_mllama_caption_init (GstMllamaCaption *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  gst_mllama_caption_settings_init (&self->settings, G_OBJECT_GET_CLASS (self));
  self->latest = g_hash_table_new_full (NULL, NULL, gst_object_unref, (GDestroyNotify) gst_mllama_caption_answer_unref);
  self->said = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  self->pending_meta = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_structure_free);
  self->cancellable = g_cancellable_new ();
  gst_mllama_caption_reset_stream (self);

  self->sinkpad = add_video_pad (self, &sink_template);
  gst_pad_set_chain_function (self->sinkpad, GST_DEBUG_FUNCPTR (gst_mllama_caption_chain));
  gst_pad_set_event_function (self->sinkpad, GST_DEBUG_FUNCPTR (gst_mllama_caption_sink_event));
  gst_pad_set_query_function (self->sinkpad, GST_DEBUG_FUNCPTR (gst_mllama_caption_sink_query));
  self->srcpad = add_video_pad (self, &src_template);
  gst_pad_set_event_function (self->srcpad, GST_DEBUG_FUNCPTR (gst_mllama_caption_src_event));
}
