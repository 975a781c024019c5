/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which pages of a MllamaKv are taken. Belongs to the model's thread. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _MllamaPagePool MllamaPagePool;

MllamaPagePool *mllama_page_pool_new (guint n_pages);
void mllama_page_pool_free (MllamaPagePool *pool);

/* All n_pages or none: FALSE if fewer are free. */
gboolean mllama_page_pool_take (MllamaPagePool *pool, guint32 *pages, guint n_pages);
void mllama_page_pool_give (MllamaPagePool *pool, const guint32 *pages, guint n_pages);

guint mllama_page_pool_get_n_pages (const MllamaPagePool *pool);
guint mllama_page_pool_get_n_taken (const MllamaPagePool *pool);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MllamaPagePool, mllama_page_pool_free)

G_END_DECLS
