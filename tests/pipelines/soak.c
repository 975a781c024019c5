/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "soak.h"

#include <malloc.h>
#include <stdlib.h>
#include "stacks.h"

typedef struct {
  const SoakSettings *settings;
  guint number;
  GRand *rand;
  GThread *thread;
  GstElement *pipeline, *element;
  GMutex lock; /* guards what follows */
  GCond leave;
  gboolean leaving, is_over;
  gint64 acted_us, captioned_us; /* when its thread and its captions last went on */
  guint64 n_captions, n_acts, n_errors;
  char error[256];
  double played_s;
} Stream;

/* --- what the bus says --- */

static void
note_error (Stream *stream, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, &debug);
  else
    gst_message_parse_warning (message, &error, &debug);
  if (stream->n_errors++ == 0)
    g_strlcpy (stream->error, error->message, sizeof stream->error);
}

static GstBusSyncReply
listen (GstBus *bus, GstMessage *message, gpointer data)
{
  Stream *stream = data;
  const GstStructure *structure = gst_message_get_structure (message);
  const GstMessageType type = GST_MESSAGE_TYPE (message);

  g_mutex_lock (&stream->lock);
  if (type == GST_MESSAGE_ELEMENT && gst_structure_has_name (structure, "mllama-caption")) {
    stream->n_captions += !g_str_equal (gst_structure_get_string (structure, "finish-reason"), "error");
    stream->captioned_us = g_get_monotonic_time ();
  } else if (type == GST_MESSAGE_ERROR || type == GST_MESSAGE_WARNING) {
    note_error (stream, message);
  }
  g_mutex_unlock (&stream->lock);
  gst_message_unref (message);
  return GST_BUS_DROP;
}

/* --- what is done to a stream --- */

GstElement *
soak_launch (const char *model, guint number, const char *properties)
{
  static const char *const patterns[] = {"smpte", "ball",       "snow",     "pinwheel",
                                         "gamut", "zone-plate", "circular", "spokes"};
  g_autofree char *line =
      g_strdup_printf ("videotestsrc name=v pattern=%s ! video/x-raw,width=%u,height=48,framerate=10/1 ! "
                       "mllamacaption name=c model=\"%s\" %s ! fakesink name=f sync=false",
                       patterns[number % G_N_ELEMENTS (patterns)], 48 + number % 3 * 16, model, properties);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);

  if (!pipeline || error)
    g_error ("%s: %s", line, error ? error->message : "no pipeline");
  return pipeline;
}

static void
set_state (Stream *stream, GstState state)
{
  if (gst_element_set_state (stream->pipeline, state) == GST_STATE_CHANGE_FAILURE)
    g_error ("stream %u does not go to %s: %s", stream->number, gst_element_state_get_name (state), stream->error);
  gst_element_get_state (stream->pipeline, NULL, NULL, GST_CLOCK_TIME_NONE);
}

static void
seek (Stream *stream)
{
  const GstClockTime to = g_rand_int_range (stream->rand, 0, 100) * GST_SECOND;

  gst_element_seek_simple (stream->pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, to);
}

static void
change_prompt (Stream *stream)
{
  g_autofree char *prompt =
      g_strdup_printf ("Question %u of stream %u?", g_rand_int_range (stream->rand, 0, 1000), stream->number);

  g_object_set (stream->element, "prompt", prompt, NULL);
}

static void
ask_for_a_pad_and_give_it_back (Stream *stream)
{
  GstPad *pad = gst_element_request_pad_simple (stream->element, "text_%u");

  g_object_set (pad, "prompt", "And what else?", NULL);
  gst_element_release_request_pad (stream->element, pad);
  gst_object_unref (pad);
}

static void
act (Stream *stream)
{
  switch (g_rand_int_range (stream->rand, 0, 8)) {
  case 0:
    set_state (stream, GST_STATE_NULL);
    set_state (stream, GST_STATE_PLAYING);
    break;
  case 1:
    set_state (stream, GST_STATE_READY);
    set_state (stream, GST_STATE_PLAYING);
    break;
  case 2:
    set_state (stream, GST_STATE_PAUSED);
    set_state (stream, GST_STATE_PLAYING);
    break;
  case 3:
    ask_for_a_pad_and_give_it_back (stream);
    break;
  case 4:
    g_object_set (stream->element, "max-tokens", g_rand_int_range (stream->rand, 16, 64), NULL);
    break;
  case 5:
    change_prompt (stream);
    break;
  default:
    seek (stream);
  }
}

/* FALSE when it is time to leave. */
static gboolean
play_on (Stream *stream)
{
  const gint64 until = g_get_monotonic_time () + g_rand_int_range (stream->rand, 20, 400) * G_TIME_SPAN_MILLISECOND;

  g_mutex_lock (&stream->lock);
  stream->n_acts++;
  stream->acted_us = g_get_monotonic_time ();
  while (!stream->leaving && g_cond_wait_until (&stream->leave, &stream->lock, until))
    ;
  const gboolean leaving = stream->leaving;
  g_mutex_unlock (&stream->lock);
  return !leaving;
}

