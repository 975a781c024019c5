/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Choice of the backend. The CUDA one is a module of its own, opened only when a model is put on a GPU, so that the
 * library loads where there is no driver. */
#include "backend.h"

#include <dlfcn.h>
#include <gmodule.h>

#define CUDA_MODULE "libmllama-cuda.so"

/* MLLAMA_MODULE_PATH if set, else the folder this library was loaded from. */
static char *
find_module_path (void)
{
  const char *folder = g_getenv ("MLLAMA_MODULE_PATH");
  g_autofree char *own = NULL;
  Dl_info info;

  if (!folder || !*folder) {
    if (!dladdr ((void *) (guintptr) mllama_backend_new, &info) || !info.dli_fname)
      return g_strdup (CUDA_MODULE);
    folder = own = g_path_get_dirname (info.dli_fname);
  }
  return g_build_filename (folder, CUDA_MODULE, NULL);
}

/* Finds the symbol in the module, which then stays: CUDA's libraries do not like to be unloaded. */
static gpointer
find_symbol (const char *name, GError **error)
{
  g_autofree char *path = find_module_path ();
  GModule *module = g_module_open (path, G_MODULE_BIND_LOCAL);
  gpointer symbol = NULL;

  if (!module) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "device=cuda needs the module " CUDA_MODULE
                 ", and it could not be opened: %s; install it there, point "
                 "MLLAMA_MODULE_PATH at its folder, or use device=cpu",
                 g_module_error ());
    return NULL;
  }
  if (!g_module_symbol (module, name, &symbol) || !symbol) {
    g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_NOT_FOUND,
                 "%s has no symbol %s; it belongs to another version of this library, install that of this one", path,
                 name);
    g_module_close (module);
    return NULL;
  }
  g_module_make_resident (module);
  return symbol;
}

static MllamaBackend *
create_cuda_backend (const MllamaConfig *config, const MllamaBackendSettings *settings, GError **error)
{
  MllamaBackendNewFunc backend_new = (MllamaBackendNewFunc) find_symbol (MLLAMA_CUDA_BACKEND_SYMBOL, error);

  return backend_new ? backend_new (config, settings, error) : NULL;
}

MllamaBackend *
mllama_backend_new (MllamaDevice device, const MllamaConfig *config, const MllamaBackendSettings *settings,
                    GError **error)
{
  if (device == MLLAMA_DEVICE_CUDA)
    return create_cuda_backend (config, settings, error);
  return mllama_cpu_backend_new (config, settings, error);
}

/* The module and cuBLAS are large: they are not opened only to learn that there is no driver. Its library is found by
 * this name, or not at all, by CUDA's runtime too. */
static gboolean
has_driver (void)
{
  void *library = dlopen ("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);

  if (library)
    dlclose (library);
  return library != NULL;
}

gboolean
mllama_backend_has_cuda (void)
{
  MllamaCountDevicesFunc count_devices = NULL;

  if (has_driver ())
    count_devices = (MllamaCountDevicesFunc) find_symbol (MLLAMA_CUDA_COUNT_SYMBOL, NULL);
  return count_devices && count_devices () > 0;
}
