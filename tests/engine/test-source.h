/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Short forms for the tests of safetensors: what opens, what is refused, what is found. */
#pragma once

#include <mllama/error.h>

#include "safetensors.h"

MllamaSource *open_well (const char *directory);
/* words: as in test_assert_error. */
void assert_refused (const char *directory, MllamaError code, const char *words);
const MllamaTensorInfo *find_well (MllamaSource *source, const char *name);
