/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-cudamemory.h"
#include "picture.h"

#define PADDING 48 /* bytes after each line, and before the first */

typedef struct {
  GstMemory base;
  gboolean is_copy;
  guint8 *device, *staging;
} Memory;

typedef struct {
  GstAllocator parent;
} FakeCudaAllocator;

typedef struct {
  GstAllocatorClass parent_class;
} FakeCudaAllocatorClass;

FakeCudaMemory fake_cuda_memory;

static GType fake_cuda_allocator_get_type (void);
G_DEFINE_TYPE (FakeCudaAllocator, fake_cuda_allocator, GST_TYPE_ALLOCATOR)

static Memory *
allocate (GstAllocator *allocator, gsize size, gboolean is_copy)
{
  Memory *memory = g_new0 (Memory, 1);

  gst_memory_init (GST_MEMORY_CAST (memory), 0, allocator, NULL, size, 0, 0, size);
  memory->is_copy = is_copy;
  memory->device = g_malloc (size);
  memset (memory->device, 0x5a, size);
  g_atomic_int_inc (is_copy ? &fake_cuda_memory.n_copies : &fake_cuda_memory.n_originals);
  return memory;
}

static void
release (GstAllocator *allocator, GstMemory *base)
{
  Memory *memory = (Memory *) base;

  g_atomic_int_add (memory->is_copy ? &fake_cuda_memory.n_copies : &fake_cuda_memory.n_originals, -1);
  g_free (memory->device);
  g_free (memory->staging);
  g_free (memory);
}

static gpointer
map (GstMemory *base, GstMapInfo *info, gsize max_size)
{
  Memory *memory = (Memory *) base;

  if (info->flags & GST_MLLAMA_CAPTION_MAP_CUDA)
    return fake_cuda_memory.refuse_maps_to_the_device ? NULL : memory->device;
  g_assert_false (info->flags & GST_MAP_WRITE);
  g_atomic_int_inc (memory->is_copy ? &fake_cuda_memory.n_copy_downloads : &fake_cuda_memory.n_original_downloads);
  if (!memory->staging)
    memory->staging = g_memdup2 (memory->device, base->maxsize);
  return memory->staging;
}

static void
unmap (GstMemory *base, GstMapInfo *info)
{
}

static GstMemory *
copy (GstMemory *base, gssize offset, gssize size)
{
  g_assert_cmpint (offset, ==, 0);
  g_assert_cmpint (size, ==, -1);
  if (fake_cuda_memory.refuse_copies)
    return NULL;
  Memory *made = allocate (base->allocator, base->maxsize, TRUE);
  memcpy (made->device, ((Memory *) base)->device, base->maxsize);
  g_atomic_int_inc (&fake_cuda_memory.n_copied);
  return GST_MEMORY_CAST (made);
}

static GstMemory *
refuse_to_allocate (GstAllocator *allocator, gsize size, GstAllocationParams *params)
{
  g_return_val_if_reached (NULL);
}

static void
fake_cuda_allocator_class_init (FakeCudaAllocatorClass *klass)
{
  klass->parent_class.alloc = refuse_to_allocate;
  klass->parent_class.free = release;
}

static void
fake_cuda_allocator_init (FakeCudaAllocator *self)
{
  GstAllocator *allocator = GST_ALLOCATOR (self);

  allocator->mem_type = GST_MLLAMA_CAPTION_CUDA_MEMORY;
  allocator->mem_map_full = map;
  allocator->mem_unmap_full = unmap;
  allocator->mem_copy = copy;
  GST_OBJECT_FLAG_SET (allocator, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
}

/* Lines of all planes, one after the other. */
static gsize
lay_out (const GstVideoFrame *frame, gsize *offsets, gint *strides)
{
  gsize size = PADDING;

  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, i) + PADDING;
    offsets[i] = size;
    size += (gsize) strides[i] * (gsize) GST_VIDEO_FRAME_HEIGHT (frame);
  }
  return size;
}

static void
copy_lines (guint8 *dest, gint dest_stride, const GstVideoFrame *frame, guint plane)
{
  gint component[GST_VIDEO_MAX_COMPONENTS];

  gst_video_format_info_component (frame->info.finfo, plane, component);
  for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (frame, component[0]); y++) {
    const gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane);
    memcpy (dest + y * dest_stride, (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane) + y * stride,
            (gsize) stride);
  }
}

GstBuffer *
fake_cuda_memory_upload (GstBuffer *buffer, const GstVideoInfo *info)
{
  GstAllocator *allocator = g_object_ref_sink (g_object_new (fake_cuda_allocator_get_type (), NULL));
  GstBuffer *uploaded = gst_buffer_new ();
  gsize offsets[GST_VIDEO_MAX_PLANES] = {0};
  gint strides[GST_VIDEO_MAX_PLANES] = {0};
  GstVideoFrame frame;

  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_READ));
  Memory *memory = allocate (allocator, lay_out (&frame, offsets, strides), FALSE);
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (&frame); i++)
    copy_lines (memory->device + offsets[i], strides[i], &frame, i);
  gst_buffer_append_memory (uploaded, GST_MEMORY_CAST (memory));
  gst_buffer_add_video_meta_full (uploaded, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (info),
                                  (guint) GST_VIDEO_INFO_WIDTH (info), (guint) GST_VIDEO_INFO_HEIGHT (info),
                                  GST_VIDEO_FRAME_N_PLANES (&frame), offsets, strides);
  gst_buffer_copy_into (uploaded, buffer, GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_video_frame_unmap (&frame);
  gst_object_unref (allocator);
  return uploaded;
}
