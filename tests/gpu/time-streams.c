/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* time-streams MODEL DEVICE [STREAMS [SECONDS]]: live streams of four tiles that share one model in one process, and
 * what each of them gets, as JSON: captions a second, their latency, and what the streams hold of the device. */
#include <stdlib.h>

#include <gst/gst.h>
#include <json-glib/json-glib.h>

#define MAX_STREAMS 256
#define MAX_START_S 300 /* for loading, and the first caption of every stream */
#define MAX_TOKENS  40
#define LINE                                                                                                           \
  "videotestsrc is-live=true pattern=%s ! video/x-raw,format=NV12,width=1280,height=720,framerate=30/1 ! "             \
  "mllamacaption name=c model=\"%s\" device=%s interval=0 max-tokens=%u "                                              \
  "prompt=\"Describe what stream %u shows, where it is, what it does, and what is written on it.\" ! fakesink"

typedef struct {
  GstElement *pipeline, *element;
  struct Run *run;
  guint n_captions; /* since the measurement began */
  gboolean is_begun;
} Stream;

typedef struct Run {
  guint n_streams, n_begun;
  Stream streams[MAX_STREAMS];
  GMutex lock; /* guards what is below, and the counts of streams */
  GCond changed;
  gboolean is_measuring;
  GArray *latencies; /* guint64, ns */
  guint n_full;      /* captions of MAX_TOKENS */
  char *error;
} Run;

static void
count_caption (Stream *stream, const GstStructure *structure)
{
  Run *run = stream->run;
  guint64 latency = 0;
  guint n_tokens = 0;

  gst_structure_get (structure, "latency", G_TYPE_UINT64, &latency, "tokens", G_TYPE_UINT, &n_tokens, NULL);
  run->n_begun += !stream->is_begun;
  stream->is_begun = TRUE;
  if (!run->is_measuring)
    return;
  stream->n_captions++;
  run->n_full += n_tokens == MAX_TOKENS;
  g_array_append_val (run->latencies, latency);
}

static void
note_error (Run *run, GstMessage *message)
{
  g_autoptr (GError) error = NULL;

  gst_message_parse_error (message, &error, NULL);
  if (!run->error)
    run->error = g_strdup (error->message);
}

static GstBusSyncReply
listen (GstBus *bus, GstMessage *message, gpointer data)
{
  Stream *stream = data;
  const GstStructure *structure = gst_message_get_structure (message);

  g_mutex_lock (&stream->run->lock);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT && gst_structure_has_name (structure, "mllama-caption"))
    count_caption (stream, structure);
  else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    note_error (stream->run, message);
  g_cond_broadcast (&stream->run->changed);
  g_mutex_unlock (&stream->run->lock);
  gst_message_unref (message);
  return GST_BUS_DROP;
}

static void
start_stream (Run *run, guint number, const char *model, const char *device)
{
  static const char *const patterns[] = {"ball", "smpte", "snow", "blink", "gamut", "pinwheel", "bar", "spokes"};
  g_autofree char *line =
      g_strdup_printf (LINE, patterns[number % G_N_ELEMENTS (patterns)], model, device, MAX_TOKENS, number);
  g_autoptr (GError) error = NULL;
  Stream *stream = &run->streams[number];

  stream->run = run;
  stream->pipeline = gst_parse_launch (line, &error);
  if (error)
    g_error ("%s: %s", line, error->message);
  stream->element = gst_bin_get_by_name (GST_BIN (stream->pipeline), "c");
  g_autoptr (GstBus) bus = gst_pipeline_get_bus (GST_PIPELINE (stream->pipeline));
  gst_bus_set_sync_handler (bus, listen, stream, NULL);
  gst_element_set_state (stream->pipeline, GST_STATE_PLAYING);
}

/* Until every stream has had a caption. */
static void
wait_for_all (Run *run)
{
  const gint64 until = g_get_monotonic_time () + MAX_START_S * G_TIME_SPAN_SECOND;
  gboolean in_time = TRUE;

  g_mutex_lock (&run->lock);
  while (run->n_begun < run->n_streams && !run->error && in_time)
    in_time = g_cond_wait_until (&run->changed, &run->lock, until);
  if (!in_time && !run->error)
    run->error =
        g_strdup_printf ("%u of %u streams had a caption within %d s", run->n_begun, run->n_streams, MAX_START_S);
  g_mutex_unlock (&run->lock);
}

