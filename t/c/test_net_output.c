/* The output queue against a socket that takes what the script says. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "alloc.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/output_queue.h"
#include "net/socket.h"
#include "tap.h"

/* ---- a scripted socket ----------------------------------------------------------------------- */

static etcp_syscalls calls;
static long script[32]; /* bytes taken by each call; negative: -errno */
static int steps, step;
static int called;
static size_t most_pieces;
static uint8_t wire[1 << 20];
static size_t wire_len;

/* What the next step of the script takes of these pieces. */
static ssize_t take(const struct iovec *pieces, size_t count)
{
    long room = step < steps ? script[step++] : -EAGAIN;
    size_t taken = 0;
    size_t i;

    called++;
    if (count > most_pieces)
        most_pieces = count;
    if (room < 0) {
        errno = (int)-room;
        return -1;
    }
    for (i = 0; i < count && taken < (size_t)room; i++) {
        size_t n = pieces[i].iov_len;

        if (n > (size_t)room - taken)
            n = (size_t)room - taken;
        if (n)
            memcpy(wire + wire_len + taken, pieces[i].iov_base, n);
        taken += n;
    }
    wire_len += taken;
    return (ssize_t)taken;
}

static ssize_t scripted_sendmsg(int fd, const struct msghdr *m, int flags)
{
    (void)fd;
    (void)flags;
    return take(m->msg_iov, (size_t)m->msg_iovlen);
}

static ssize_t scripted_send(int fd, const void *bytes, size_t len, int flags)
{
    struct iovec piece;
    union {
        const void *in;
        void *out;
    } all;

    (void)fd;
    (void)flags;
    all.in = bytes;
    piece.iov_base = all.out;
    piece.iov_len = len;
    return take(&piece, 1);
}

static void start_script(int count, const long *results)
{
    memcpy(script, results, (size_t)count * sizeof *results);
    steps = count;
    step = called = 0;
    most_pieces = 0;
}

static void fresh_wire(void)
{
    wire_len = 0;
}

#define SCRIPT(...)                                                                                \
    do {                                                                                           \
        static const long results[] = {__VA_ARGS__};                                               \
        start_script((int)(sizeof results / sizeof *results), results);                            \
    } while (0)

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static int released;
static etcp_output *reentered;

static void count_release(void *owner)
{
    released += *(int *)owner;
    /* The queue may be used when this is called. */
    if (reentered)
        (void)etcp_output_append(reentered, bytes("again"), 5, NULL, 0);
    reentered = NULL;
}

static void clear(etcp_output *q)
{
    etcp_output_drop(q);
    etcp_output_release(q);
}

static void test_copies(void)
{
    etcp_output q;

    etcp_output_init(&q);
    tap_is_int(etcp_output_append(&q, bytes("ab"), 2, bytes("cdef"), 4), 0, "head and body");
    tap_is_int(etcp_output_append(&q, bytes("gh"), 2, NULL, 0), 0, "head alone");
    tap_is_int((long long)q.len, 8, "eight bytes queued");
    fresh_wire();
    SCRIPT(3, -EAGAIN);
    tap_is_int((long long)etcp_output_flush(&q, 0), 3, "a short write");
    tap_is_int(called, 1, "is not tried again: the kernel is full");
    tap_is_int((long long)q.len, 5, "five are left");
    SCRIPT(-EINTR, -EINTR, 5);
    tap_is_int((long long)etcp_output_flush(&q, 0), 5, "signals do not end it");
    tap_is_mem(wire, wire_len, "abcdefgh", 8, "every byte once, in order");
    tap_ok(!q.head && !q.tail && !q.len, "an empty queue owns nothing");
    SCRIPT(1);
    tap_is_int((long long)etcp_output_flush(&q, 0), 0, "flushing nothing");
    tap_is_int(called, 0, "asks nobody");
}

