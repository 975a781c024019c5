/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Visibility of the public symbols: the library is built with -fvisibility=hidden. */
#pragma once

#include <glib-object.h>

#define MLLAMA_API __attribute__ ((visibility ("default")))
