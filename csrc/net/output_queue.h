/* Bytes on their way out that the kernel has not taken: copies and borrowed pieces, in order. An
 * empty queue owns no memory. */
#ifndef ETCP_NET_OUTPUT_QUEUE_H
#define ETCP_NET_OUTPUT_QUEUE_H

#include <stddef.h>
#include <stdint.h>

typedef struct etcp_segment etcp_segment;

typedef struct etcp_output {
    etcp_segment *head, *tail;
    etcp_segment *finished; /* borrowed, no longer queued, not released yet; what etcp_free releases is
                             * released at once */
    size_t len;             /* bytes queued */
} etcp_output;

/* Makes an empty queue. Cannot fail. */
void etcp_output_init(etcp_output *q);

/* Appends a copy of head[0..head_len) and of body[0..body_len), both or nothing.
 * Returns 0 or ETCP_ENOMEM. */
int etcp_output_append(etcp_output *q, const uint8_t *head, size_t head_len, const uint8_t *body,
                       size_t body_len);

/* Where len more bytes can be written, of which etcp_output_commit then appends some: one of them at
 * least, and before any other call. NULL: out of memory. */
uint8_t *etcp_output_reserve(etcp_output *q, size_t len);
void etcp_output_commit(etcp_output *q, size_t len);

/* As etcp_output_append, but body stays where it is until release(owner) is called: by
 * etcp_output_release after it was written or dropped. On failure release is not called. */
int etcp_output_append_borrowed(etcp_output *q, const uint8_t *head, size_t head_len,
                                const uint8_t *body, size_t body_len, void (*release)(void *owner),
                                void *owner);

/* Writes to the socket until everything is written or the kernel takes no more. Returns the bytes
 * written, or -1 with errno (what was written is gone from the queue). */
ptrdiff_t etcp_output_flush(etcp_output *q, int fd);

/* Empties the queue without writing. */
void etcp_output_drop(etcp_output *q);

/* Releases what is no longer queued. A release may do anything, free the queue included: call this
 * last. */
void etcp_output_release(etcp_output *q);

#endif
