/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A strict reader of JSON's grammar (RFC 8259) that builds nothing. It runs in front of json-glib, which recurses
 * without limit, accepts comments and bare words, and stops at half of a surrogate pair. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* mllama_json_scan: checks that text is one JSON value of at most MLLAMA_JSON_MAX_DEPTH levels.
 *
 * big_integers collects the offsets just after integers that do not fit gint64 (json-glib wraps them silently).
 * Errors: MALFORMED, with line and column. U+0000 in a string is an error too: it would end a C string early. */
gboolean mllama_json_scan (const char *text, gsize length, GArray *big_integers, const char *origin, GError **error);

G_END_DECLS
