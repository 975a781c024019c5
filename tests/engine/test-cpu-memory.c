/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"
#include "oracle-device.h"

#include <string.h>

/* --- tensors --- */

static void
test_a_tensor_keeps_what_is_written (void)
{
  static const gsize widths[] = {1, 15, 16, 17, 100};

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++) {
    gsize width = widths[i];
    g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
    g_autofree float *values = oracle_random (device, 5 * width, 1), *part = oracle_random (device, 2 * width, 1),
                     *found = NULL;
    MllamaTensor *tensor = oracle_tensor_new (device, 5, width, values);
    GError *error = NULL;

    g_assert_true (device->ops->tensor_write (device->be, tensor, 2, 2, part, &error));
    memcpy (values + 2 * width, part, 2 * width * sizeof (float));
    found = oracle_tensor_read (device, tensor, 5, width);
    g_assert_cmpmem (found, 5 * width * sizeof (float), values, 5 * width * sizeof (float));
    oracle_tensor_check_guard (device, tensor, 5, width);
    for (guint r = 0; r < 5; r++)
      g_assert_cmpuint ((guintptr) mllama_cpu_tensor_row (tensor, r) % MLLAMA_CPU_ALIGNMENT, ==, 0);
  }
}

static void
test_rows_outside_a_tensor_are_refused (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  MllamaTensor *tensor = oracle_tensor_new (device, 4, 3, NULL);
  gsize n_all = 4 + ORACLE_GUARD_ROWS;
  float values[3 * 16] = {0};
  GError *error = NULL;

  g_assert_true (device->ops->tensor_read (device->be, tensor, n_all, 0, values, &error));
  g_assert_false (device->ops->tensor_read (device->be, tensor, n_all - 1, 2, values, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID);
  g_clear_error (&error);
  g_assert_false (device->ops->tensor_write (device->be, tensor, G_MAXSIZE, 2, values, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID);
  g_clear_error (&error);
}

static void
check_out_of_memory (GError **error)
{
  g_assert_error (*error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY);
  g_assert_nonnull (strstr ((*error)->message, "needs"));
  g_assert_nonnull (strstr ((*error)->message, "MB"));
  g_clear_error (error);
}

static void
test_too_much_memory_names_needed_and_available (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  const MllamaBackendOps *ops = device->ops;
  GError *error = NULL;

  /* More than there is, more than can be addressed, more than can be counted. */
  g_assert_null (ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, (gsize) 1 << 30, 1 << 14, &error));
  g_assert_nonnull (strstr (error->message, "available"));
  check_out_of_memory (&error);
  g_assert_null (ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, G_MAXSIZE / 8, 1, &error));
  check_out_of_memory (&error);
  g_assert_null (ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, (gsize) 1 << 58, 16, &error)); /* 2^64 bytes */
  check_out_of_memory (&error);
  g_assert_null (ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, G_MAXSIZE, G_MAXSIZE, &error));
  check_out_of_memory (&error);
  g_assert_null (ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, 1, G_MAXSIZE, &error));
  check_out_of_memory (&error);
  g_assert_null (ops->slab_new (device->be, G_MAXUINT, G_MAXUINT, &error));
  check_out_of_memory (&error);
  g_assert_null (ops->kv_new (device->be, G_MAXUINT, G_MAXUINT, &error));
  check_out_of_memory (&error);
}

/* Address space can be had for more than there is memory for; what is available may grow meanwhile. */
static void
test_more_than_is_available_is_refused (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  gboolean is_refused = FALSE;

  for (guint i = 0; i < 10 && !is_refused; i++) {
    gsize n_bytes = device->ops->get_free_bytes (device->be) + (256 << 20);
    g_autoptr (GError) error = NULL;
    MllamaTensor *tensor = device->ops->tensor_new (device->be, MLLAMA_TENSOR_ACT, n_bytes / 64, 16, &error);

    is_refused = g_error_matches (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY);
    device->ops->tensor_free (device->be, tensor);
  }
  g_assert_true (is_refused);
}

