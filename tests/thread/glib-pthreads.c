/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For ThreadSanitizer, in front of GLib (LD_PRELOAD): GLib's locks by pthreads.
 *
 * ThreadSanitizer knows the order of two accesses from what it sees of locks and atomics. It sees those of pthreads and
 * of code compiled with it. GLib is not compiled with it, and locks by futex: every access that a GMutex guards would
 * look like a race. So the functions here take GLib's place. Those that lock do it by pthreads; those that count
 * references or start something once do what GLib does, and tell of the order that it makes. */
#include <dlfcn.h>
#include <glib-object.h>
#include <pthread.h>
#include <sanitizer/tsan_interface.h>
#include <stdlib.h>

/* The function that stands behind ours. */
#define NEXT(name) ((__typeof__ (&(name))) dlsym (RTLD_NEXT, #name))

/* --- GMutex: p is a pthread_mutex_t, made at the first use, since a zeroed GMutex is a good one --- */

static gpointer
settle (gpointer *place, gpointer made, void (*drop) (gpointer))
{
  gpointer there = NULL;

  if (__atomic_compare_exchange_n (place, &there, made, FALSE, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return made;
  drop (made);
  return there;
}

static void
free_mutex (gpointer mutex)
{
  pthread_mutex_destroy (mutex);
  free (mutex);
}

static pthread_mutex_t *
get_mutex (GMutex *mutex)
{
  pthread_mutex_t *made = __atomic_load_n (&mutex->p, __ATOMIC_ACQUIRE);

  if (made)
    return made;
  made = malloc (sizeof *made);
  pthread_mutex_init (made, NULL);
  return settle (&mutex->p, made, free_mutex);
}

void
g_mutex_init (GMutex *mutex)
{
  __atomic_store_n (&mutex->p, NULL, __ATOMIC_RELEASE);
}

void
g_mutex_clear (GMutex *mutex)
{
  if (mutex->p)
    free_mutex (mutex->p);
}

void
g_mutex_lock (GMutex *mutex)
{
  pthread_mutex_lock (get_mutex (mutex));
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  return pthread_mutex_trylock (get_mutex (mutex)) == 0;
}

void
g_mutex_unlock (GMutex *mutex)
{
  pthread_mutex_unlock (get_mutex (mutex));
}

/* --- GRecMutex: GLib has pthreads in it, but makes them unseen --- */

static pthread_mutex_t *
get_rec_mutex (GRecMutex *mutex)
{
  pthread_mutex_t *made = __atomic_load_n (&mutex->p, __ATOMIC_ACQUIRE);
  pthread_mutexattr_t attributes;

  if (made)
    return made;
  made = malloc (sizeof *made);
  pthread_mutexattr_init (&attributes);
  pthread_mutexattr_settype (&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init (made, &attributes);
  pthread_mutexattr_destroy (&attributes);
  return settle (&mutex->p, made, free_mutex);
}

void
g_rec_mutex_init (GRecMutex *mutex)
{
  __atomic_store_n (&mutex->p, NULL, __ATOMIC_RELEASE);
}

void
g_rec_mutex_clear (GRecMutex *mutex)
{
  if (mutex->p)
    free_mutex (mutex->p);
}

void
g_rec_mutex_lock (GRecMutex *mutex)
{
  pthread_mutex_lock (get_rec_mutex (mutex));
}

gboolean
g_rec_mutex_trylock (GRecMutex *mutex)
{
  return pthread_mutex_trylock (get_rec_mutex (mutex)) == 0;
}

void
g_rec_mutex_unlock (GRecMutex *mutex)
{
  pthread_mutex_unlock (get_rec_mutex (mutex));
}

/* --- GCond --- */

static void
free_cond (gpointer cond)
{
  pthread_cond_destroy (cond);
  free (cond);
}

static pthread_cond_t *
get_cond (GCond *cond)
{
  pthread_cond_t *made = __atomic_load_n (&cond->p, __ATOMIC_ACQUIRE);
  pthread_condattr_t attributes;

  if (made)
    return made;
  made = malloc (sizeof *made);
  pthread_condattr_init (&attributes);
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  pthread_cond_init (made, &attributes);
  pthread_condattr_destroy (&attributes);
  return settle (&cond->p, made, free_cond);
}

void
g_cond_init (GCond *cond)
{
  __atomic_store_n (&cond->p, NULL, __ATOMIC_RELEASE);
}

void
g_cond_clear (GCond *cond)
{
  if (cond->p)
    free_cond (cond->p);
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  pthread_cond_wait (get_cond (cond), get_mutex (mutex));
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end_time)
{
  const struct timespec end = {.tv_sec = end_time / G_USEC_PER_SEC, .tv_nsec = end_time % G_USEC_PER_SEC * 1000};

  return pthread_cond_timedwait (get_cond (cond), get_mutex (mutex), &end) == 0;
}

void
g_cond_signal (GCond *cond)
{
  pthread_cond_signal (get_cond (cond));
}

void
g_cond_broadcast (GCond *cond)
{
  pthread_cond_broadcast (get_cond (cond));
}

/* --- what is done once --- */

gboolean (g_once_init_enter) (volatile void *location)
{
  const gboolean is_first = NEXT (g_once_init_enter) (location);

  __tsan_acquire ((void *) location);
  return is_first;
}

void (g_once_init_leave) (volatile void *location, gsize result)
{
  __tsan_release ((void *) location);
  NEXT (g_once_init_leave) (location, result);
}

/* --- references: whoever drops the last one comes after all the others --- */

static void
order (gpointer object)
{
  __tsan_release (object);
  __tsan_acquire (object);
}

gboolean (g_atomic_ref_count_dec) (gatomicrefcount *count)
{
  /* By compare and exchange as GLib does it, but seen. */
  return __atomic_sub_fetch (count, 1, __ATOMIC_ACQ_REL) == 0;
}

void (g_atomic_ref_count_inc) (gatomicrefcount *count)
{
  __atomic_add_fetch (count, 1, __ATOMIC_RELAXED);
}

void (g_object_unref) (gpointer object)
{
  order (object);
  NEXT (g_object_unref) (object);
}
