/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From text to the ids of a prompt, in each of the formats. */
#include <mllama/error.h>
#include <string.h>

#include "prompt-private.h"

#define BEGIN_OF_TEXT "<|begin_of_text|>"

static gint64
find_bos (const MllamaPromptMaker *maker)
{
  gint64 id = mllama_tokenizer_get_id (maker->tokenizer, BEGIN_OF_TEXT);

  return id >= 0 ? id : maker->bos_id;
}

static GArray *
new_ids (void)
{
  return g_array_new (FALSE, FALSE, sizeof (guint32));
}

static void
append_id (GArray *ids, guint32 id)
{
  g_array_append_val (ids, id);
}

static gboolean
holds_id (const GArray *ids, gint64 id)
{
  for (guint i = 0; i < ids->len; i++)
    if (g_array_index (ids, guint32, i) == id)
      return TRUE;
  return FALSE;
}

static MllamaPrompt *
finish (const MllamaPromptMaker *maker, const GArray *ids, GError **error)
{
  return mllama_prompt_make_from_ids (maker, (const guint32 *) ids->data, ids->len, error);
}

static gboolean
check_takes_images (const MllamaPromptMaker *maker, GError **error)
{
  if (!maker->config->has_vision)
    g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_INVALID,
                         "the prompt has an image mark, but the checkpoint is a language model without a vision tower; "
                         "ask without a picture, or use an Mllama checkpoint");
  return maker->config->has_vision;
}

MllamaPrompt *
mllama_prompt_make_raw (const MllamaPromptMaker *maker, const char *text, gssize length, const MllamaTextRange *literal,
                        gsize n_literal, GError **error)
{
  g_autoptr (GArray) ids = new_ids ();

  mllama_tokenizer_encode (maker->tokenizer, text, length, MLLAMA_TOKENIZE_SPECIAL, literal, n_literal, ids);
  return finish (maker, ids, error);
}

/* --- as MllamaProcessor --- */

static gboolean
starts_with (const char *text, gsize length, const char *prefix, gsize n)
{
  return n > 0 && length >= n && memcmp (text, prefix, n) == 0;
}

MllamaPrompt *
mllama_prompt_make_processed (const MllamaPromptMaker *maker, const char *text, gssize length, GError **error)
{
  MllamaTokenizer *tokenizer = maker->tokenizer;
  g_autoptr (GArray) ids = new_ids ();
  g_autoptr (GString) whole = g_string_new (NULL);
  gint64 bos_id = find_bos (maker);
  gsize n = length < 0 ? strlen (text) : (gsize) length, n_bos, n_image, n_marks = 0;
  const char *bos = bos_id < 0 ? NULL : mllama_tokenizer_get_spelling (tokenizer, bos_id, &n_bos);
  const char *image = mllama_tokenizer_get_spelling (tokenizer, maker->config->image_token_id, &n_image);

  if (!bos) {
    g_set_error_literal (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                         "the checkpoint names no begin-of-text token, which this format puts before the text; "
                         "use the raw format");
    return NULL;
  }
  if (!memmem (text, n, bos, n_bos)) {
    while (starts_with (text + n_marks, n - n_marks, image, n_image))
      n_marks += n_image;
    g_string_append_len (whole, text, n_marks);
    g_string_append_len (whole, bos, n_bos);
  }
  g_string_append_len (whole, text + n_marks, n - n_marks);
  mllama_tokenizer_encode (tokenizer, whole->str, whole->len, MLLAMA_TOKENIZE_SPECIAL | MLLAMA_TOKENIZE_ADD, NULL, 0,
                           ids);
  return finish (maker, ids, error);
}

/* --- chat --- */

typedef struct {
  guint32 bos, start_header, end_header, eot;
} Layout;

static gboolean
find_layout (const MllamaPromptMaker *maker, Layout *layout, GError **error)
{
  const struct {
    const char *spelling;
    guint32 *id;
  } tokens[] = {
      {BEGIN_OF_TEXT, &layout->bos},
      {"<|start_header_id|>", &layout->start_header},
      {"<|end_header_id|>", &layout->end_header},
      {"<|eot_id|>", &layout->eot},
  };

  for (guint i = 0; i < G_N_ELEMENTS (tokens); i++) {
    gint64 id = mllama_tokenizer_get_id (maker->tokenizer, tokens[i].spelling);

    if (id < 0) {
      g_set_error (error, MLLAMA_ERROR, MLLAMA_ERROR_UNSUPPORTED,
                   "the chat format needs the token %s, which the checkpoint's tokenizer lacks; use the raw format",
                   tokens[i].spelling);
      return FALSE;
    }
    *tokens[i].id = id;
  }
  return TRUE;
}

