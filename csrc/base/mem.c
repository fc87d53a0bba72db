#include "mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include <openssl/crypto.h>

static etcp_mem_hooks current = {malloc, realloc, free};

void etcp_mem_set_hooks(const etcp_mem_hooks *hooks)
{
    static const etcp_mem_hooks libc = {malloc, realloc, free};

    current = hooks ? *hooks : libc;
}

void *etcp_malloc(size_t size)
{
    return current.malloc(size ? size : 1);
}

void *etcp_zalloc(size_t size)
{
    void *block = etcp_malloc(size);

    if (block)
        memset(block, 0, size);
    return block;
}

void *etcp_realloc(void *block, size_t size)
{
    return current.realloc(block, size ? size : 1);
}

void *etcp_memdup(const void *bytes, size_t len)
{
    char *copy;

    if (len == (size_t)-1)
        return NULL;
    copy = etcp_malloc(len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

/* Volatile, because compilers leave out what is allocated only to be freed, and take it for a success
 * (gcc 16 with link-time optimisation). */
int etcp_is_to_be_had(size_t size)
{
    void *volatile block = etcp_malloc(size);
    const int is_had = block != NULL;

    etcp_free(block);
    return is_had;
}

void etcp_free(void *block)
{
    if (block)
        current.free(block);
}

/* Elsewhere than on Linux the same advice means that the content is needed, but later. */
void etcp_forget(void *bytes, size_t len)
{
#if defined(__linux__) && defined(MADV_DONTNEED)
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)bytes + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)bytes + len) / page * page;

    if (first < end)
        (void)madvise((uint8_t *)bytes + (first - (uintptr_t)bytes), end - first, MADV_DONTNEED);
#else
    (void)bytes;
    (void)len;
#endif
}

void etcp_wipe(void *bytes, size_t len)
{
    if (bytes && len)
        OPENSSL_cleanse(bytes, len);
}
