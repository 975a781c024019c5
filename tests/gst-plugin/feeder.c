/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "feeder.h"

#define WIDTH     1920
#define HEIGHT    1080
#define FPS       30
#define N_BUFFERS 2

typedef struct {
  GstElement *element;
  GstPad *camera, *screen;
  GstBufferPool *pool;
  GstVideoInfo info;
  GstBus *bus;
  GstBuffer *shown;  /* what the screen keeps */
  GstMemory *memory; /* of the frame that is being pushed, and its time */
  GstClockTime pts;
  Feed *feed;
} Rail;

/* --- the screen --- */

static GstFlowReturn
show (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  Rail *rail = gst_pad_get_element_private (pad);

  rail->feed->n_passed++;
  if (gst_buffer_n_memory (buffer) != 1 || gst_buffer_peek_memory (buffer, 0) != rail->memory ||
      GST_BUFFER_PTS (buffer) != rail->pts || GST_BUFFER_DURATION (buffer) != GST_SECOND / FPS)
    rail->feed->n_changed++;
  gst_clear_buffer (&rail->shown);
  rail->shown = buffer;
  return GST_FLOW_OK;
}

static gboolean
accept (GstPad *pad, GstObject *parent, GstEvent *event)
{
  gst_event_unref (event);
  return TRUE;
}

/* --- the camera --- */

static gboolean
answer (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_latency (query, TRUE, GST_SECOND / FPS, GST_SECOND / FPS);
  return TRUE;
}

/* How long this thread was ready to run and had no CPU so far: a matter of the machine, not of the element. */
static gint64
read_wait_for_cpu_us (void)
{
  g_autofree char *text = NULL;

  if (!g_file_get_contents ("/proc/thread-self/schedstat", &text, NULL, NULL))
    return 0;
  g_auto (GStrv) fields = g_strsplit (text, " ", 3);
  return g_strv_length (fields) < 2 ? 0 : g_ascii_strtoll (fields[1], NULL, 10) / 1000;
}

static GstBuffer *
draw (Rail *rail, guint number)
{
  GstBufferPoolAcquireParams params = {.flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT};
  GstBuffer *buffer = NULL;

  if (gst_buffer_pool_acquire_buffer (rail->pool, &buffer, &params) != GST_FLOW_OK) {
    rail->feed->n_starved++;
    g_assert_cmpint (gst_buffer_pool_acquire_buffer (rail->pool, &buffer, NULL), ==, GST_FLOW_OK);
  }
  gst_buffer_memset (buffer, 0, (guint8) (16 + number % 220), (gsize) WIDTH * HEIGHT / 2);
  GST_BUFFER_PTS (buffer) = gst_util_uint64_scale (number, GST_SECOND, FPS);
  GST_BUFFER_DURATION (buffer) = GST_SECOND / FPS;
  rail->memory = gst_buffer_peek_memory (buffer, 0);
  rail->pts = GST_BUFFER_PTS (buffer);
  return buffer;
}

static void
push (Rail *rail, guint number)
{
  Feed *feed = rail->feed;
  GstBuffer *buffer = draw (rail, number);
  const gint64 waited = read_wait_for_cpu_us (), start = g_get_monotonic_time ();

  g_assert_cmpint (gst_pad_push (rail->camera, buffer), ==, GST_FLOW_OK);
  const gint64 wall = g_get_monotonic_time () - start, own = wall - (read_wait_for_cpu_us () - waited);
  feed->n_frames++;
  feed->n_slow += wall > 5000;
  feed->worst_wall_us = MAX (feed->worst_wall_us, wall);
  feed->worst_us = MAX (feed->worst_us, own);
}

/* --- messages --- */

static void
take (Rail *rail, GstMessage *message)
{
  Feed *feed = rail->feed;
  const GstStructure *structure = gst_message_get_structure (message);

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_QOS) {
    feed->n_qos++;
    gst_message_parse_qos_stats (message, NULL, &feed->n_processed, &feed->n_dropped);
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR && !feed->error) {
    gst_message_parse_error (message, &feed->error, NULL);
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ELEMENT) {
    feed->n_captions++;
    if (!feed->first_text)
      feed->first_text = g_strdup (gst_structure_get_string (structure, "text"));
  }
  gst_message_unref (message);
}

/* --- all of it --- */

