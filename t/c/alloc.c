#include "alloc.h"

#include <stdlib.h>

#include "base/mem.h"

static long live;
static long count;
static long fail_at;

static int fails(void)
{
    count++;
    return count == fail_at;
}

static void *counting_malloc(size_t size)
{
    void *block = fails() ? NULL : malloc(size);

    if (block)
        live++;
    return block;
}

static void *counting_realloc(void *block, size_t size)
{
    void *moved = fails() ? NULL : realloc(block, size);

    if (moved && !block)
        live++;
    return moved;
}

static void counting_free(void *block)
{
    if (block)
        live--;
    free(block);
}

void alloc_fail_at(long n)
{
    static const etcp_mem_hooks hooks = {counting_malloc, counting_realloc, counting_free};

    etcp_mem_set_hooks(&hooks);
    count = 0;
    fail_at = n;
}

long alloc_live(void)
{
    return live;
}

long alloc_count(void)
{
    return count;
}

int alloc_has_failed(void)
{
    return fail_at > 0 && count >= fail_at;
}

void alloc_reset(void)
{
    etcp_mem_set_hooks(NULL);
    live = 0;
    count = 0;
    fail_at = 0;
}
