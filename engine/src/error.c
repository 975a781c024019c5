/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <mllama/error.h>

GQuark
mllama_error_quark (void)
{
  return g_quark_from_static_string ("mllama-error-quark");
}
