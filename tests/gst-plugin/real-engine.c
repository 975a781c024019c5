/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands where the scripted engine does in test programs that link libmllama: there is no script, and nothing to
 * count. */
#include "fake-mllama.h"

FakeScript fake_script;

void
fake_reset (void)
{
}

FakeCounts
fake_get_counts (void)
{
  return (FakeCounts){0};
}
