/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captions a network stream that may break off: the source is replaced, the element and its model stay. */
#include <glib-unix.h>
#include <gst/gst.h>
#include <locale.h>
#include <stdlib.h>

#define MAX_WAIT_S 30

/* What stays while sources come and go. */
#define LINE                                                                                                           \
  "queue name=in ! videoconvert ! mllamacaption name=c mode=live  c.src ! fakesink sync=false async=false  c.text_0 "  \
  "! "                                                                                                                 \
  "application/x-json ! queue ! fdsink fd=1 sync=false async=false"

typedef struct {
  char *uri, *model, *prompt, *semantics;
  double interval_s, timeout_s, wait_s;
  gint max_tokens, n_attempts;
} Options;

typedef struct {
  const Options *options;
  GMainLoop *loop;
  GstElement *pipeline, *source; /* source: NULL while there is none */
  GstPad *in;                    /* where sources are linked */
  guint n_sources, n_failed;     /* all so far; since one last brought a frame */
  gint n_frames;                 /* atomic: of this source */
  gint n_seen;                   /* at the last look */
  gboolean is_over, is_good;
} Program;

static void connect (Program *program);

/* --- a source --- */

static GstPadProbeReturn
pass (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Program *program = data;

  if (info->type & GST_PAD_PROBE_TYPE_BUFFER)
    g_atomic_int_inc (&program->n_frames);
  else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_EOS) {
    /* The end of a source is not the end of the stream. */
    gst_element_post_message (program->pipeline,
                              gst_message_new_application (GST_OBJECT (pad), gst_structure_new_empty ("ended")));
    return GST_PAD_PROBE_DROP;
  }
  return GST_PAD_PROBE_OK;
}

static void
link_video (GstElement *source, GstPad *pad, gpointer data)
{
  Program *program = data;
  g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);

  if (!g_str_has_prefix (gst_structure_get_name (gst_caps_get_structure (caps, 0)), "video/") ||
      gst_pad_is_linked (program->in))
    return;
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, pass, program, NULL);
  gst_pad_link (pad, program->in);
}

static gboolean
connect_again (gpointer program)
{
  connect (program);
  return G_SOURCE_REMOVE;
}

/* Takes the source out, and makes another one after a while that doubles with every failure. */
static void
replace_source (Program *program, const char *reason)
{
  const Options *options = program->options;
  const double wait_s = MIN (options->wait_s * (1 << MIN (program->n_failed, 10)), MAX_WAIT_S);

  if (!program->source || program->is_over)
    return;
  gst_element_set_state (program->source, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (program->pipeline), program->source);
  program->source = NULL;
  program->n_failed++;
  if (options->n_attempts > 0 && program->n_failed >= (guint) options->n_attempts) {
    g_printerr ("%s: %s. Giving up after %u attempts.\n", options->uri, reason, program->n_failed);
    program->is_good = FALSE;
    g_main_loop_quit (program->loop);
    return;
  }
  g_printerr ("%s: %s. Connecting again in %g s.\n", options->uri, reason, wait_s);
  g_timeout_add ((guint) (wait_s * 1000), connect_again, program);
}

static gboolean
look_after (gpointer data)
{
  Program *program = data;
  const gint n_frames = g_atomic_int_get (&program->n_frames);

  if (n_frames > 0)
    program->n_failed = 0;
  if (program->source && n_frames == program->n_seen)
    replace_source (program, "no frame came in time");
  program->n_seen = n_frames;
  return G_SOURCE_CONTINUE;
}

static void
connect (Program *program)
{
  if (program->is_over)
    return;
  program->source = gst_element_factory_make ("uridecodebin", NULL);
  if (!program->source) {
    g_printerr ("GStreamer has no uridecodebin; install its base plugins.\n");
    exit (EXIT_FAILURE);
  }
  program->n_sources++;
  program->n_seen = -1;
  g_atomic_int_set (&program->n_frames, 0);
  /* A source that comes up or fails must not take the pipeline back to PAUSED. */
  g_object_set (program->source, "uri", program->options->uri, "async-handling", TRUE, NULL);
  g_signal_connect (program->source, "pad-added", G_CALLBACK (link_video), program);
  gst_bin_add (GST_BIN (program->pipeline), program->source);
  g_printerr ("Source %u: uridecodebin uri=%s\n", program->n_sources, program->options->uri);
  gst_element_set_state (program->source, GST_STATE_PLAYING);
}

/* --- messages --- */

static gboolean
comes_from_source (Program *program, GstMessage *message)
{
  return program->source && (GST_MESSAGE_SRC (message) == GST_OBJECT (program->source) ||
                             gst_object_has_as_ancestor (GST_MESSAGE_SRC (message), GST_OBJECT (program->source)));
}

/* A source that brought frames was a good one: what comes next is its first failure. */
static void
lose_source (Program *program, const char *reason)
{
  if (g_atomic_int_get (&program->n_frames) > 0)
    program->n_failed = 0;
  replace_source (program, reason);
}

static void
take_error (Program *program, GstMessage *message)
{
  g_autoptr (GError) error = NULL;

  gst_message_parse_error (message, &error, NULL);
  if (comes_from_source (program, message)) {
    lose_source (program, error->message);
    return;
  }
  /* What a source that was taken out had still to say. */
  if (!gst_object_has_as_ancestor (GST_MESSAGE_SRC (message), GST_OBJECT (program->pipeline)))
    return;
  g_printerr ("%s: %s\n", GST_MESSAGE_SRC_NAME (message), error->message);
  program->is_good = FALSE;
  g_main_loop_quit (program->loop);
}

