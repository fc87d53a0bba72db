/* A growable run of bytes: written at the tail, consumed at the front. */
#ifndef ETCP_BASE_BUF_H
#define ETCP_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/* Bytes data[start..end) are the content; fields are read-only outside buf.c. */
typedef struct etcp_buf {
    uint8_t *data;
    size_t start;
    size_t end;
    size_t cap;
} etcp_buf;

/* Makes an empty buffer that owns no memory. Cannot fail. */
void etcp_buf_init(etcp_buf *b);

/* Frees the memory and leaves an empty buffer. */
void etcp_buf_deinit(etcp_buf *b);

/* As etcp_buf_deinit, wiping the memory first: for keys and clear text. */
void etcp_buf_wipe(etcp_buf *b);

/* The content; valid until the next call that changes the buffer. */
static inline const uint8_t *etcp_buf_bytes(const etcp_buf *b)
{
    return b->data ? b->data + b->start : (const uint8_t *)"";
}

static inline size_t etcp_buf_len(const etcp_buf *b)
{
    return b->end - b->start;
}

/* Makes room for at least room more bytes behind the content.
 * Returns 0, or ETCP_ENOMEM (content unchanged). Grows geometrically. */
int etcp_buf_reserve(etcp_buf *b, size_t room);

/* As etcp_buf_reserve, allocating no more than is asked for: for large buffers of known size. */
int etcp_buf_reserve_exact(etcp_buf *b, size_t room);

/* Where reserved room begins; write at most what was reserved, then commit what was written. NULL
 * when no room was ever reserved. */
static inline uint8_t *etcp_buf_tail(etcp_buf *b)
{
    return b->data ? b->data + b->end : NULL;
}

static inline size_t etcp_buf_room(const etcp_buf *b)
{
    return b->cap - b->end;
}

static inline void etcp_buf_commit(etcp_buf *b, size_t written)
{
    b->end += written;
}

/* Appends a copy of bytes[0..len), which must not lie in b itself.
 * Returns 0, or ETCP_ENOMEM (content unchanged). */
int etcp_buf_append(etcp_buf *b, const void *bytes, size_t len);

/* Appends the characters of a C string without its NUL. Returns as etcp_buf_append. */
int etcp_buf_append_str(etcp_buf *b, const char *text);

/* Appends one byte. Returns as etcp_buf_append. */
int etcp_buf_append_byte(etcp_buf *b, uint8_t byte);

/* Drops len bytes from the front; len is at most the content. Memory is kept. */
void etcp_buf_consume(etcp_buf *b, size_t len);

/* Shortens the content to its first len bytes. */
void etcp_buf_truncate(etcp_buf *b, size_t len);

/* Gives back the room behind the content, if it is more than the content and most. */
void etcp_buf_trim(etcp_buf *b, size_t most);

/* Empties the buffer. Memory is kept. */
void etcp_buf_clear(etcp_buf *b);

#endif