static void
test_sizes_are_counted (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (8, 4, 32);
  gsize free_bytes = device->ops->get_free_bytes (device->be);

  g_assert_cmpuint (device->ops->slab_get_bytes (device->be, 3, 100), ==, 3 * 2 * 4 * 32 * 100 * 4);
  g_assert_cmpuint (device->ops->kv_get_page_bytes (device->be, 5), ==, 5 * 2 * 4 * 32 * MLLAMA_KV_PAGE * 4);
  g_assert_cmpuint (free_bytes, >, 1 << 20);
}

/* Resident memory of this process, in bytes. */
static gsize
read_resident (void)
{
  g_autofree char *text = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
  return g_ascii_strtoull (strchr (text, ' '), NULL, 10) * 4096;
}

static void
test_a_large_pool_of_pages_costs_nothing_until_used (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (8, 8, 64);
  guint n_pages = 1 << 16; /* 17 GB of keys and values */
  gsize before = read_resident ();
  GError *error = NULL;
  MllamaKv *kv = device->ops->kv_new (device->be, 1, n_pages, &error);

  g_assert_no_error (error);
  mllama_cpu_kv_part (kv, n_pages - 1, 0, MLLAMA_CPU_VALUES, 7)[MLLAMA_KV_PAGE * 64 - 1] = 1;
  g_assert_cmpuint (read_resident () - before, <, 1 << 23);
  device->ops->kv_free (device->be, kv);
}

static void
test_an_empty_pool_and_null_are_harmless (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  const MllamaBackendOps *ops = device->ops;
  GError *error = NULL;
  MllamaKv *kv = ops->kv_new (device->be, 0, 0, &error);

  g_assert_no_error (error);
  ops->kv_free (device->be, kv);
  ops->kv_free (device->be, NULL);
  ops->slab_free (device->be, NULL);
  ops->tensor_free (device->be, NULL);
  ops->weight_free (device->be, NULL);
  ops->frame_free (device->be, NULL);
  g_assert_true (ops->wait (device->be, &error));
}

/* --- weights --- */

static MllamaWeight *
load (OracleDevice *device, MllamaWeightSpec *spec, GError **error)
{
  MllamaWeight *weight;

  spec->source = device->source;
  weight = device->ops->weight_new (device->be, spec, error);
  if (weight) {
    g_ptr_array_add (device->weights, weight);
    g_assert_cmpuint (device->ops->weight_get_bytes (device->be, spec), ==,
                      weight->n_rows * weight->ld * sizeof (float));
  }
  return weight;
}

static void
test_parts_are_stacked (void)
{
  static const gsize widths[] = {5, 16, 48};

  for (guint i = 0; i < G_N_ELEMENTS (widths); i++) {
    g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
    gsize shapes[3][2] = {{7, widths[i]}, {1, widths[i]}, {4, widths[i]}};
    g_autofree float *values = oracle_random (device, 12 * widths[i], 1);
    MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_MATRIX, .n_parts = 3};
    GError *error = NULL;
    MllamaWeight *w;

    spec.parts[0] = oracle_source_add (device->source, "q", values, 2, shapes[0]);
    spec.parts[1] = oracle_source_add (device->source, "k", values + 7 * widths[i], 2, shapes[1]);
    spec.parts[2] = oracle_source_add (device->source, "v", values + 8 * widths[i], 2, shapes[2]);
    w = load (device, &spec, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (w->n_rows, ==, 12);
    for (guint r = 0; r < 12; r++)
      g_assert_cmpmem (w->data + r * w->ld, widths[i] * sizeof (float), values + r * widths[i],
                       widths[i] * sizeof (float));
  }
}