/* Seconds that were measured. */
static double
measure (Run *run, guint seconds)
{
  const gint64 start = g_get_monotonic_time ();

  g_mutex_lock (&run->lock);
  run->is_measuring = TRUE;
  while (!run->error && g_cond_wait_until (&run->changed, &run->lock, start + seconds * G_TIME_SPAN_SECOND))
    ;
  run->is_measuring = FALSE;
  g_mutex_unlock (&run->lock);
  return (double) (g_get_monotonic_time () - start) / G_TIME_SPAN_SECOND;
}

/* --- what is told --- */

static int
compare_latencies (gconstpointer a, gconstpointer b)
{
  const guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;

  return (x > y) - (x < y);
}

static double
get_quantile_ms (const Run *run, double share)
{
  if (run->latencies->len == 0)
    return 0;
  return (double) g_array_index (run->latencies, guint64, (guint) (share * (run->latencies->len - 1))) * 1e-6;
}

static void
put (JsonObject *object, const char *name, double value)
{
  json_object_set_double_member (object, name, value);
}

static void
put_engine (JsonObject *object, const Run *run)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 gpu_bytes = 0, states_bytes = 0, n_encodes = 0, n_encodes_of_all = 0;
  double rows = 0;

  for (guint i = 0; i < run->n_streams; i++) {
    g_clear_pointer (&stats, gst_structure_free);
    g_object_get (run->streams[i].element, "stats", &stats, NULL);
    gst_structure_get (stats, "gpu-bytes", G_TYPE_UINT64, &gpu_bytes, "states-bytes", G_TYPE_UINT64, &states_bytes,
                       "rows-per-step", G_TYPE_DOUBLE, &rows, "encodes", G_TYPE_UINT64, &n_encodes, NULL);
    n_encodes_of_all += n_encodes;
  }
  put (object, "rows_per_step", rows);
  put (object, "gpu_GiB", (double) gpu_bytes / (1 << 30));
  put (object, "states_GiB", (double) states_bytes / (1 << 30));
  put (object, "encodes", (double) n_encodes_of_all);
}

static void
print_report (Run *run, double seconds)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  JsonObject *object = json_object_new ();
  const double n = run->latencies->len;
  guint least = G_MAXUINT;

  json_node_take_object (root, object);
  for (guint i = 0; i < run->n_streams; i++)
    least = MIN (least, run->streams[i].n_captions);
  g_array_sort (run->latencies, compare_latencies);
  put (object, "streams", run->n_streams);
  put (object, "captions", n);
  put (object, "captions_s", n / seconds);
  put (object, "full_captions", run->n_full);
  put (object, "fairness", n > 0 ? least * run->n_streams / n : 0);
  put (object, "latency_ms_p50", get_quantile_ms (run, 0.5));
  put (object, "latency_ms_p95", get_quantile_ms (run, 0.95));
  put_engine (object, run);
  g_autofree char *text = json_to_string (root, TRUE);
  g_print ("%s\n", text);
}

static void
stop (Run *run)
{
  for (guint i = 0; i < run->n_streams; i++) {
    gst_element_set_state (run->streams[i].pipeline, GST_STATE_NULL);
    gst_object_unref (run->streams[i].element);
    gst_object_unref (run->streams[i].pipeline);
  }
  g_array_unref (run->latencies);
}

int
main (int argc, char **argv)
{
  static Run run;
  guint seconds = argc > 4 ? strtoul (argv[4], NULL, 10) : 20;

  gst_init (&argc, &argv);
  run.n_streams = argc > 3 ? strtoul (argv[3], NULL, 10) : 16;
  if (argc < 3 || run.n_streams < 1 || run.n_streams > MAX_STREAMS || seconds < 1) {
    g_printerr ("time-streams MODEL DEVICE [STREAMS, 1 to %d [SECONDS]]\n", MAX_STREAMS);
    return 2;
  }
  run.latencies = g_array_new (FALSE, FALSE, sizeof (guint64));
  for (guint i = 0; i < run.n_streams; i++)
    start_stream (&run, i, argv[1], argv[2]);
  wait_for_all (&run);
  const double measured = run.error ? 0 : measure (&run, seconds);
  if (run.error)
    g_printerr ("%s\n", run.error);
  else
    print_report (&run, measured);
  const int status = run.error ? 1 : 0;
  stop (&run);
  return status;
}