static Rail *
build (const char *settings)
{
  Rail *rail = g_new0 (Rail, 1);
  g_autofree char *line = g_strdup_printf ("mllamacaption %s", settings);
  g_autoptr (GError) error = NULL;

  rail->feed = g_new0 (Feed, 1);
  rail->element = gst_parse_launch (line, &error);
  g_assert_no_error (error);
  gst_object_ref_sink (rail->element);
  rail->bus = gst_bus_new ();
  gst_element_set_bus (rail->element, rail->bus);
  rail->camera = gst_pad_new ("camera", GST_PAD_SRC);
  rail->screen = gst_pad_new ("screen", GST_PAD_SINK);
  gst_pad_set_element_private (rail->screen, rail);
  gst_pad_set_query_function (rail->camera, answer);
  gst_pad_set_chain_function (rail->screen, show);
  gst_pad_set_event_function (rail->screen, accept);
  g_autoptr (GstPad) sink = gst_element_get_static_pad (rail->element, "sink");
  g_autoptr (GstPad) src = gst_element_get_static_pad (rail->element, "src");
  g_assert_cmpint (gst_pad_link (rail->camera, sink), ==, GST_PAD_LINK_OK);
  g_assert_cmpint (gst_pad_link (src, rail->screen), ==, GST_PAD_LINK_OK);
  gst_pad_set_active (rail->screen, TRUE);
  gst_pad_set_active (rail->camera, TRUE);
  return rail;
}

static void
begin (Rail *rail)
{
  GstSegment segment;

  g_assert_cmpint (gst_element_set_state (rail->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
  gst_video_info_set_format (&rail->info, GST_VIDEO_FORMAT_NV12, WIDTH, HEIGHT);
  GST_VIDEO_INFO_FPS_N (&rail->info) = FPS;
  g_autoptr (GstCaps) caps = gst_video_info_to_caps (&rail->info);
  rail->pool = gst_video_buffer_pool_new ();
  GstStructure *config = gst_buffer_pool_get_config (rail->pool);
  gst_buffer_pool_config_set_params (config, caps, (guint) GST_VIDEO_INFO_SIZE (&rail->info), N_BUFFERS, N_BUFFERS);
  g_assert_true (gst_buffer_pool_set_config (rail->pool, config));
  g_assert_true (gst_buffer_pool_set_active (rail->pool, TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_pad_push_event (rail->camera, gst_event_new_stream_start ("camera"));
  gst_pad_push_event (rail->camera, gst_event_new_caps (caps));
  gst_pad_push_event (rail->camera, gst_event_new_segment (&segment));
}

static void
dismantle (Rail *rail)
{
  gst_element_set_state (rail->element, GST_STATE_NULL);
  gst_pad_set_active (rail->camera, FALSE);
  gst_pad_set_active (rail->screen, FALSE);
  gst_clear_buffer (&rail->shown);
  gst_buffer_pool_set_active (rail->pool, FALSE);
  gst_object_unref (rail->pool);
  gst_object_unref (rail->camera);
  gst_object_unref (rail->screen);
  gst_element_set_bus (rail->element, NULL);
  gst_object_unref (rail->bus);
  gst_object_unref (rail->element);
  g_free (rail);
}

Feed *
feed_camera (const char *settings, guint n_frames)
{
  Rail *rail = build (settings);
  Feed *feed = rail->feed;
  GstMessage *message;
  g_autoptr (GstStructure) stats = NULL;

  begin (rail);
  const gint64 start = g_get_monotonic_time ();
  for (guint i = 0; i < n_frames; i++) {
    const gint64 due = start + (gint64) i * G_USEC_PER_SEC / FPS;
    const gint64 early = due - g_get_monotonic_time ();
    if (early > 0)
      g_usleep ((gulong) early);
    feed->late_us = g_get_monotonic_time () - due;
    push (rail, i);
    while ((message = gst_bus_pop (rail->bus)))
      take (rail, message);
  }
  gst_pad_push_event (rail->camera, gst_event_new_eos ());
  g_object_get (rail->element, "stats", &stats, NULL);
  gst_structure_get_uint64 (stats, "frames-chosen", &feed->n_chosen);
  gst_structure_get_uint64 (stats, "frames-replaced", &feed->n_replaced);
  while ((message = gst_bus_pop (rail->bus)))
    take (rail, message);
  dismantle (rail);
  return feed;
}

void
feed_free (Feed *feed)
{
  g_clear_error (&feed->error);
  g_free (feed->first_text);
  g_free (feed);
}
