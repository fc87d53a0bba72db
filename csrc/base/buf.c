#include "buf.h"

#include <string.h>

#include "error.h"
#include "mem.h"

enum { SMALLEST_BUFFER = 64 };

void etcp_buf_init(etcp_buf *b)
{
    memset(b, 0, sizeof *b);
}

void etcp_buf_deinit(etcp_buf *b)
{
    etcp_free(b->data);
    etcp_buf_init(b);
}

void etcp_buf_wipe(etcp_buf *b)
{
    etcp_wipe(b->data, b->cap);
    etcp_buf_deinit(b);
}

static void move_to_front(etcp_buf *b)
{
    if (b->start == 0)
        return;
    if (b->end > b->start)
        memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
}

static int change_to(etcp_buf *b, size_t cap)
{
    uint8_t *data = etcp_realloc(b->data, cap);

    if (!data)
        return ETCP_ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int etcp_buf_reserve_exact(etcp_buf *b, size_t room)
{
    if (b->cap - b->end >= room)
        return 0;
    /* Moving costs a copy of the content: only worth it when the content is the smaller part. */
    if (b->start >= b->end - b->start)
        move_to_front(b);
    if (b->cap - b->end >= room)
        return 0;
    if (room > SIZE_MAX / 2 - b->end)
        return ETCP_ENOMEM;
    return change_to(b, b->end + room);
}

int etcp_buf_reserve(etcp_buf *b, size_t room)
{
    size_t grown;

    if (b->cap - b->end >= room)
        return 0;
    if (b->start >= b->end - b->start)
        move_to_front(b);
    if (b->cap - b->end >= room)
        return 0;
    if (room > SIZE_MAX / 2 - b->end)
        return ETCP_ENOMEM;
    grown = b->cap < SMALLEST_BUFFER ? SMALLEST_BUFFER : b->cap;
    if (grown < SIZE_MAX / 4)
        grown += grown / 2;
    if (grown < b->end + room)
        grown = b->end + room;
    return change_to(b, grown);
}

int etcp_buf_append(etcp_buf *b, const void *bytes, size_t len)
{
    int rc = etcp_buf_reserve(b, len);

    if (rc < 0)
        return rc;
    if (len)
        memcpy(b->data + b->end, bytes, len);
    b->end += len;
    return 0;
}

int etcp_buf_append_str(etcp_buf *b, const char *text)
{
    return etcp_buf_append(b, text, strlen(text));
}

int etcp_buf_append_byte(etcp_buf *b, uint8_t byte)
{
    return etcp_buf_append(b, &byte, 1);
}

void etcp_buf_consume(etcp_buf *b, size_t len)
{
    b->start += len;
    if (b->start == b->end)
        b->start = b->end = 0;
}

void etcp_buf_truncate(etcp_buf *b, size_t len)
{
    b->end = b->start + len;
}

void etcp_buf_trim(etcp_buf *b, size_t most)
{
    const size_t room = b->cap - b->end;

    if (b->end > 0 && room > most && room > b->end - b->start)
        (void)change_to(b, b->end); /* if not, it stays as it is */
}

void etcp_buf_clear(etcp_buf *b)
{
    b->start = b->end = 0;
}
