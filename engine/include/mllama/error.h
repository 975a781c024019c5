/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <mllama/macros.h>

G_BEGIN_DECLS

#define MLLAMA_ERROR (mllama_error_quark ())

/* What went wrong, as far as a caller may want to tell cases apart. The message names what
 * was expected, what was found, and what to do. */
typedef enum {
  MLLAMA_ERROR_NOT_FOUND,     /* no such checkpoint, file, or module */
  MLLAMA_ERROR_UNREADABLE,    /* it is there, and the system refuses to read it */
  MLLAMA_ERROR_MALFORMED,     /* a file breaks its own format, or contradicts another one */
  MLLAMA_ERROR_UNSUPPORTED,   /* valid, and not implemented here */
  MLLAMA_ERROR_INVALID,       /* an argument, setting, prompt or picture that cannot be used */
  MLLAMA_ERROR_TOO_LONG,      /* prompt + answer exceed the context, or the memory set aside */
  MLLAMA_ERROR_OUT_OF_MEMORY, /* needed, available, and which setting lowers the need */
  MLLAMA_ERROR_DEVICE,        /* no such device, no driver, or the device was lost */
  MLLAMA_ERROR_WRONG_MODEL,   /* states or a prompt made for another model or semantics */
  MLLAMA_ERROR_NOT_FINITE,    /* NaN or infinity among the logits: the weights are damaged */
  MLLAMA_ERROR_CANCELLED,     /* the caller asked for it */
} MllamaError;

MLLAMA_API GQuark mllama_error_quark (void);

G_END_DECLS
