/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Live never waits: twenty seconds of 1080p at 30 frames a second, every frame of them chosen. Built twice: with a
 * scripted model that takes two seconds a caption, and with the real engine on the CPU. */
#include "feeder.h"
#include "rig.h"
#include <string.h>

#define N_FRAMES 600

/* Sanitizers slow the engine and every copy many times over: with them times are no claim of this test. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define TIMES_COUNT FALSE
#elif defined __has_feature
#define TIMES_COUNT (!__has_feature (address_sanitizer) && !__has_feature (thread_sanitizer))
#else
#define TIMES_COUNT TRUE
#endif

#ifdef WITH_REAL_ENGINE
/* The random checkpoint is quick: many words make it work all the time. */
#define SETTINGS     "model=%s/golden/checkpoints/single device=cpu max-tokens=2000"
#define MIN_CAPTIONS 8
#else
#define SETTINGS     "model=%s prompt=\"a b c d\""
#define MIN_CAPTIONS 8
#endif

static Feed *
feed_two_second_model (const char *more, guint n_frames)
{
  g_autofree char *model = g_strdup_printf (SETTINGS " %s", g_getenv ("MLLAMA_TEST_SOURCE_DIR"), more);

  fake_reset ();
  fake_script.encode_ms = 1400;
  fake_script.token_ms = 100;
  return feed_camera (model, n_frames);
}

static void
no_frame_waits_for_the_model (void)
{
  Feed *feed = feed_two_second_model ("interval=0 eos-timeout=100000000", N_FRAMES);

  g_test_message ("longest stay in the element: %" G_GINT64_FORMAT " us, by the clock %" G_GINT64_FORMAT
                  " us; %u frames above 5 ms by the clock; %u captions, %" G_GUINT64_FORMAT " replaced",
                  feed->worst_us, feed->worst_wall_us, feed->n_slow, feed->n_captions, feed->n_replaced);
  g_assert_no_error (feed->error);
  if (TIMES_COUNT) {
    g_assert_cmpint (feed->worst_us, <=, 5000);
    g_assert_cmpint (feed->late_us, <, G_USEC_PER_SEC / 10);
  }
  /* Order, times and memory. */
  g_assert_cmpuint (feed->n_passed, ==, N_FRAMES);
  g_assert_cmpuint (feed->n_changed, ==, 0);
  /* The camera's rate. */
  g_assert_cmpuint (feed->n_starved, ==, 0);
  /* Every frame was chosen, and each was captioned or counted and told as replaced. */
  g_assert_cmpuint (feed->n_chosen, ==, N_FRAMES);
  g_assert_cmpuint (feed->n_captions, >=, MIN_CAPTIONS);
  g_assert_cmpuint (feed->n_captions + feed->n_replaced, ==, N_FRAMES);
  g_assert_cmpuint (feed->n_qos, ==, feed->n_replaced);
  g_assert_cmpuint (feed->n_dropped, ==, feed->n_replaced);
  feed_free (feed);
}

static void
add_tests (void)
{
  g_test_add_func ("/live/no_frame_waits_for_the_model", no_frame_waits_for_the_model);
}

int
main (int argc, char **argv)
{
  return rig_main (argc, argv, add_tests);
}