/* Tokens of the text so far, special spellings being ordinary text; empties it. */
static void
flush_text (const MllamaPromptMaker *maker, GString *text, GArray *ids)
{
  mllama_tokenizer_encode (maker->tokenizer, text->str, text->len, MLLAMA_TOKENIZE_PLAIN, NULL, 0, ids);
  g_string_truncate (text, 0);
}

/* Leaves the blank line in text: BPE runs over it and what follows as one, as it would over a rendered template. */
static void
append_header (const MllamaPromptMaker *maker, const Layout *layout, const char *role, GString *text, GArray *ids)
{
  append_id (ids, layout->start_header);
  g_string_append (text, role);
  flush_text (maker, text, ids);
  append_id (ids, layout->end_header);
  g_string_append (text, "\n\n");
}

static gboolean
append_message (const MllamaPromptMaker *maker, const Layout *layout, const MllamaMessage *message, GString *text,
                GArray *ids, GError **error)
{
  append_header (maker, layout, message->role, text, ids);
  for (gsize i = 0; i < message->n_parts; i++) {
    const MllamaMessagePart *part = &message->parts[i];

    if (part->text) {
      g_string_append_len (text, part->text, part->length);
      continue;
    }
    if (!check_takes_images (maker, error))
      return FALSE;
    flush_text (maker, text, ids);
    append_id (ids, maker->config->image_token_id);
  }
  flush_text (maker, text, ids);
  append_id (ids, layout->eot);
  return TRUE;
}

MllamaPrompt *
mllama_prompt_make_chat (const MllamaPromptMaker *maker, const MllamaMessage *messages, gsize n_messages,
                         GError **error)
{
  g_autoptr (GArray) ids = new_ids ();
  g_autoptr (GString) text = g_string_new (NULL);
  Layout layout;

  if (!find_layout (maker, &layout, error))
    return NULL;
  append_id (ids, layout.bos);
  for (gsize i = 0; i < n_messages; i++)
    if (!append_message (maker, &layout, &messages[i], text, ids, error))
      return NULL;
  append_header (maker, &layout, "assistant", text, ids);
  flush_text (maker, text, ids);
  return finish (maker, ids, error);
}

MllamaPrompt *
mllama_prompt_make_question (const MllamaPromptMaker *maker, const char *text, gssize length, guint n_images,
                             GError **error)
{
  g_autofree MllamaMessagePart *parts = g_new0 (MllamaMessagePart, n_images + (gsize) 1);
  MllamaMessage message = {"user", parts, n_images + (gsize) 1};

  parts[n_images] = (MllamaMessagePart){text, length < 0 ? strlen (text) : (gsize) length};
  return mllama_prompt_make_chat (maker, &message, 1, error);
}

/* --- whatever the checkpoint was made for --- */

MllamaPrompt *
mllama_prompt_make_auto (const MllamaPromptMaker *maker, const char *text, gssize length,
                         const MllamaTextRange *literal, gsize n_literal, guint n_images, GError **error)
{
  g_autoptr (GArray) ids = new_ids (), whole = new_ids ();
  guint32 image_id = maker->config->image_token_id;
  gint64 bos_id = find_bos (maker);

  if (maker->has_chat_template)
    return mllama_prompt_make_question (maker, text, length, n_images, error);
  if (n_images > 0 && !check_takes_images (maker, error))
    return NULL;
  mllama_tokenizer_encode (maker->tokenizer, text, length, MLLAMA_TOKENIZE_SPECIAL, literal, n_literal, ids);
  if (maker->config->has_vision && holds_id (ids, image_id))
    return finish (maker, ids, error);
  for (guint i = 0; i < n_images; i++)
    append_id (whole, image_id);
  if (bos_id >= 0 && !holds_id (ids, bos_id))
    append_id (whole, bos_id);
  g_array_append_vals (whole, ids->data, ids->len);
  return finish (maker, whole, error);
}
