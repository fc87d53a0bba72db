#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/mem.h"
#include "tap.h"

static void test_is(const etcp_buf *b, const char *want, const char *what)
{
    tap_is_mem(etcp_buf_bytes(b), etcp_buf_len(b), want, strlen(want), "%s", what);
}

static void test_empty(void)
{
    etcp_buf b;

    alloc_fail_at(0);
    etcp_buf_init(&b);
    test_is(&b, "", "a new buffer is empty");
    tap_ok(etcp_buf_bytes(&b) != NULL, "and still has an address");
    tap_is_int(alloc_live(), 0, "and no memory");
    tap_is_int(etcp_buf_append(&b, NULL, 0), 0, "appending nothing works");
    tap_is_int(etcp_buf_append_str(&b, ""), 0, "so does an empty string");
    etcp_buf_commit(&b, 0);
    etcp_buf_consume(&b, 0);
    etcp_buf_truncate(&b, 0);
    test_is(&b, "", "and leaves it empty");
    etcp_buf_deinit(&b);
    etcp_buf_deinit(&b);
    etcp_buf_wipe(&b);
    tap_is_int(alloc_live(), 0, "deinit twice is harmless");
    alloc_reset();
}

static void test_both_ends(void)
{
    etcp_buf b;

    etcp_buf_init(&b);
    etcp_buf_append(&b, "hello", 5);
    etcp_buf_append_byte(&b, ',');
    etcp_buf_append_str(&b, " world");
    test_is(&b, "hello, world", "appended at the tail");
    etcp_buf_consume(&b, 7);
    test_is(&b, "world", "consumed at the front");
    etcp_buf_truncate(&b, 3);
    test_is(&b, "wor", "truncated counts from the front of the content");
    tap_is_int(etcp_buf_reserve(&b, 10), 0, "room for ten");
    tap_ok(etcp_buf_room(&b) >= 10, "is there");
    memcpy(etcp_buf_tail(&b), "ks", 2);
    etcp_buf_commit(&b, 2);
    test_is(&b, "works", "written in place and committed");
    etcp_buf_consume(&b, 5);
    tap_is_int((long long)b.start, 0, "an emptied buffer starts at the beginning again");
    etcp_buf_append_str(&b, "x");
    etcp_buf_clear(&b);
    test_is(&b, "", "cleared");
    tap_ok(b.cap > 0, "clear keeps the memory");
    etcp_buf_deinit(&b);
    tap_ok(b.data == NULL && b.cap == 0, "deinit does not");
}

/* A queue that is fed and drained for ever must stay as small as what it holds. */
static void test_queue(void)
{
    etcp_buf b;
    char next_in = 0, next_out = 0;
    int wrong = 0;

    etcp_buf_init(&b);
    for (int round = 0; round < 10000; round++) {
        for (int i = 0; i < 7; i++, next_in++)
            etcp_buf_append(&b, &next_in, 1);
        for (int i = 0; i < 7 && etcp_buf_len(&b) > 20; i++, next_out++) {
            wrong += etcp_buf_bytes(&b)[0] != (uint8_t)next_out;
            etcp_buf_consume(&b, 1);
        }
    }
    tap_is_int(wrong, 0, "70000 bytes pass in order");
    tap_ok(b.cap <= 256, "in %lu bytes of memory", (unsigned long)b.cap);
    etcp_buf_deinit(&b);
}

static void test_growth(void)
{
    etcp_buf b;

    alloc_fail_at(0);
    etcp_buf_init(&b);
    for (int i = 0; i < 100000; i++)
        etcp_buf_append_byte(&b, (uint8_t)i);
    tap_ok(alloc_count() < 40, "100000 bytes one by one take %ld allocations", alloc_count());
    tap_ok(b.cap < 200000, "and at most twice the memory");
    etcp_buf_deinit(&b);
    tap_is_int(etcp_buf_reserve_exact(&b, 100001), 0, "an exact reservation");
    tap_is_int((long long)b.cap, 100001, "is exact");
    etcp_buf_deinit(&b);
    alloc_reset();
}

static void test_trim(void)
{
    etcp_buf b;

    etcp_buf_init(&b);
    etcp_buf_trim(&b, 0);
    tap_ok(b.data == NULL, "nothing has no room to give back");
    (void)etcp_buf_reserve_exact(&b, 1000);
    (void)etcp_buf_append_str(&b, "content");
    etcp_buf_consume(&b, 3);
    etcp_buf_trim(&b, 993);
    tap_is_int((long long)b.cap, 1000, "room may be left");
    alloc_fail_at(1);
    etcp_buf_trim(&b, 992);
    tap_is_int((long long)b.cap, 1000, "or cannot be given back");
    alloc_fail_at(0);
    etcp_buf_trim(&b, 992);
    tap_is_int((long long)b.cap, 7, "more than that is given back");
    test_is(&b, "tent", "the content is still there");
    etcp_buf_deinit(&b);
    alloc_reset();
}

static void test_failure(void)
{
    etcp_buf b;

    etcp_buf_init(&b);
    alloc_fail_at(1);
    tap_is_int(etcp_buf_append_str(&b, "a"), ETCP_ENOMEM, "append fails without memory");
    test_is(&b, "", "and leaves an empty buffer empty");
    etcp_buf_append_str(&b, "content");
    etcp_buf_consume(&b, 3);
    alloc_fail_at(1);
    tap_is_int(etcp_buf_reserve(&b, 5000), ETCP_ENOMEM, "reserve fails");
    alloc_fail_at(1);
    tap_is_int(etcp_buf_reserve_exact(&b, 5000), ETCP_ENOMEM, "reserve_exact fails");
    test_is(&b, "tent", "the content is still there");
    alloc_fail_at(0);
    tap_is_int(etcp_buf_reserve(&b, SIZE_MAX), ETCP_ENOMEM, "a size that wraps is refused");
    tap_is_int(etcp_buf_reserve_exact(&b, SIZE_MAX - 1), ETCP_ENOMEM, "exactly, too");
    tap_is_int(alloc_count(), 0, "without asking for memory");
    test_is(&b, "tent", "the content is still there");
    etcp_buf_wipe(&b);
    tap_is_int(alloc_live(), 0, "nothing lives");
    alloc_reset();
}

static uint8_t freed_first_byte = 1;

static void look_and_free(void *block)
{
    freed_first_byte = *(uint8_t *)block;
    free(block);
}

static void test_wipe(void)
{
    static const etcp_mem_hooks hooks = {malloc, realloc, look_and_free};
    etcp_buf b;

    etcp_mem_set_hooks(&hooks);
    etcp_buf_init(&b);
    etcp_buf_append_str(&b, "secret");
    etcp_buf_clear(&b);
    etcp_buf_wipe(&b);
    tap_is_int(freed_first_byte, 0, "wipe clears memory even behind the content");
    etcp_mem_set_hooks(NULL);
}

int main(void)
{
    test_empty();
    test_both_ends();
    test_queue();
    test_growth();
    test_trim();
    test_failure();
    test_wipe();
    return tap_done();
}
