/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-lifecycle MODEL DEVICE DTYPE [TIMES]: a model is loaded, used and unloaded again and again, and neither the
 * device nor the process holds more in the end than soon after the start. */
#include <stdlib.h>
#include <unistd.h>

#include "subject.h"

/* The driver and malloc take memory in pieces; a model that is not given back is larger. */
#define N_SETTLING      5
#define MAX_DEVICE_LOST (4 << 20)
#define MAX_HOST_LOST   (32 << 20)

typedef struct {
  gint64 device_free, host_used;
} Memory;

static gint64
read_host_used (void)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) fields = NULL;

  if (!g_file_get_contents ("/proc/self/statm", &text, NULL, NULL))
    return 0;
  fields = g_strsplit (text, " ", 3);
  return g_ascii_strtoll (fields[1], NULL, 10) * sysconf (_SC_PAGESIZE);
}

/* One life; what is free and used is read while it lasts. */
static Memory
live (char **arguments)
{
  g_autoptr (MllamaModel) model = subject_open_model (arguments[0], arguments[1], arguments[2]);
  g_autoptr (Subject) subject = subject_new (model, 3);
  g_autoptr (MllamaGeneration) answer = NULL;
  MllamaStatistics statistics;

  subject_encode (subject);
  answer = subject_start (subject);
  if (mllama_generation_wait (answer)->error)
    g_error ("%s", mllama_generation_get_result (answer)->error->message);
  mllama_model_get_statistics (model, &statistics);
  return (Memory){statistics.device_free_bytes == G_MAXSIZE ? 0 : (gint64) statistics.device_free_bytes,
                  read_host_used ()};
}

int
main (int argc, char **argv)
{
  guint n_lives = argc > 4 ? strtoul (argv[4], NULL, 10) : 50;
  Memory early = {0}, last = {0};

  if (argc < 4 || n_lives <= N_SETTLING) {
    g_printerr ("test-lifecycle MODEL DEVICE DTYPE [TIMES]\n");
    return 2;
  }
  for (guint i = 0; i < n_lives; i++) {
    last = live (argv + 1);
    if (i + 1 == N_SETTLING)
      early = last;
  }
  g_print ("# after %u and %u lives: device free %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT
           ", process holds %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT "\n",
           N_SETTLING, n_lives, early.device_free, last.device_free, early.host_used, last.host_used);
  subject_report (early.device_free - last.device_free <= MAX_DEVICE_LOST, "memory_of_the_device_comes_back");
  subject_report (last.host_used - early.host_used <= MAX_HOST_LOST, "memory_of_the_process_comes_back");
  return subject_finish ();
}
