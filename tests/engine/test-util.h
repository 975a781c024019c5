/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tests of the engine share: temporary directories, edits of JSON, safetensors files and small checkpoints. */
#pragma once

#include <mllama/mllama.h>

#include "source.h"

G_BEGIN_DECLS

/* --- files --- */

/* A new empty directory. */
char *test_directory_new (void);
/* Removes it with all it holds, and frees its name. */
void test_directory_free (char *directory);
/* length -1: up to the NUL. */
void test_write_file (const char *directory, const char *name, const void *bytes, gssize length);
char *test_read_file (const char *directory, const char *name);

/* --- JSON --- */

/* The text with the member at path ("text_config.hidden_size") set to the JSON value, or removed if that is NULL. */
char *test_json_set (const char *json, const char *path, const char *value);

/* --- errors --- */

/* Domain MLLAMA_ERROR, this code, and every one of the words (separated by '|') in the message; frees the error. */
void test_assert_error (GError *error, MllamaError code, const char *words);

/* --- safetensors --- */

typedef struct _TestTensors TestTensors;
typedef char *(*TestSpelling) (const char *canonical);

char *test_spell_hub (const char *canonical);   /* language_model.model.layers... */
char *test_spell_class (const char *canonical); /* model.language_model.layers... */
char *test_spell_bare (const char *canonical);  /* model.layers... */

TestTensors *test_tensors_new (void);
/* Every tensor that the config calls for, with small pseudo-random values that depend on its name alone. */
TestTensors *test_tensors_new_for_config (const MllamaConfig *config, gboolean with_vision, MllamaTensorDtype dtype);
void test_tensors_free (TestTensors *tensors);
/* Replaces a tensor of that name. values NULL: pseudo-random ones. */
void test_tensors_add (TestTensors *tensors, const char *name, MllamaTensorDtype dtype, guint n_dims,
                       const gsize *shape, const float *values);
void test_tensors_remove (TestTensors *tensors, const char *name);
guint test_tensors_get_n (TestTensors *tensors);
/* Tensors first ... end - 1 as one safetensors file. */
void test_tensors_write (TestTensors *tensors, guint first, guint end, TestSpelling spelling, const char *directory,
                         const char *name);
/* As n_shards files and an index. */
void test_tensors_write_shards (TestTensors *tensors, guint n_shards, TestSpelling spelling, const char *directory);
/* A file of this header and so many zero bytes; header_length < 0: the header's own. */
void test_write_safetensors (const char *directory, const char *name, const char *header, gint64 header_length,
                             gsize n_bytes);

/* --- checkpoints --- */

/* A small checkpoint on disk: 4 tiles of 28 x 28, 4 layers, 2 of them cross; a tokenizer of 256 bytes and 7 special
 * tokens; ids as below. */
#define TEST_VOCAB_SIZE 262
#define TEST_BOS        256
#define TEST_EOS        257
#define TEST_PAD        258
#define TEST_EOT        261
#define TEST_IMAGE      262
#define TEST_EMBEDDINGS (TEST_VOCAB_SIZE + 8)

char *test_config_json (void);
char *test_tokenizer_json (void);
/* config, generation config, preprocessor, tokenizer, and the weights in one file (hub spelling, F32). */
char *test_checkpoint_new (void);
/* test_json_set on one of its files. */
void test_checkpoint_set (const char *directory, const char *file, const char *path, const char *value);
/* Its tensors, to be changed and written again. */
TestTensors *test_checkpoint_tensors (const char *directory);

G_END_DECLS