static void
test_parts_of_different_width_are_refused (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  float values[64] = {0};
  gsize first[] = {4, 6}, second[] = {4, 7};
  MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_MATRIX, .n_parts = 2};
  g_autoptr (GError) error = NULL;

  spec.parts[0] = oracle_source_add (device->source, "gate", values, 2, first);
  spec.parts[1] = oracle_source_add (device->source, "up", values, 2, second);
  g_assert_null (load (device, &spec, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
}

static void
test_a_convolution_counts_as_rows_of_the_rest (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  gsize shape[] = {4, 3, 5, 5};
  g_autofree float *values = oracle_random (device, 4 * 75, 1);
  MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_MATRIX, .n_parts = 1};
  GError *error = NULL;
  MllamaWeight *w;

  spec.parts[0] = oracle_source_add (device->source, "patch", values, 4, shape);
  w = load (device, &spec, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (w->n_rows, ==, 4);
  g_assert_cmpuint (w->width, ==, 75);
  for (guint r = 0; r < 4; r++)
    g_assert_cmpmem (w->data + r * w->ld, 75 * sizeof (float), values + r * 75, 75 * sizeof (float));
}

/* Spec 4.4: column d + d' * n_taps + k of the file is channel d' of tap k. */
static void
test_columns_of_the_projector_are_regrouped (void)
{
  enum {
    N_OUT = 3,
    D = 6,
    N_TAPS = 5,
    WIDTH = D * (1 + N_TAPS)
  };
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  gsize shape[] = {N_OUT, WIDTH}, odd_shape[] = {N_OUT, WIDTH - 1};
  g_autofree float *values = oracle_random (device, N_OUT * WIDTH, 1);
  MllamaWeightSpec spec = {.use = MLLAMA_WEIGHT_PROJECTOR, .n_parts = 1, .n_taps = N_TAPS};
  GError *error = NULL;
  MllamaWeight *w;

  spec.parts[0] = oracle_source_add (device->source, "projector", values, 2, shape);
  w = load (device, &spec, &error);
  g_assert_no_error (error);
  for (guint r = 0; r < N_OUT; r++)
    for (guint c = 0; c < D; c++) {
      g_assert_cmpfloat (w->data[r * w->ld + c], ==, values[r * WIDTH + c]);
      for (guint k = 0; k < N_TAPS; k++)
        g_assert_cmpfloat (w->data[r * w->ld + D + k * D + c], ==, values[r * WIDTH + D + c * N_TAPS + k]);
    }
  spec.parts[0] = oracle_source_add (device->source, "odd", values, 2, odd_shape);
  g_assert_null (load (device, &spec, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_MALFORMED);
  g_clear_error (&error);
}

/* Larger than what is read at once. */
static void
test_large_weights_are_read_in_pieces (void)
{
  static const gsize shapes[][2] = {{3, 1100000}, {70000, 17}, {70000, 32}};

  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++)
    for (guint use = MLLAMA_WEIGHT_MATRIX; use <= MLLAMA_WEIGHT_TABLE; use++) {
      g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
      gsize n_rows = shapes[i][0], width = shapes[i][1];
      g_autofree float *values = g_new (float, n_rows *width);
      MllamaWeightSpec spec = {.use = use, .n_parts = 1};
      GError *error = NULL;
      MllamaWeight *w;

      for (gsize k = 0; k < n_rows * width; k++)
        values[k] = k % 1000003;
      spec.parts[0] = oracle_source_add (device->source, "large", values, 2, shapes[i]);
      w = load (device, &spec, &error);
      g_assert_no_error (error);
      for (gsize r = 0; r < w->n_rows; r++)
        g_assert_cmpmem (w->data + r * w->ld, w->width * sizeof (float), values + r * w->width,
                         w->width * sizeof (float));
    }
}

static gboolean
fail_to_read (MllamaSource *source, const MllamaTensorInfo *tensor, gsize offset, gsize n_bytes, void *dest,
              GError **error)
{
  g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE, "cut short");
  return FALSE;
}

static void
test_a_source_that_fails_gives_its_error (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  gsize shape[] = {4, 6};
  float values[24] = {0};

  for (guint use = MLLAMA_WEIGHT_MATRIX; use <= MLLAMA_WEIGHT_TABLE; use++) {
    MllamaWeightSpec spec = {.use = use, .n_parts = 1, .n_taps = 1};
    GError *error = NULL;

    spec.parts[0] = oracle_source_add (device->source, "short", values, 2, shape);
    device->source->read = fail_to_read;
    g_assert_null (load (device, &spec, &error));
    g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNREADABLE);
    g_clear_error (&error);
  }
}