static gpointer
handle (gpointer data)
{
  Stream *stream = data;
  GMutex never = {0};

  set_state (stream, GST_STATE_PLAYING);
  const gint64 start = g_get_monotonic_time ();
  if (stream->settings->is_stuck && stream->number == 0) {
    g_mutex_lock (&never);
    g_mutex_lock (&never);
  }
  while (play_on (stream))
    act (stream);
  stream->played_s = (double) (g_get_monotonic_time () - start) / G_TIME_SPAN_SECOND;
  set_state (stream, GST_STATE_NULL);
  g_mutex_lock (&stream->lock);
  stream->is_over = TRUE;
  g_mutex_unlock (&stream->lock);
  return NULL;
}

/* --- all of them --- */

static Stream *
stream_new (const SoakSettings *settings, guint phase, guint number)
{
  Stream *stream = g_new0 (Stream, 1);

  stream->settings = settings;
  stream->number = number;
  stream->rand = g_rand_new_with_seed_array ((const guint32[]){settings->seed, phase, number}, 3);
  stream->pipeline = soak_launch (settings->model, number, "max-tokens=48 interval=100000000 max-in-flight=2");
  stream->element = gst_bin_get_by_name (GST_BIN (stream->pipeline), "c");
  stream->acted_us = stream->captioned_us = g_get_monotonic_time ();
  g_autoptr (GstBus) bus = gst_pipeline_get_bus (GST_PIPELINE (stream->pipeline));
  gst_bus_set_sync_handler (bus, listen, stream, NULL);
  stream->thread = g_thread_new ("soak", handle, stream);
  return stream;
}

static void
stream_free (Stream *stream)
{
  gst_object_unref (stream->element);
  gst_object_unref (stream->pipeline);
  g_rand_free (stream->rand);
  g_free (stream);
}

static void
watch (const SoakSettings *settings, Stream *const *streams)
{
  const gint64 now = g_get_monotonic_time ();

  for (guint i = 0; i < settings->n_streams; i++) {
    g_mutex_lock (&streams[i]->lock);
    const gint64 quiet_us = streams[i]->is_over ? 0 : now - MIN (streams[i]->acted_us, streams[i]->captioned_us);
    g_mutex_unlock (&streams[i]->lock);
    if (quiet_us < settings->patience_s * G_TIME_SPAN_SECOND)
      continue;
    g_printerr ("stream %u has shown no life for %u s (seed %u); what every thread does:\n", i, settings->patience_s,
                settings->seed);
    stacks_print ();
    abort ();
  }
}

static void
ask_to_leave (Stream *stream)
{
  g_mutex_lock (&stream->lock);
  stream->leaving = TRUE;
  g_cond_signal (&stream->leave);
  g_mutex_unlock (&stream->lock);
}

/* Joins the threads, and still sees those that do not come. */
typedef struct {
  const SoakSettings *settings;
  Stream **streams;
  GMutex lock;
  GCond done;
  gboolean is_done;
} Watchdog;

static gpointer
run_watchdog (gpointer data)
{
  Watchdog *dog = data;

  g_mutex_lock (&dog->lock);
  while (!dog->is_done) {
    g_cond_wait_until (&dog->done, &dog->lock, g_get_monotonic_time () + G_TIME_SPAN_SECOND / 4);
    if (!dog->is_done)
      watch (dog->settings, dog->streams);
  }
  g_mutex_unlock (&dog->lock);
  return NULL;
}

static void
add_up (Stream *const *streams, guint n_streams, SoakPhase *result)
{
  *result = (SoakPhase){0};
  for (guint i = 0; i < n_streams; i++) {
    result->n_captions += streams[i]->n_captions;
    result->n_acts += streams[i]->n_acts;
    result->rates[i] = (double) streams[i]->n_captions / streams[i]->played_s;
    if (streams[i]->n_errors > 0 && result->n_errors == 0)
      g_strlcpy (result->first_error, streams[i]->error, sizeof result->first_error);
    result->n_errors += streams[i]->n_errors;
  }
}

void
soak_run (const SoakSettings *settings, guint phase, SoakPhase *result)
{
  g_autofree Stream **streams = g_new0 (Stream *, settings->n_streams);
  Watchdog dog = {.settings = settings, .streams = streams};

  for (guint i = 0; i < settings->n_streams; i++)
    streams[i] = stream_new (settings, phase, i);
  GThread *watchdog = g_thread_new ("watchdog", run_watchdog, &dog);
  g_usleep ((gulong) (settings->seconds * G_USEC_PER_SEC));
  for (guint i = 0; i < settings->n_streams; i++)
    ask_to_leave (streams[i]);
  for (guint i = 0; i < settings->n_streams; i++)
    g_thread_join (streams[i]->thread);
  g_mutex_lock (&dog.lock);
  dog.is_done = TRUE;
  g_cond_signal (&dog.done);
  g_mutex_unlock (&dog.lock);
  g_thread_join (watchdog);
  add_up (streams, settings->n_streams, result);
  for (guint i = 0; i < settings->n_streams; i++)
    stream_free (streams[i]);
  const struct mallinfo2 heap = mallinfo2 ();
  result->heap_bytes = heap.uordblks + heap.hblkhd;
}
