/* Two channels, or one and a bare OpenSSL connection, talking to each other through memory. Include
 * in one program's only source file. */
#ifndef ETCP_T_TLS_PAIR_H
#define ETCP_T_TLS_PAIR_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "tls/channel.h"
#include "tls/context.h"

/* One end: what it wants to send, and what came out of it. */
typedef struct tls_end {
    etcp_channel *ch;
    etcp_buf out;
    etcp_buf clear;
    int rc; /* the last negative result of etcp_channel_open, or 0 */
} tls_end;

static inline int tls_end_init(tls_end *e, etcp_tls *tls, const char *host, const char *endpoint)
{
    memset(e, 0, sizeof *e);
    etcp_buf_init(&e->out);
    etcp_buf_init(&e->clear);
    return etcp_channel_new(tls, host, endpoint, &e->ch);
}

static inline void tls_end_deinit(tls_end *e)
{
    etcp_channel_free(e->ch);
    etcp_buf_deinit(&e->out);
    etcp_buf_deinit(&e->clear);
}

/* Feeds bytes from an exact heap block; room is what each call may give. Returns e->rc. */
static inline int tls_feed(tls_end *e, const uint8_t *bytes, size_t len, size_t room)
{
    uint8_t *block = malloc(len ? len : 1);
    uint8_t *clear = malloc(room);
    const uint8_t *at = block;
    ptrdiff_t got;

    if (len)
        memcpy(block, bytes, len);
    do {
        got = etcp_channel_open(e->ch, &at, block + len, clear, room, &e->out);
        if (got > 0)
            (void)etcp_buf_append(&e->clear, clear, (size_t)got);
    } while (got > 0 || (got == 0 && at < block + len));
    free(block);
    free(clear);
    return e->rc = (int)got;
}

/* Moves what one has to say to the other, in pieces of step bytes (0: whole). Returns how much. */
static inline size_t tls_move(tls_end *from, tls_end *to, size_t step)
{
    size_t len = etcp_buf_len(&from->out);
    uint8_t *copy = malloc(len ? len : 1);
    size_t done = 0;

    memcpy(copy, etcp_buf_bytes(&from->out), len);
    etcp_buf_clear(&from->out);
    while (done < len) {
        size_t part = step && step < len - done ? step : len - done;

        (void)tls_feed(to, copy + done, part, 20000);
        done += part;
    }
    free(copy);
    return len;
}

/* Lets both talk until neither has anything to say. */
static inline void tls_shake(tls_end *client, tls_end *server, size_t step)
{
    (void)tls_feed(client, NULL, 0, 1000);
    while (tls_move(client, server, step) + tls_move(server, client, step) > 0)
        continue;
}

#endif