static void test_in_place(void)
{
    etcp_output q;
    uint8_t *room;

    etcp_output_init(&q);
    room = etcp_output_reserve(&q, 8);
    tap_ok(room != NULL, "room for eight bytes");
    memcpy(room, "abc", 3);
    etcp_output_commit(&q, 3);
    room = etcp_output_reserve(&q, 8);
    memcpy(room, "de", 2);
    etcp_output_commit(&q, 2);
    (void)etcp_output_append(&q, bytes("f"), 1, NULL, 0);
    tap_is_int((long long)q.len, 6, "queued is what was written there");
    fresh_wire();
    SCRIPT(6);
    tap_is_int((long long)etcp_output_flush(&q, 0), 6, "which leaves together");
    tap_is_mem(wire, wire_len, "abcdef", 6, "in order");
    tap_ok(!q.head && !q.tail && !q.len, "and leaves an empty queue");
}

static void test_transient(void)
{
    static const int transient[] = {EAGAIN, ENOBUFS, ENOMEM};
    etcp_output q;
    size_t i;

    for (i = 0; i < sizeof transient / sizeof *transient; i++) {
        long result = -(long)transient[i];

        etcp_output_init(&q);
        (void)etcp_output_append(&q, bytes("x"), 1, NULL, 0);
        start_script(1, &result);
        tap_is_int((long long)etcp_output_flush(&q, 0), 0, "errno %d: later", transient[i]);
        tap_is_int((long long)q.len, 1, "and nothing is lost");
        clear(&q);
    }
}

static void test_fatal(void)
{
    int one = 1;
    etcp_output q;

    etcp_output_init(&q);
    released = 0;
    (void)etcp_output_append_borrowed(&q, bytes("h"), 1, bytes("body"), 4, count_release, &one);
    SCRIPT(2, -EPIPE);
    (void)etcp_output_flush(&q, 0);
    errno = 0;
    tap_is_int((long long)etcp_output_flush(&q, 0), -1, "a broken pipe is an error");
    tap_is_int(errno, EPIPE, "with its errno");
    tap_is_int(released, 0, "the payload is still lent");
    clear(&q);
    tap_is_int(released, 1, "until the queue is dropped");
}

static void test_borrowed(void)
{
    int one = 1, ten = 10;
    etcp_output q;

    etcp_output_init(&q);
    released = 0;
    fresh_wire();
    (void)etcp_output_append_borrowed(&q, bytes("1:"), 2, bytes("first"), 5, count_release, &one);
    (void)etcp_output_append_borrowed(&q, bytes("2:"), 2, bytes(""), 0, count_release, &ten);
    (void)etcp_output_append(&q, bytes("3:"), 2, bytes("third"), 5);
    SCRIPT(6, -EAGAIN);
    (void)etcp_output_flush(&q, 0);
    tap_is_int(released, 0, "one byte is missing: kept");
    SCRIPT(1, -EAGAIN);
    (void)etcp_output_flush(&q, 0);
    tap_is_int(released, 0, "written: still lent");
    etcp_output_release(&q);
    tap_is_int(released, 1, "until that is allowed");
    SCRIPT(2, 100);
    (void)etcp_output_flush(&q, 0);
    etcp_output_release(&q);
    tap_is_int(released, 11, "an empty payload is released, too");
    SCRIPT(100);
    (void)etcp_output_flush(&q, 0);
    tap_is_mem(wire, wire_len, "1:first2:3:third", 16, "in order");
    tap_is_int((long long)q.len, 0, "nothing left");
}

/* Memory that only has to be freed does not wait until release is allowed. */
static void test_freed(void)
{
    etcp_output q;
    uint8_t *block;

    alloc_fail_at(0);
    block = etcp_malloc(5000);
    etcp_output_init(&q);
    fresh_wire();
    (void)etcp_output_append_borrowed(&q, bytes("h"), 1, block, 5000, etcp_free, block);
    SCRIPT(10000);
    (void)etcp_output_flush(&q, 0);
    tap_ok(!q.finished && alloc_live() == 0, "a block is freed as soon as it is written");
    block = etcp_malloc(5000);
    (void)etcp_output_append_borrowed(&q, bytes("h"), 1, block, 5000, etcp_free, block);
    etcp_output_drop(&q);
    etcp_output_release(&q);
    tap_is_int(alloc_live(), 0, "or dropped");
    alloc_reset();
}

