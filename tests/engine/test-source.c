/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-source.h"

#include "test-util.h"

MllamaSource *
open_well (const char *directory)
{
  GError *error = NULL;
  MllamaSource *source = mllama_safetensors_open (directory, &error);

  g_assert_no_error (error);
  return source;
}

void
assert_refused (const char *directory, MllamaError code, const char *words)
{
  GError *error = NULL;

  g_assert_null (mllama_safetensors_open (directory, &error));
  test_assert_error (error, code, words);
}

const MllamaTensorInfo *
find_well (MllamaSource *source, const char *name)
{
  const MllamaTensorInfo *tensor = mllama_source_find (source, name);

  g_assert_nonnull (tensor);
  g_assert_cmpstr (tensor->name, ==, name);
  return tensor;
}
