/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page-pool.h"

#include <string.h>

struct _MllamaPagePool {
  guint n_pages, n_free;
  guint32 *free; /* [n_free], a stack: pages used last are warm and come back first */
};

MllamaPagePool *
mllama_page_pool_new (guint n_pages)
{
  MllamaPagePool *pool = g_new0 (MllamaPagePool, 1);

  pool->n_pages = pool->n_free = n_pages;
  pool->free = g_new (guint32, n_pages);
  for (guint i = 0; i < n_pages; i++)
    pool->free[i] = n_pages - 1 - i;
  return pool;
}

void
mllama_page_pool_free (MllamaPagePool *pool)
{
  if (!pool)
    return;
  g_free (pool->free);
  g_free (pool);
}

gboolean
mllama_page_pool_take (MllamaPagePool *pool, guint32 *pages, guint n_pages)
{
  if (n_pages > pool->n_free)
    return FALSE;
  for (guint i = 0; i < n_pages; i++)
    pages[i] = pool->free[--pool->n_free];
  return TRUE;
}

void
mllama_page_pool_give (MllamaPagePool *pool, const guint32 *pages, guint n_pages)
{
  g_assert (n_pages <= pool->n_pages - pool->n_free);
  for (guint i = n_pages; i > 0; i--)
    pool->free[pool->n_free++] = pages[i - 1];
}

guint
mllama_page_pool_get_n_pages (const MllamaPagePool *pool)
{
  return pool->n_pages;
}

guint
mllama_page_pool_get_n_taken (const MllamaPagePool *pool)
{
  return pool->n_pages - pool->n_free;
}
