/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Without a number from the system nothing is refused before the system itself refuses it. */
static gsize
read_meminfo (const char *name)
{
  g_autofree char *text = NULL;
  const char *field;

  if (!g_file_get_contents ("/proc/meminfo", &text, NULL, NULL) || !(field = strstr (text, name)))
    return G_MAXSIZE;
  return g_ascii_strtoull (field + strlen (name), NULL, 10) * 1024;
}

gsize
mllama_cpu_get_free_bytes (MllamaBackend *be)
{
  return read_meminfo ("MemAvailable:");
}

gsize
mllama_cpu_get_total_bytes (MllamaBackend *be)
{
  return read_meminfo ("MemTotal:");
}

gsize
mllama_cpu_round_up (gsize width)
{
  gsize floats = MLLAMA_CPU_ALIGNMENT / sizeof (float);

  return width > G_MAXSIZE - floats ? width : (width + floats - 1) / floats * floats;
}

static void
set_out_of_memory (GError **error, const char *what, gsize n_rows, gsize ld, gsize available)
{
  double needed = (double) n_rows * (double) ld * sizeof (float);

  if (available == G_MAXSIZE)
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "%s needs %.1f MB of memory, and the system refuses it; the CPU backend takes 4 bytes a number: close "
                 "other programs, lower kv_bytes or states_bytes, or use a smaller model",
                 what, needed / 1e6);
  else
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY,
                 "%s needs %.1f MB of memory, %.1f MB are available; the CPU backend takes 4 bytes a number: close "
                 "other programs, lower kv_bytes or states_bytes, or use a smaller model",
                 what, needed / 1e6, (double) available / 1e6);
}

float *
mllama_cpu_alloc (gsize n_rows, gsize ld, const char *what, GError **error)
{
  gsize available = mllama_cpu_get_free_bytes (NULL), n_floats, n_bytes;
  void *data = NULL;

  if (!g_size_checked_mul (&n_floats, n_rows, ld) || !g_size_checked_mul (&n_bytes, n_floats, sizeof (float)) ||
      n_bytes > available || posix_memalign (&data, MLLAMA_CPU_ALIGNMENT, MAX (n_bytes, MLLAMA_CPU_ALIGNMENT)) != 0) {
    set_out_of_memory (error, what, n_rows, ld, available);
    return NULL;
  }
  return data;
}

MllamaTensor *
mllama_cpu_tensor_new (MllamaBackend *be, MllamaTensorUse use, gsize n_rows, gsize width, GError **error)
{
  gsize ld = mllama_cpu_round_up (width);
  float *data = mllama_cpu_alloc (n_rows, ld, "a tensor", error);
  MllamaTensor *tensor;

  if (!data)
    return NULL;
  tensor = g_new0 (MllamaTensor, 1);
  *tensor = (MllamaTensor){n_rows, width, ld, data};
  return tensor;
}

void
mllama_cpu_tensor_free (MllamaBackend *be, MllamaTensor *tensor)
{
  if (!tensor)
    return;
  free (tensor->data);
  g_free (tensor);
}

gboolean
mllama_cpu_tensor_read (MllamaBackend *be, const MllamaTensor *tensor, gsize first_row, gsize n_rows, float *dest,
                        GError **error)
{
  if (!mllama_tensor_check_rows (tensor->n_rows, first_row, n_rows, error))
    return FALSE;
  for (gsize r = 0; r < n_rows; r++)
    memcpy (dest + r * tensor->width, mllama_cpu_tensor_row (tensor, first_row + r), tensor->width * sizeof (float));
  return TRUE;
}

gboolean
mllama_cpu_tensor_write (MllamaBackend *be, MllamaTensor *tensor, gsize first_row, gsize n_rows, const float *src,
                         GError **error)
{
  if (!mllama_tensor_check_rows (tensor->n_rows, first_row, n_rows, error))
    return FALSE;
  for (gsize r = 0; r < n_rows; r++)
    memcpy (mllama_cpu_tensor_row (tensor, first_row + r), src + r * tensor->width, tensor->width * sizeof (float));
  return TRUE;
}

