/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "image-options.h"

#include <math.h>

#include "json.h"

/* The class's defaults, where they are what the model was trained with. Those of size, image_mean and image_std are
 * not (224, 0.5 and 0.5), so a file without them is refused. */
static const MllamaImageOptions class_defaults = {
    .do_convert_rgb = TRUE,
    .do_resize = TRUE,
    .do_rescale = TRUE,
    .do_normalize = TRUE,
    .do_pad = TRUE,
    .resample = MLLAMA_RESAMPLE_BILINEAR,
    .rescale_factor = 1.0 / 255,
    .image_std = {1, 1, 1},
    .max_image_tiles = 4,
};

static gboolean
fail (const char *origin, const char *member, JsonNode *found, const char *expected, GError **error)
{
  g_autofree char *description = mllama_json_describe (found);

  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED, "%s: %s is %s; %s is expected", origin, member, description,
               expected);
  return FALSE;
}

static gboolean
check_type (JsonObject *object, const char *origin, GError **error)
{
  static const char *const types[] = {"MllamaImageProcessor", "MllamaImageProcessorFast", "MllamaImageProcessorPil",
                                      NULL};
  const char *type = types[0];

  if (!mllama_json_get_string (object, "image_processor_type", &type, origin, error))
    return FALSE;
  if (g_strv_contains (types, type))
    return TRUE;
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
               "%s: image_processor_type is \"%s\"; only \"%s\" is implemented", origin, type, types[0]);
  return FALSE;
}

static gboolean
read_flags (MllamaImageOptions *options, JsonObject *object, const char *origin, GError **error)
{
  return mllama_json_get_boolean (object, "do_convert_rgb", &options->do_convert_rgb, origin, error) &&
         mllama_json_get_boolean (object, "do_resize", &options->do_resize, origin, error) &&
         mllama_json_get_boolean (object, "do_rescale", &options->do_rescale, origin, error) &&
         mllama_json_get_boolean (object, "do_normalize", &options->do_normalize, origin, error) &&
         mllama_json_get_boolean (object, "do_pad", &options->do_pad, origin, error);
}

/* {"height": S, "width": S}, or S alone. */
static gboolean
read_size (MllamaImageOptions *options, JsonObject *object, const char *origin, GError **error)
{
  JsonNode *node = json_object_get_member (object, "size");
  g_autofree char *inner = g_strconcat (origin, ": size", NULL);
  guint height = 0, width = 0;
  JsonObject *size;

  if (node && JSON_NODE_HOLDS_VALUE (node))
    return mllama_json_get_uint (object, "size", 1, MLLAMA_MAX_IMAGE_SIDE, &options->size, origin, error);
  if (!node || !JSON_NODE_HOLDS_OBJECT (node))
    return fail (origin, "size", node,
                 "an object with height and width, the side of a tile that the model was made for,", error);
  size = json_node_get_object (node);
  if (!mllama_json_get_uint (size, "height", 1, MLLAMA_MAX_IMAGE_SIDE, &height, inner, error) ||
      !mllama_json_get_uint (size, "width", 1, MLLAMA_MAX_IMAGE_SIDE, &width, inner, error))
    return FALSE;
  if (height == 0 || width == 0)
    return fail (inner, height == 0 ? "height" : "width", NULL, "the side of a tile", error);
  if (height != width) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED,
                 "%s: height is %u and width %u; tiles are square, equal numbers are expected", inner, height, width);
    return FALSE;
  }
  options->size = height;
  return TRUE;
}

static gboolean
read_number (JsonNode *node, double *number)
{
  GType type = node && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_value_type (node) : G_TYPE_INVALID;

  if (type != G_TYPE_DOUBLE && type != G_TYPE_INT64)
    return FALSE;
  *number = json_node_get_double (node);
  return TRUE;
}

/* Three numbers, one for each colour, or one for all. */
static gboolean
read_colors (double colors[3], JsonObject *object, const char *member, const char *origin, GError **error)
{
  JsonNode *node = json_object_get_member (object, member);
  JsonArray *list = node && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (list && json_array_get_length (list) != 3)
    return fail (origin, member, node, "a list of 3 numbers, or one number,", error);
  for (guint i = 0; i < 3; i++) {
    JsonNode *color = list ? json_array_get_element (list, i) : node;

    if (!read_number (color, &colors[i])) {
      g_autofree char *name = list ? g_strdup_printf ("%s[%u]", member, i) : g_strdup (member);

      return fail (origin, name, color, list ? "a number" : "a list of 3 numbers, or one number,", error);
    }
  }
  return TRUE;
}

