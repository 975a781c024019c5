/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json-glib with a guard in front (it has no limit on nesting: 100,000 brackets overflow its stack)
 * and getters whose errors name file, member, what was expected and what was found. */
#pragma once

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

#define MLLAMA_JSON_MAX_DEPTH 64
#define MLLAMA_JSON_MAX_BYTES ((gsize) 256 << 20)

/* mllama_json_parse: origin names the text in errors ("config.json"). The root must be an object, and no object
 * may name a member twice. An integer beyond gint64 becomes a double.
 * Errors: MALFORMED. */
JsonParser *mllama_json_parse (const char *text, gsize length, const char *origin, GError **error);

/* Reads a whole regular file of at most max_bytes. NOT_FOUND, UNREADABLE, MALFORMED (too large). */
gboolean mllama_read_file (const char *path, gsize max_bytes, char **text, gsize *length, GError **error);

/* Member getters. A missing or null member leaves *value as it is and returns TRUE (the default stands);
 * a member of another type, or out of [min, max], is MALFORMED. */
gboolean mllama_json_get_uint (JsonObject *object, const char *member, guint min, guint max, guint *value,
                               const char *origin, GError **error);
gboolean mllama_json_get_double (JsonObject *object, const char *member, double min, double max, double *value,
                                 const char *origin, GError **error);
gboolean mllama_json_get_boolean (JsonObject *object, const char *member, gboolean *value, const char *origin,
                                  GError **error);
/* *value is (transfer none). */
gboolean mllama_json_get_string (JsonObject *object, const char *member, const char **value, const char *origin,
                                 GError **error);
gboolean mllama_json_get_object (JsonObject *object, const char *member, JsonObject **value, const char *origin,
                                 GError **error);
gboolean mllama_json_get_array (JsonObject *object, const char *member, JsonArray **value, const char *origin,
                                GError **error);

/* A list of integers, each in [min, max]; with or_single, a lone integer is a list of one.
 * *values is (transfer full), an earlier one is freed. */
gboolean mllama_json_get_uints (JsonObject *object, const char *member, guint min, guint max, gboolean or_single,
                                guint32 **values, guint *n_values, const char *origin, GError **error);

/* Whether the member is there and not null. */
gboolean mllama_json_has (JsonObject *object, const char *member);

/* What a node holds, short enough for an error: "-3", "\"gelu\"", "a list of 8". NULL is "nothing". */
char *mllama_json_describe (JsonNode *node);

G_END_DECLS