static void test_reentry(void)
{
    int one = 1;
    etcp_output q;

    etcp_output_init(&q);
    released = 0;
    fresh_wire();
    (void)etcp_output_append_borrowed(&q, bytes("a"), 1, bytes("b"), 1, count_release, &one);
    (void)etcp_output_append(&q, bytes("c"), 1, NULL, 0);
    reentered = &q;
    SCRIPT(3, 5);
    tap_is_int((long long)etcp_output_flush(&q, 0), 3, "all is written");
    etcp_output_release(&q);
    tap_is_int((long long)q.len, 5, "a release may append");
    tap_is_int((long long)etcp_output_flush(&q, 0), 5, "for the next flush");
    tap_is_mem(wire, wire_len, "abcagain", 8, "in order");
    (void)etcp_output_append_borrowed(&q, bytes("a"), 1, bytes("b"), 1, count_release, &one);
    reentered = &q;
    clear(&q);
    tap_is_int((long long)q.len, 5, "a release that appends while the queue is dropped");
    clear(&q);
    tap_ok(!q.head && !q.finished, "can be dropped again");
}

/* Every way of cutting the stream of many packets gives the same bytes. */
static void test_cuts(void)
{
    static uint8_t expected[64 * 1024];
    long size;

    for (size = 1; size <= 4096; size = size * 3 + 1) {
        size_t expected_len = 0;
        etcp_output q;
        int i;

        etcp_output_init(&q);
        fresh_wire();
        for (i = 0; i < 200; i++) {
            uint8_t head[2];
            uint8_t body[150];
            size_t len = (size_t)(i * 7 % 150);

            head[0] = (uint8_t)i;
            head[1] = (uint8_t)len;
            memset(body, 'a' + i % 26, sizeof body);
            (void)etcp_output_append(&q, head, 2, body, len);
            memcpy(expected + expected_len, head, 2);
            memcpy(expected + expected_len + 2, body, len);
            expected_len += 2 + len;
        }
        while (q.len) {
            start_script(1, &size);
            (void)etcp_output_flush(&q, 0);
        }
        tap_is_mem(wire, wire_len, expected, expected_len, "in pieces of %ld bytes", size);
    }
}

static void test_many_pieces(void)
{
    int one = 1;
    etcp_output q;
    int i;

    etcp_output_init(&q);
    fresh_wire();
    released = 0;
    for (i = 0; i < 100; i++)
        (void)etcp_output_append_borrowed(&q, bytes("h"), 1, bytes("b"), 1, count_release, &one);
    SCRIPT(64, 64, 64, 64, 64, 64);
    tap_is_int((long long)etcp_output_flush(&q, 0), 200, "200 pieces go out");
    tap_ok(most_pieces <= 64 && called == 4, "by 4 calls of at most 64 pieces");
    etcp_output_release(&q);
    tap_is_int(released, 100, "all released");
}

static void test_out_of_memory(void)
{
    int one = 1;
    etcp_output q;
    long n;
    int rc;

    for (n = 1;; n++) {
        etcp_output_init(&q);
        released = 0;
        alloc_fail_at(n);
        rc = etcp_output_append(&q, bytes("ab"), 2, bytes("cd"), 2);
        if (rc == 0)
            rc = etcp_output_append_borrowed(&q, bytes("e"), 1, bytes("f"), 1, count_release, &one);
        tap_ok(rc == 0 || rc == ETCP_ENOMEM, "allocation %ld failed: told", n);
        tap_ok(q.len == 0 || q.len == 4 || q.len == 6, "packets are whole or absent");
        tap_is_int(released, 0, "a payload not taken is not released");
        clear(&q);
        tap_is_int(alloc_live(), 0, "no block is left");
        if (rc == 0 || !alloc_has_failed())
            break;
    }
    tap_ok(n > 2 && rc == 0, "failures were tried");
    alloc_reset();
}

int main(void)
{
    calls = etcp_system_calls;
    calls.sendmsg = scripted_sendmsg;
    calls.send = scripted_send;
    etcp_sys = &calls;
    test_copies();
    test_in_place();
    test_transient();
    test_fatal();
    test_borrowed();
    test_freed();
    test_reentry();
    test_cuts();
    test_many_pieces();
    test_out_of_memory();
    return tap_done();
}