MllamaFrame *
mllama_cpu_frame_new_from_pixels (MllamaBackend *be, const MllamaPixels *pixels, GError **error)
{
  gsize tile_floats = 3 * (gsize) pixels->size * pixels->size;
  MllamaFrame *frame;
  float *values;

  if (!mllama_frame_check_size (be->config, pixels->size, error) ||
      !(values = mllama_cpu_alloc (pixels->n_tiles, tile_floats, "a picture", error)))
    return NULL;
  memcpy (values, pixels->values, pixels->n_tiles * tile_floats * sizeof (float));
  frame = g_new0 (MllamaFrame, 1);
  *frame = (MllamaFrame){pixels->n_tiles, pixels->size, values};
  return frame;
}

/* The plan's arrangement is the only one on offer, so that the processor cannot choose another. */
MllamaFrame *
mllama_cpu_frame_new (MllamaBackend *be, const MllamaImage *image, const MllamaImageOptions *options,
                      const MllamaTilePlan *plan, GError **error)
{
  MllamaAspectRatio ratio = {plan->n_rows, plan->n_columns};
  g_autoptr (MllamaPixels) pixels =
      mllama_pixels_new (image, options, &ratio, 1, plan->n_rows * plan->n_columns, error);

  return pixels ? mllama_cpu_frame_new_from_pixels (be, pixels, error) : NULL;
}

void
mllama_cpu_frame_free (MllamaBackend *be, MllamaFrame *frame)
{
  if (!frame)
    return;
  free (frame->values);
  g_free (frame);
}

/* Floats of K and V of one key in n_layers layers; 0 if there are too many to count. */
static gsize
count_key_floats (const MllamaTextConfig *config, guint n_layers)
{
  gsize n = (gsize) config->n_kv_heads * config->head_width;

  return g_size_checked_mul (&n, n, 2) && g_size_checked_mul (&n, n, n_layers) ? n : 0;
}

MllamaSlab *
mllama_cpu_slab_new (MllamaBackend *be, guint n_layers, guint n_keys, GError **error)
{
  const MllamaTextConfig *config = &be->config->text;
  float *data =
      mllama_cpu_alloc (n_keys, count_key_floats (config, n_layers), "the cross-attention states of a picture", error);
  MllamaSlab *slab;

  if (!data)
    return NULL;
  slab = g_new0 (MllamaSlab, 1);
  *slab = (MllamaSlab){n_layers, n_keys, config->n_kv_heads, config->head_width, data};
  return slab;
}

void
mllama_cpu_slab_free (MllamaBackend *be, MllamaSlab *slab)
{
  if (!slab)
    return;
  free (slab->data);
  g_free (slab);
}

gsize
mllama_cpu_slab_get_bytes (MllamaBackend *be, guint n_layers, guint n_keys)
{
  return count_key_floats (&be->config->text, n_layers) * n_keys * sizeof (float);
}

gsize
mllama_cpu_kv_get_page_bytes (MllamaBackend *be, guint n_layers)
{
  return count_key_floats (&be->config->text, n_layers) * MLLAMA_KV_PAGE * sizeof (float);
}

/* Address space is taken at once, memory when a page is first written: a large pool costs nothing until it is used. */
MllamaKv *
mllama_cpu_kv_new (MllamaBackend *be, guint n_layers, guint n_pages, GError **error)
{
  const MllamaTextConfig *config = &be->config->text;
  gsize page_bytes = mllama_cpu_kv_get_page_bytes (be, n_layers), n_bytes;
  MllamaKv *kv;
  void *data = MAP_FAILED;

  if (g_size_checked_mul (&n_bytes, page_bytes, n_pages))
    data = mmap (NULL, MAX (n_bytes, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    set_out_of_memory (error, "the pool of text keys and values", n_pages, page_bytes / sizeof (float),
                       mllama_cpu_get_free_bytes (be));
    return NULL;
  }
  kv = g_new0 (MllamaKv, 1);
  *kv =
      (MllamaKv){n_pages, config->n_kv_heads, config->head_width, MAX (n_bytes, 1), page_bytes / sizeof (float), data};
  return kv;
}

gboolean
mllama_cpu_kv_commit (MllamaBackend *be, MllamaKv *kv, guint n_pages, GError **error)
{
  return TRUE;
}

void
mllama_cpu_kv_free (MllamaBackend *be, MllamaKv *kv)
{
  if (!kv)
    return;
  munmap (kv->data, kv->n_bytes);
  g_free (kv);
}
