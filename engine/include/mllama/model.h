/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <mllama/config.h>
#include <mllama/image-processor.h>
#include <mllama/image.h>
#include <mllama/states.h>
#include <mllama/tokenizer.h>

G_BEGIN_DECLS

/* A checkpoint on one device, and the thread that runs it. Refcounted. Whoever opens the same
 * checkpoint with the same device, dtype and part in one process gets the same model. */
typedef struct _MllamaModel MllamaModel;

typedef enum {
  MLLAMA_DEVICE_AUTO, /* CUDA if the module, a driver and a device are there, else CPU */
  MLLAMA_DEVICE_CPU,
  MLLAMA_DEVICE_CUDA,
} MllamaDevice;

typedef enum {
  MLLAMA_DTYPE_AUTO, /* f32 on the CPU, bf16 on CUDA */
  MLLAMA_DTYPE_F32,
  MLLAMA_DTYPE_BF16,
} MllamaDtype;

typedef struct {
  MllamaDevice device;
  gint cuda_device_plus_one; /* 0: any */
  MllamaDtype dtype;
  gboolean text_only; /* MllamaForCausalLM: the vision tower is neither needed nor loaded */
  gsize kv_bytes;     /* memory for text keys and values; 0: a share of what is there */
  gsize states_bytes; /* cap on the sum of all MllamaStates; 0: likewise */
} MllamaModelSettings;

/* Sums since the model was loaded. */
typedef struct {
  guint64 n_encodes; /* pictures that went through the vision tower */
  guint64 n_prefill_tokens;
  guint64 n_decode_steps;                     /* passes of one token a row */
  guint64 n_decode_rows;                      /* rows over all those passes */
  guint64 n_generations;                      /* answers finished, in whatever way */
  guint n_running, n_waiting;                 /* answers at this moment */
  gsize weight_bytes, kv_bytes, states_bytes; /* memory held at this moment */
  guint64 load_ns;
  gsize device_free_bytes, device_total_bytes; /* of all users of the device; G_MAXSIZE: unknown */
} MllamaStatistics;

/* mllama_model_open: finds the checkpoint (a directory, or a Hugging Face id such as
 * "meta-llama/Llama-3.2-11B-Vision-Instruct" in the Hugging Face cache), reads and checks everything
 * but the weights' values: config, tokenizer, name, dtype and shape of every tensor, every offset.
 * settings may be NULL. */
MLLAMA_API MllamaModel *mllama_model_open (const char *checkpoint, const MllamaModelSettings *settings, GError **error);
MLLAMA_API MllamaModel *mllama_model_ref (MllamaModel *model);
MLLAMA_API void mllama_model_unref (MllamaModel *model);

/* mllama_model_load: reads the weights onto the device and warms up. Blocks; returns at once when they
 * are there already. After a failure it may be called again. */
MLLAMA_API gboolean mllama_model_load (MllamaModel *model, GCancellable *cancellable, GError **error);
MLLAMA_API gboolean mllama_model_is_loaded (MllamaModel *model);

MLLAMA_API const MllamaConfig *mllama_model_get_config (MllamaModel *model);
MLLAMA_API const MllamaImageOptions *mllama_model_get_image_options (MllamaModel *model); /* NULL: text only */
MLLAMA_API MllamaTokenizer *mllama_model_get_tokenizer (MllamaModel *model);              /* (transfer none) */
MLLAMA_API const char *mllama_model_get_path (MllamaModel *model);                        /* directory found */
MLLAMA_API MllamaDevice mllama_model_get_device (MllamaModel *model);                     /* never AUTO */
MLLAMA_API MllamaDtype mllama_model_get_dtype (MllamaModel *model);                       /* never AUTO */
/* Whether the checkpoint brings a chat template, so that prompts without a format are chat. */
MLLAMA_API gboolean mllama_model_has_chat_template (MllamaModel *model);
/* Ids that end an answer: generation_config.json's, else config.json's. */
MLLAMA_API const guint32 *mllama_model_get_eos_ids (MllamaModel *model, guint *n_ids);
MLLAMA_API void mllama_model_get_statistics (MllamaModel *model, MllamaStatistics *statistics);

/* mllama_model_encode: image -> states. Blocks for its turn and for the encode; the model must be loaded.
 * max_tiles 0: the checkpoint's. CANCELLED within one layer of the tower after cancellable is. */
MLLAMA_API MllamaStates *mllama_model_encode (MllamaModel *model, const MllamaImage *image, MllamaSemantics semantics,
                                              guint max_tiles, GCancellable *cancellable, GError **error);

/* mllama_model_encode_pixels: the same from what an image processor made. */
MLLAMA_API MllamaStates *mllama_model_encode_pixels (MllamaModel *model, const MllamaPixels *pixels,
                                                     MllamaSemantics semantics, GCancellable *cancellable,
                                                     GError **error);

/* mllama_model_get_vision_features: MllamaVisionModel's output for one image: f32 [T][P][vision_output_dim],
 * unused tiles included. The caller frees it with g_free. */
MLLAMA_API float *mllama_model_get_vision_features (MllamaModel *model, const MllamaPixels *pixels,
                                                    MllamaSemantics semantics, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaModel, mllama_model_unref)

G_END_DECLS