static gboolean
read_arithmetic (MllamaImageOptions *options, JsonObject *object, const char *origin, GError **error)
{
  guint resample = options->resample;

  if (!mllama_json_get_uint (object, "resample", 0, MLLAMA_RESAMPLE_HAMMING, &resample, origin, error) ||
      !mllama_json_get_double (object, "rescale_factor", -G_MAXDOUBLE, G_MAXDOUBLE, &options->rescale_factor, origin,
                               error) ||
      !mllama_json_get_uint (object, "max_image_tiles", 1, MLLAMA_MAX_TILES, &options->max_image_tiles, origin, error))
    return FALSE;
  options->resample = resample;
  return !options->do_normalize || (read_colors (options->image_mean, object, "image_mean", origin, error) &&
                                    read_colors (options->image_std, object, "image_std", origin, error));
}

gboolean
mllama_image_options_init_from_data (MllamaImageOptions *options, const char *json, gsize length, GError **error)
{
  const char *origin = "preprocessor_config.json";
  g_autoptr (JsonParser) parser = NULL;
  MllamaImageOptions read = class_defaults;
  JsonObject *object;

  g_return_val_if_fail (options != NULL && json != NULL, FALSE);

  parser = mllama_json_parse (json, length, origin, error);
  if (!parser)
    return FALSE;
  object = json_node_get_object (json_parser_get_root (parser));
  if (mllama_json_has (object, "image_processor")) {
    if (!mllama_json_get_object (object, "image_processor", &object, "processor_config.json", error))
      return FALSE;
    origin = "processor_config.json: image_processor";
  }
  if (!check_type (object, origin, error) || !read_flags (&read, object, origin, error) ||
      !read_size (&read, object, origin, error) || !read_arithmetic (&read, object, origin, error) ||
      !mllama_image_options_check (&read, MLLAMA_ERROR_MALFORMED, origin, error))
    return FALSE;
  *options = read;
  return TRUE;
}

static float
normalize (float value, float mean, float std)
{
  return (value - mean) / std;
}

void
mllama_pixel_table_init (MllamaPixelTable *table, const MllamaImageOptions *options)
{
  for (guint c = 0; c < 3; c++)
    for (guint byte = 0; byte < 256; byte++) {
      float value = options->do_rescale ? (float) (byte * options->rescale_factor) : (float) byte;

      if (options->do_normalize)
        value = normalize (value, (float) options->image_mean[c], (float) options->image_std[c]);
      table->values[c][byte] = value;
    }
}

/* A zero in image_std, numbers beyond float, or NaN in a struct that a caller filled. */
static gboolean
check_values (const MllamaImageOptions *options, MllamaError code, const char *origin, GError **error)
{
  MllamaPixelTable table;

  mllama_pixel_table_init (&table, options);
  for (guint c = 0; c < 3; c++) {
    if (isfinite (table.values[c][0]) && isfinite (table.values[c][255]))
      continue;
    g_set_error (error, MLLAMA_ERROR, code,
                 "%s: rescale_factor, image_mean[%u] and image_std[%u] make pixels infinite or not a number; "
                 "image_std must not be 0, and the others must be finite",
                 origin, c, c);
    return FALSE;
  }
  return TRUE;
}

gboolean
mllama_image_options_check (const MllamaImageOptions *options, MllamaError code, const char *origin, GError **error)
{
  if (!options->do_resize || !options->do_pad) {
    g_set_error (error, MLLAMA_ERROR, code, "%s: %s is false; the model's tiles need it, true is expected", origin,
                 options->do_resize ? "do_pad" : "do_resize");
    return FALSE;
  }
  if (options->size < 1 || options->size > MLLAMA_MAX_IMAGE_SIDE) {
    g_set_error (error, MLLAMA_ERROR, code, "%s: size is %u; 1 to %u is expected", origin, options->size,
                 MLLAMA_MAX_IMAGE_SIDE);
    return FALSE;
  }
  if (options->max_image_tiles < 1) {
    g_set_error (error, MLLAMA_ERROR, code, "%s: max_image_tiles is 0; at least 1 is expected", origin);
    return FALSE;
  }
  return check_values (options, code, origin, error);
}