/* --- the backend --- */

static void
test_other_number_formats_are_refused (void)
{
  g_autoptr (OracleDevice) device = oracle_device_new (2, 1, 8);
  MllamaBackendSettings settings = {.cuda_device = -1, .dtype = MLLAMA_DTYPE_BF16};
  g_autoptr (GError) error = NULL;

  g_assert_null (mllama_cpu_backend_new (&device->config, &settings, &error));
  g_assert_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "f32"));
}

/* --- workers --- */

typedef struct {
  gint n_done[1000];
  gint busy[64];
  guint n_workers;
} Count;

static void
count_items (gpointer data, gsize first, gsize n, guint worker)
{
  Count *count = data;

  g_assert_cmpuint (worker, <, count->n_workers);
  g_assert_cmpint (g_atomic_int_add (&count->busy[worker], 1), ==, 0); /* nobody else's at the same time */
  for (gsize i = first; i < first + n; i++)
    g_atomic_int_inc (&count->n_done[i]);
  g_atomic_int_add (&count->busy[worker], -1);
}

static void
test_every_item_is_done_once (void)
{
  static const gsize n_items[] = {0, 1, 2, 7, 64, 999, 1000};

  for (guint n = 1; n <= 5; n++) {
    MllamaCpuWorkers *workers = mllama_cpu_workers_new (n);

    g_assert_cmpuint (mllama_cpu_workers_get_n (workers), <=, n);
    for (guint round = 0; round < 400; round++) {
      Count count = {.n_workers = mllama_cpu_workers_get_n (workers)};
      gsize n_all = n_items[round % G_N_ELEMENTS (n_items)];

      mllama_cpu_workers_run (workers, n_all, round % 9, count_items, &count);
      for (gsize i = 0; i < G_N_ELEMENTS (count.n_done); i++)
        g_assert_cmpint (count.n_done[i], ==, i < n_all);
    }
    mllama_cpu_workers_free (workers);
  }
  mllama_cpu_workers_free (NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/memory/a_tensor_keeps_what_is_written", test_a_tensor_keeps_what_is_written);
  g_test_add_func ("/cpu/memory/rows_outside_a_tensor_are_refused", test_rows_outside_a_tensor_are_refused);
  g_test_add_func ("/cpu/memory/too_much_memory_names_needed_and_available",
                   test_too_much_memory_names_needed_and_available);
  g_test_add_func ("/cpu/memory/more_than_is_available_is_refused", test_more_than_is_available_is_refused);
  g_test_add_func ("/cpu/memory/sizes_are_counted", test_sizes_are_counted);
  g_test_add_func ("/cpu/memory/a_large_pool_of_pages_costs_nothing_until_used",
                   test_a_large_pool_of_pages_costs_nothing_until_used);
  g_test_add_func ("/cpu/memory/an_empty_pool_and_null_are_harmless", test_an_empty_pool_and_null_are_harmless);
  g_test_add_func ("/cpu/weights/parts_are_stacked", test_parts_are_stacked);
  g_test_add_func ("/cpu/weights/parts_of_different_width_are_refused", test_parts_of_different_width_are_refused);
  g_test_add_func ("/cpu/weights/a_convolution_counts_as_rows_of_the_rest",
                   test_a_convolution_counts_as_rows_of_the_rest);
  g_test_add_func ("/cpu/weights/columns_of_the_projector_are_regrouped", test_columns_of_the_projector_are_regrouped);
  g_test_add_func ("/cpu/weights/large_weights_are_read_in_pieces", test_large_weights_are_read_in_pieces);
  g_test_add_func ("/cpu/weights/a_source_that_fails_gives_its_error", test_a_source_that_fails_gives_its_error);
  g_test_add_func ("/cpu/backend/other_number_formats_are_refused", test_other_number_formats_are_refused);
  g_test_add_func ("/cpu/workers/every_item_is_done_once", test_every_item_is_done_once);
  return g_test_run ();
}
