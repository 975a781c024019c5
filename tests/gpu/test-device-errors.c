/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* test-device-errors MODEL memory|lost|refused TEXT: what goes wrong with a real device ends in an error that says so.
 *
 *   memory   a model is opened while hardly any memory of the device is free, and again when it is
 *   lost     a kernel of somebody else in the same process faults, and with it all that runs on the device
 *   refused  the model cannot be opened, and the message has TEXT in it */
#include <dlfcn.h>
#include <string.h>

#include "subject.h"

/* Of the driver's interface, what takes memory away and what faults. The library is opened, not linked, since the
 * program is built where there is none. */
typedef struct {
  int (*init) (unsigned flags);
  int (*retain) (void **context, int device);
  int (*set_current) (void *context);
  int (*get_memory) (size_t *n_free, size_t *n_total);
  int (*alloc) (guint64 *address, size_t n_bytes);
  int (*free) (guint64 address);
  int (*load) (void **module, const void *image);
  int (*get_function) (void **function, void *module, const char *name);
  int (*launch) (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                 unsigned block_z, unsigned shared_bytes, void *stream, void **parameters, void **extra);
  int (*synchronize) (void);
} Driver;

/* More than a context takes, less than the weights of the checkpoint that check.py has. */
#define LEFT_FREE ((size_t) 128 << 20)

static const char faulty_kernel[] = ".version 7.0\n.target sm_80\n.address_size 64\n"
                                    ".visible .entry fault () {\n"
                                    "  .reg .u64 address;\n  .reg .u32 value;\n"
                                    "  mov.u64 address, 16;\n  mov.u32 value, 1;\n"
                                    "  st.global.u32 [address], value;\n  ret;\n}\n";

static void
must_be_0 (int result, const char *what)
{
  if (result != 0)
    g_error ("%s: the driver reports error %d", what, result);
}

/* In the context that every user of the CUDA runtime in this process shares. */
static Driver
open_driver (void)
{
  void *library = dlopen ("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), *context;
  Driver driver;
  const struct {
    const char *name;
    gpointer *at;
  } symbols[] = {
      {"cuInit", (gpointer *) &driver.init},
      {"cuDevicePrimaryCtxRetain", (gpointer *) &driver.retain},
      {"cuCtxSetCurrent", (gpointer *) &driver.set_current},
      {"cuMemGetInfo_v2", (gpointer *) &driver.get_memory},
      {"cuMemAlloc_v2", (gpointer *) &driver.alloc},
      {"cuMemFree_v2", (gpointer *) &driver.free},
      {"cuModuleLoadData", (gpointer *) &driver.load},
      {"cuModuleGetFunction", (gpointer *) &driver.get_function},
      {"cuLaunchKernel", (gpointer *) &driver.launch},
      {"cuCtxSynchronize", (gpointer *) &driver.synchronize},
  };

  if (!library)
    g_error ("%s", dlerror ());
  for (guint i = 0; i < G_N_ELEMENTS (symbols); i++)
    if (!(*symbols[i].at = dlsym (library, symbols[i].name)))
      g_error ("the driver has no %s", symbols[i].name);
  must_be_0 (driver.init (0), "cuInit");
  must_be_0 (driver.retain (&context, 0), "cuDevicePrimaryCtxRetain");
  must_be_0 (driver.set_current (context), "cuCtxSetCurrent");
  return driver;
}

/* NULL, and the error, if it cannot be opened or loaded. */
static MllamaModel *
try_open (const char *path, GError **error)
{
  MllamaModelSettings settings = {.device = MLLAMA_DEVICE_CUDA, .dtype = MLLAMA_DTYPE_BF16};
  g_autoptr (MllamaModel) model = mllama_model_open (path, &settings, error);

  return model && mllama_model_load (model, NULL, error) ? g_steal_pointer (&model) : NULL;
}

static void
report_error (const GError *error, const char *expected, const char *name)
{
  subject_report (error && strstr (error->message, expected), "%s # %s", name,
                  error ? error->message : "there was no error");
}

/* --- the cases --- */

static void
check_memory (const char *path)
{
  Driver driver = open_driver ();
  g_autoptr (MllamaModel) model = NULL;
  g_autoptr (GError) error = NULL;
  size_t n_free, n_total;
  guint64 taken;

  must_be_0 (driver.get_memory (&n_free, &n_total), "cuMemGetInfo");
  must_be_0 (driver.alloc (&taken, n_free - LEFT_FREE), "cuMemAlloc");
  model = try_open (path, &error);
  subject_report (!model && g_error_matches (error, MLLAMA_ERROR, MLLAMA_ERROR_OUT_OF_MEMORY),
                  "a_model_that_does_not_fit_is_refused");
  report_error (error, "free", "says_what_is_free");
  report_error (error, "text_only", "says_which_setting_lowers_it");
  must_be_0 (driver.free (taken), "cuMemFree");
  g_clear_error (&error);
  g_clear_pointer (&model, mllama_model_unref);
  model = try_open (path, &error);
  subject_report (model != NULL, "opens_once_there_is_room # %s", error ? error->message : "");
}

static void
fault (const Driver *driver)
{
  void *module, *function;

  must_be_0 (driver->load (&module, faulty_kernel), "cuModuleLoadData");
  must_be_0 (driver->get_function (&function, module, "fault"), "cuModuleGetFunction");
  must_be_0 (driver->launch (function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), "cuLaunchKernel");
  if (driver->synchronize () == 0)
    g_error ("the kernel was meant to fault");
}

/* It may be refused at once, or end. */
static void
check_answer_fails (const Subject *subject, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaGeneration) answer =
      mllama_model_generate_async (subject->model, subject->prompt, &subject->states, 1, &subject->settings, &error);

  report_error (answer ? mllama_generation_wait (answer)->error : error, "the device was lost", name);
}

static void
check_lost (const char *path)
{
  Driver driver = open_driver ();
  g_autoptr (MllamaModel) model = subject_open_model (path, "cuda", "bf16");
  g_autoptr (MllamaModel) other = NULL;
  g_autoptr (MllamaStates) states = NULL;
  g_autoptr (Subject) subject = subject_new (model, 3);
  g_autoptr (GError) error = NULL;

  subject_encode (subject);
  fault (&driver);
  check_answer_fails (subject, "an_answer_ends_with_the_error");
  check_answer_fails (subject, "so_does_the_next");
  states = mllama_model_encode (model, &subject->image, MLLAMA_SEMANTICS_META, 0, NULL, &error);
  report_error (error, "the device was lost", "and_an_encode");
  g_clear_error (&error);
  other = try_open (path, &error);
  subject_report (!other && error, "no_other_model_opens # %s", error ? error->message : "");
}

static void
check_refused (const char *path, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (MllamaModel) model = try_open (path, &error);

  subject_report (!model, "the_model_is_refused");
  report_error (error, expected, "and_the_message_says_why");
}

int
main (int argc, char **argv)
{
  const char *which = argc > 2 ? argv[2] : "";

  if (g_str_equal (which, "memory"))
    check_memory (argv[1]);
  else if (g_str_equal (which, "lost"))
    check_lost (argv[1]);
  else if (g_str_equal (which, "refused") && argc > 3)
    check_refused (argv[1], argv[3]);
  else {
    g_printerr ("test-device-errors MODEL memory|lost|refused TEXT\n");
    return 2;
  }
  return subject_finish ();
}
