#include "output_queue.h"

#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/rare.h"
#include "socket.h"

enum {
    PIECES = 64, /* handed to one call: far below any system's IOV_MAX */
    SMALLEST_SEGMENT = 2048,
    LARGEST_SEGMENT = 65536
};

struct etcp_segment {
    etcp_segment *next;
    const uint8_t *bytes; /* the content: bytes[start..end) */
    size_t start;
    size_t end;
    size_t cap; /* room for copies behind bytes; 0 for borrowed bytes */
    void (*release)(void *owner);
    void *owner;
};

void etcp_output_init(etcp_output *q)
{
    memset(q, 0, sizeof *q);
}

/* A segment with its room right behind it. */
static etcp_segment *new_segment(size_t cap)
{
    etcp_segment *s;

    if (cap > SIZE_MAX / 2)
        return NULL;
    s = etcp_malloc(sizeof *s + cap);
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    s->bytes = (const uint8_t *)(s + 1);
    s->cap = cap;
    return s;
}

static void link_segment(etcp_output *q, etcp_segment *s)
{
    if (q->tail)
        q->tail->next = s;
    else
        q->head = s;
    q->tail = s;
}

/* Whether the last segment can take a copy of len bytes. */
static inline int has_room(const etcp_output *q, size_t len)
{
    const etcp_segment *s = q->tail;

    return len == 0 || (s && s->cap && s->cap - s->end >= len);
}

static int add_segment(etcp_output *q, size_t cap)
{
    etcp_segment *s = new_segment(cap);

    if (!s)
        return ETCP_ENOMEM;
    link_segment(q, s);
    return 0;
}

/* Adds a segment that has room for len bytes, and for more: a long queue is made of few large ones. */
static ETCP_RARE int add_roomy_segment(etcp_output *q, size_t len)
{
    size_t size = q->len < LARGEST_SEGMENT / 2 ? 2 * q->len : LARGEST_SEGMENT;

    if (size < SMALLEST_SEGMENT)
        size = SMALLEST_SEGMENT;
    return add_segment(q, size > len ? size : len);
}

/* The caller has reserved the room. */
static inline void copy_in(etcp_output *q, const uint8_t *bytes, size_t len)
{
    etcp_segment *s = q->tail;

    if (len == 0)
        return;
    memcpy((uint8_t *)(s + 1) + s->end, bytes, len);
    s->end += len;
    q->len += len;
}

int etcp_output_append(etcp_output *q, const uint8_t *head, size_t head_len, const uint8_t *body,
                       size_t body_len)
{
    const size_t len = head_len + body_len;

    if (body_len > SIZE_MAX / 4 || (!has_room(q, len) && add_roomy_segment(q, len) < 0))
        return ETCP_ENOMEM;
    copy_in(q, head, head_len);
    copy_in(q, body, body_len);
    return 0;
}

uint8_t *etcp_output_reserve(etcp_output *q, size_t len)
{
    if (!has_room(q, len) && add_roomy_segment(q, len) < 0)
        return NULL;
    return (uint8_t *)(q->tail + 1) + q->tail->end;
}

void etcp_output_commit(etcp_output *q, size_t len)
{
    q->tail->end += len;
    q->len += len;
}

int etcp_output_append_borrowed(etcp_output *q, const uint8_t *head, size_t head_len,
                                const uint8_t *body, size_t body_len, void (*release)(void *owner),
                                void *owner)
{
    etcp_segment *s = new_segment(0);

    if (!s)
        return ETCP_ENOMEM;
    /* What is borrowed follows: nothing else is for a segment with the head. */
    if (!has_room(q, head_len) && add_segment(q, head_len) < 0) {
        etcp_free(s);
        return ETCP_ENOMEM;
    }
    copy_in(q, head, head_len);
    s->bytes = body;
    s->end = body_len;
    s->release = release;
    s->owner = owner;
    link_segment(q, s);
    q->len += body_len;
    return 0;
}

/* Takes the first segment out. */
static etcp_segment *unlink_head(etcp_output *q)
{
    etcp_segment *s = q->head;

    q->head = s->next;
    if (!q->head)
        q->tail = NULL;
    q->len -= s->end - s->start;
    s->next = NULL;
    return s;
}

/* Done with a segment that was taken out: one that was borrowed waits for its release. */
static void finish(etcp_output *q, etcp_segment *s)
{
    if (!s->release) {
        etcp_free(s);
        return;
    }
    if (s->release == etcp_free) { /* comes back to nobody: a large message would pile up its blocks */
        etcp_free(s->owner);
        etcp_free(s);
        return;
    }
    s->next = q->finished;
    q->finished = s;
}

/* Takes out what was written. An empty segment goes with the one before it. */
static void take_written(etcp_output *q, size_t written)
{
    while (q->head && q->head->end - q->head->start <= written) {
        written -= q->head->end - q->head->start;
        finish(q, unlink_head(q));
    }
    if (q->head) {
        q->head->start += written;
        q->len -= written;
    }
}

static unsigned short gather(const etcp_output *q, struct iovec *pieces, size_t *total)
{
    const etcp_segment *s;
    unsigned short count = 0;

    *total = 0;
    for (s = q->head; s && count < PIECES; s = s->next) {
        union {
            const uint8_t *in;
            void *out;
        } bytes; /* struct iovec has no const */

        bytes.in = s->bytes + s->start;
        pieces[count].iov_base = bytes.out;
        pieces[count].iov_len = s->end - s->start;
        *total += pieces[count++].iov_len;
    }
    return count;
}

ptrdiff_t etcp_output_flush(etcp_output *q, int fd)
{
    struct iovec pieces[PIECES];
    ptrdiff_t written = 0;
    size_t total;
    ssize_t n;

    while (q->head) {
        unsigned short count = gather(q, pieces, &total);

        n = total ? etcp_socket_write(fd, pieces, count) : 0;
        if (n < 0)
            return -1;
        take_written(q, (size_t)n);
        written += n;
        if ((size_t)n < total)
            break;
    }
    return written;
}

void etcp_output_drop(etcp_output *q)
{
    while (q->head)
        finish(q, unlink_head(q));
}

void etcp_output_release(etcp_output *q)
{
    etcp_segment *s = NULL;

    while (q->finished) {
        etcp_segment *last = q->finished;

        q->finished = last->next;
        last->next = s;
        s = last;
    }
    while (s) { /* the first first, and q no more */
        etcp_segment *next = s->next;

        s->release(s->owner);
        etcp_free(s);
        s = next;
    }
}
