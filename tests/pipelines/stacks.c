/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stacks.h"

#include <dirent.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_DEPTH 64

/* Set by the thread that has written its stack. */
static volatile sig_atomic_t is_written;

static void
write_stack (int number)
{
  void *addresses[MAX_DEPTH];

  backtrace_symbols_fd (addresses, backtrace (addresses, MAX_DEPTH), STDERR_FILENO);
  is_written = TRUE;
}

void
stacks_init (void)
{
  const struct sigaction action = {.sa_handler = write_stack, .sa_flags = SA_RESTART};
  void *address;

  /* The first call loads the unwinder, which takes locks. */
  backtrace (&address, 1);
  sigaction (SIGUSR2, &action, NULL);
}

static void
print_thread (pid_t thread)
{
  char path[64], name[32] = "?\n";
  FILE *file;

  g_snprintf (path, sizeof path, "/proc/self/task/%d/comm", thread);
  if ((file = fopen (path, "r"))) {
    if (!fgets (name, sizeof name, file))
      name[0] = '\0';
    fclose (file);
  }
  fprintf (stderr, "--- thread %d, %s", thread, name);
  is_written = FALSE;
  if (syscall (SYS_tgkill, getpid (), thread, SIGUSR2) != 0)
    return;
  /* One that ended meanwhile will never answer. */
  for (guint i = 0; i < 1000 && !is_written; i++)
    usleep (1000);
}

void
stacks_print (void)
{
  DIR *directory = opendir ("/proc/self/task");
  const struct dirent *entry;

  while (directory && (entry = readdir (directory)))
    if (entry->d_name[0] != '.')
      print_thread (atoi (entry->d_name));
  if (directory)
    closedir (directory);
}
