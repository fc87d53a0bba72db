/* csrc/base/ holds what every other layer stands on and what knows nothing of the protocol:
 * memory, buffers, errors, random bytes, the %XX armour. No sockets, no Perl.
 *
 * All memory of the core passes through here, so that tests can fail the n-th allocation. */
#ifndef ETCP_BASE_MEM_H
#define ETCP_BASE_MEM_H

#include <stddef.h>

/* Replacements for malloc, realloc and free, for tests. All three must be set. */
typedef struct etcp_mem_hooks {
    void *(*malloc)(size_t size);
    void *(*realloc)(void *block, size_t size);
    void (*free)(void *block);
} etcp_mem_hooks;

/* Installs hooks for the whole process, or the C library's functions when hooks is NULL.
 * The structure is copied. Must not be called while core objects are alive. */
void etcp_mem_set_hooks(const etcp_mem_hooks *hooks);

/* As malloc; NULL when memory is exhausted. Freed with etcp_free. size 0 is treated as 1. */
void *etcp_malloc(size_t size);

/* As etcp_malloc, zero-filled. */
void *etcp_zalloc(size_t size);

/* As realloc; on failure NULL, and the old block stays valid. */
void *etcp_realloc(void *block, size_t size);

/* Returns a copy of bytes[0..len) with a NUL behind it, or NULL. The caller frees it. */
void *etcp_memdup(const void *bytes, size_t len);

/* Whether etcp_malloc would give size bytes now. For those whose own way to allocate ends the process
 * when there is no memory, as Perl's does: sizes that a peer has chosen are tried before. */
int etcp_is_to_be_had(size_t size);

/* Frees a block of this module; NULL does nothing. */
void etcp_free(void *block);

/* Gives the pages that lie within bytes[0..len) back to the system, where it takes them: nobody needs
 * what is in them any more. The memory stays the caller's, and holds anything. */
void etcp_forget(void *bytes, size_t len);

/* Overwrites len bytes in a way the compiler may not remove: for keys and passwords. */
void etcp_wipe(void *bytes, size_t len);

#endif
