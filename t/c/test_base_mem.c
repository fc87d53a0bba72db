#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "base/mem.h"
#include "tap.h"

static void test_blocks(void)
{
    alloc_fail_at(0);
    char *zeros = etcp_zalloc(100);
    int dirt = 0;

    for (int i = 0; i < 100; i++)
        dirt |= zeros[i];
    tap_is_int(dirt, 0, "zalloc gives zeros");
    tap_is_int(alloc_live(), 1, "one block lives");

    char *copy = etcp_memdup("ab\0c", 4);
    tap_is_mem(copy, 5, "ab\0c\0", 5, "memdup copies and puts a NUL behind");
    copy = etcp_realloc(copy, 100);
    tap_is_mem(copy, 5, "ab\0c\0", 5, "realloc keeps the content");
    char *empty = etcp_memdup(NULL, 0);
    tap_is_mem(empty, 1, "", 1, "memdup of nothing is an empty string");
    void *none = etcp_malloc(0);
    tap_ok(none != NULL, "malloc(0) gives a block");
    none = etcp_realloc(none, 0);
    tap_ok(none != NULL, "realloc(block, 0) gives a block");

    tap_is_int(alloc_live(), 4, "four blocks live");
    etcp_free(zeros);
    etcp_free(copy);
    etcp_free(empty);
    etcp_free(none);
    etcp_free(NULL);
    tap_is_int(alloc_live(), 0, "none lives after free; free(NULL) does nothing");
    alloc_reset();
}

static void test_failure(void)
{
    alloc_fail_at(1);
    tap_ok(etcp_malloc(1) == NULL, "malloc fails when told to");
    void *block = etcp_malloc(1);
    tap_ok(block != NULL, "the one after does not");
    alloc_fail_at(1);
    tap_ok(etcp_zalloc(1) == NULL, "zalloc fails");
    alloc_fail_at(1);
    tap_ok(etcp_memdup("a", 1) == NULL, "memdup fails");
    tap_ok(etcp_memdup("a", SIZE_MAX) == NULL, "memdup of everything does not wrap around");
    alloc_fail_at(1);
    tap_ok(etcp_realloc(block, 1000) == NULL, "realloc fails");
    tap_is_int(alloc_live(), 1, "and leaves the old block");
    etcp_free(block);
    alloc_reset();
}

static void test_trying(void)
{
    alloc_fail_at(0);
    tap_ok(etcp_is_to_be_had(1000), "memory that is to be had");
    tap_is_int(alloc_live(), 0, "none of it is kept");
    alloc_fail_at(1);
    tap_ok(!etcp_is_to_be_had(1), "memory that is not");
    alloc_reset();
}

static void test_forget(void)
{
    const size_t size = 1 << 20;
    uint8_t *block = malloc(size);
    int wrong = 0;

    memset(block, 'x', size);
    etcp_forget(block + 100000, 0);
    etcp_forget(block + 100000, 1);
    etcp_forget(block + 100000, 4096);
    for (size_t i = 0; i < size; i++)
        wrong += block[i] != 'x' && (i < 100000 || i >= 104096);
    tap_is_int(wrong, 0, "what lies around pages that are forgotten stays");
    etcp_forget(block + 1, size - 2);
    tap_ok(block[0] == 'x' && block[size - 1] == 'x', "the first byte and the last, too");
    memset(block, 'y', size);
    for (size_t i = 0; i < size; i++)
        wrong += block[i] != 'y';
    tap_is_int(wrong, 0, "the memory can be used again");
    free(block);
}

static void test_wipe(void)
{
    char secret[] = "secret";

    etcp_wipe(secret + 1, 4);
    tap_is_mem(secret, 7, "s\0\0\0\0t\0", 7, "wipe clears what it was given and no more");
    etcp_wipe(NULL, 0);
    etcp_wipe(NULL, 5);
    etcp_wipe(secret, 0);
    tap_is_mem(secret, 7, "s\0\0\0\0t\0", 7, "wiping nothing does nothing");
}

int main(void)
{
    test_blocks();
    test_failure();
    test_trying();
    test_forget();
    test_wipe();
    return tap_done();
}