static void
take_progress (GstMessage *message)
{
  GstProgressType type;
  g_autofree char *text = NULL;

  gst_message_parse_progress (message, &type, NULL, &text);
  if (type != GST_PROGRESS_TYPE_CONTINUE)
    g_printerr ("%s\n", text);
}

static gboolean
take_message (GstBus *bus, GstMessage *message, gpointer data)
{
  Program *program = data;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    take_error (program, message);
  else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
    g_main_loop_quit (program->loop);
  else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_APPLICATION && comes_from_source (program, message))
    lose_source (program, "the source has ended");
  else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_PROGRESS && !comes_from_source (program, message))
    take_progress (message);
  return G_SOURCE_CONTINUE;
}

/* The captions in work come out before the end. */
static gboolean
interrupt (gpointer data)
{
  Program *program = data;

  if (program->is_over)
    exit (EXIT_FAILURE);
  program->is_over = TRUE;
  if (program->source) {
    gst_element_set_state (program->source, GST_STATE_NULL);
    gst_bin_remove (GST_BIN (program->pipeline), program->source);
    program->source = NULL;
  }
  if (program->n_sources == 0 || !gst_pad_send_event (program->in, gst_event_new_eos ()))
    g_main_loop_quit (program->loop);
  return G_SOURCE_CONTINUE;
}

/* --- start --- */

static gboolean
parse_options (Options *options, int *argc, char ***argv)
{
  const GOptionEntry entries[] = {
      {"model", 0, 0, G_OPTION_ARG_STRING, &options->model, "Checkpoint (default: the small one built in)", "DIR|ID"},
      {"prompt", 0, 0, G_OPTION_ARG_STRING, &options->prompt, "The question (default: the element's)", "TEXT"},
      {"interval", 0, 0, G_OPTION_ARG_DOUBLE, &options->interval_s, "Time between captions (default: 1)", "SECONDS"},
      {"semantics", 0, 0, G_OPTION_ARG_STRING, &options->semantics, "meta or transformers", "NAME"},
      {"max-tokens", 0, 0, G_OPTION_ARG_INT, &options->max_tokens, "Longest answer (default: 64)", "NUMBER"},
      {"timeout", 0, 0, G_OPTION_ARG_DOUBLE, &options->timeout_s, "Without a frame for so long: again (default: 10)",
       "SECONDS"},
      {"wait", 0, 0, G_OPTION_ARG_DOUBLE, &options->wait_s, "Before the second attempt; doubles (default: 1)",
       "SECONDS"},
      {"attempts", 0, 0, G_OPTION_ARG_INT, &options->n_attempts,
       "Give up after so many without a frame (default: never)", "NUMBER"},
      {NULL}};
  g_autoptr (GOptionContext) context = g_option_context_new ("URI");
  g_autoptr (GError) error = NULL;

  g_option_context_set_summary (
      context, "Captions a network stream (rtsp://, http:// ...), one JSON object a line. When the stream breaks off,\n"
               "the source is replaced, and the model stays loaded.");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (g_option_context_parse (context, argc, argv, &error) && *argc == 2 && options->wait_s >= 0 &&
      options->timeout_s > 0) {
    options->uri = g_strdup ((*argv)[1]);
    return TRUE;
  }
  g_printerr ("%s; see --help\n", error ? error->message : "One URI is needed, and times above 0");
  return FALSE;
}

static void
set_element (GstElement *element, const Options *options)
{
  if (options->model)
    g_object_set (element, "model", options->model, NULL);
  if (options->prompt)
    g_object_set (element, "prompt", options->prompt, NULL);
  if (options->semantics)
    gst_util_set_object_arg (G_OBJECT (element), "semantics", options->semantics);
  if (options->max_tokens > 0)
    g_object_set (element, "max-tokens", options->max_tokens, NULL);
  g_object_set (element, "interval", (guint64) (options->interval_s * GST_SECOND), NULL);
}

static gboolean
build (Program *program)
{
  g_autoptr (GError) error = NULL;

  program->pipeline = gst_parse_launch (LINE, &error);
  if (error) {
    g_printerr ("%s. Is GST_PLUGIN_PATH set?\n", error->message);
    return FALSE;
  }
  g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (program->pipeline), "c");
  g_autoptr (GstElement) in = gst_bin_get_by_name (GST_BIN (program->pipeline), "in");
  g_autoptr (GstBus) bus = gst_pipeline_get_bus (GST_PIPELINE (program->pipeline));
  set_element (element, program->options);
  program->in = gst_element_get_static_pad (in, "sink");
  gst_bus_add_watch (bus, take_message, program);
  g_printerr ("Pipeline: SOURCE ! " LINE "\n");
  return TRUE;
}

int
main (int argc, char **argv)
{
  Options options = {.interval_s = 1, .timeout_s = 10, .wait_s = 1};
  Program program = {.options = &options, .is_good = TRUE};

  setlocale (LC_ALL, "");
  if (!parse_options (&options, &argc, &argv) || !build (&program))
    return EXIT_FAILURE;
  program.loop = g_main_loop_new (NULL, FALSE);
  g_unix_signal_add (SIGINT, interrupt, &program);
  g_unix_signal_add (SIGTERM, interrupt, &program);
  if (gst_element_set_state (program.pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE) {
    connect (&program);
    g_timeout_add ((guint) (options.timeout_s * 1000), look_after, &program);
  }
  g_main_loop_run (program.loop);
  gst_element_set_state (program.pipeline, GST_STATE_NULL);
  gst_object_unref (program.in);
  gst_object_unref (program.pipeline);
  g_main_loop_unref (program.loop);
  return program.is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
