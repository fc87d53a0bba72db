/* Helpers of the wire tests: a session with what came out of it, and packets made by hand. Include
 * in one program's only source file. */
#ifndef ETCP_T_WIRE_PEER_H
#define ETCP_T_WIRE_PEER_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "wire/frame.h"
#include "wire/session.h"

typedef struct peer {
    etcp_session *s;
    int rc;            /* what etcp_session_next said last */
    unsigned ready;    /* READY events seen */
    unsigned messages; /* MESSAGE events seen */
    unsigned tls;      /* TLS events seen: what is fed then is not looked at */
    size_t left;       /* of what was fed when the last of them came */
    etcp_buf data;     /* of all messages, one after the other */
    unsigned flags;    /* of the last message */
    int answers;       /* whether guesses of the password are answered at once */
} peer;

static inline int peer_init(peer *p, etcp_config *config)
{
    memset(p, 0, sizeof *p);
    p->answers = 1;
    etcp_buf_init(&p->data);
    return etcp_session_new(config, &p->s);
}

static inline void peer_deinit(peer *p)
{
    etcp_session_free(p->s);
    etcp_buf_deinit(&p->data);
    memset(p, 0, sizeof *p);
}

/* The next event, as connections take it. */
static inline int peer_next(peer *p, const uint8_t **at, const uint8_t *end, etcp_event *event)
{
    return etcp_session_next_usual(p->s, at, end, event) ? 1
                                                         : etcp_session_next(p->s, at, end, event);
}

/* Takes all events that bytes[0..len) give. The bytes are handed over as an exact heap block, so
 * that a sanitizer sees reads behind them. */
static inline int peer_feed(peer *p, const uint8_t *bytes, size_t len)
{
    uint8_t *block = malloc(len ? len : 1);
    const uint8_t *at = block;
    etcp_event event;

    if (len)
        memcpy(block, bytes, len);
    while ((p->rc = peer_next(p, &at, block + len, &event)) == 1) {
        if (event.type == ETCP_EVENT_READY) {
            p->ready++;
            continue;
        }
        if (event.type == ETCP_EVENT_TLS) {
            p->tls++;
            p->left = (size_t)(block + len - at);
            break;
        }
        p->messages++;
        p->flags = event.flags;
        if (etcp_buf_append(&p->data, event.data, event.len) < 0)
            break;
    }
    free(block);
    if (p->rc >= 0 && p->answers && etcp_session_wants_proof(p->s))
        p->rc = etcp_session_prove(p->s);
    return p->rc;
}

/* As peer_feed, in pieces of at most step bytes; 0: whole. */
static inline int peer_feed_step(peer *p, const uint8_t *bytes, size_t len, size_t step)
{
    size_t done = 0;

    if (step == 0)
        return peer_feed(p, bytes, len);
    while (done < len) {
        size_t part = len - done < step ? len - done : step;
        int rc = peer_feed(p, bytes + done, part);

        if (rc < 0)
            return rc;
        done += part;
    }
    return 0;
}

/* Moves the output of one to the other. Returns how many bytes that were. */
static inline size_t peer_move(peer *from, peer *to, size_t step)
{
    etcp_buf *output = etcp_session_output(from->s);
    size_t len = etcp_buf_len(output);

    if (len)
        (void)peer_feed_step(to, etcp_buf_bytes(output), len, step);
    etcp_buf_clear(output);
    return len;
}

/* Lets both talk until neither has anything to say. */
static inline void peer_negotiate(peer *a, peer *b, size_t step)
{
    while (peer_move(a, b, step) + peer_move(b, a, step) > 0)
        continue;
}

/* Encodes a message of one and feeds it to the other. Returns the encoder's result. */
static inline int peer_say(peer *from, peer *to, unsigned flags, const void *data, size_t len,
                           size_t step)
{
    etcp_packet packet;
    int rc = etcp_session_encode(from->s, flags, data, len, &packet);

    if (rc < 0)
        return rc;
    (void)peer_feed_step(to, packet.header, packet.header_len, step);
    for (;;) {
        if (packet.body_len)
            (void)peer_feed_step(to, packet.body, packet.body_len, step);
        if (packet.rest_len == 0)
            return 0;
        rc = etcp_session_encode_rest(from->s, &packet);
        if (rc < 0)
            return rc;
    }
}

/* Appends a packet made by hand. */
static inline void add_packet(etcp_buf *out, unsigned flags, const void *payload, size_t len)
{
    uint8_t header[ETCP_FRAME_HEADER_MAX];

    if (etcp_buf_append(out, header, etcp_frame_encode(header, flags, len)) < 0 ||
        etcp_buf_append(out, payload, len) < 0)
        abort();
}

/* As add_packet for a negotiation packet written as text, with '|' for NUL. */
static inline void add_command(etcp_buf *out, const char *text)
{
    size_t len = strlen(text);
    char *copy = malloc(len + 1);
    char *c;

    memcpy(copy, text, len + 1);
    for (c = copy; c < copy + len; c++)
        if (*c == '|')
            *c = '\0';
    add_packet(out, 0, copy, len);
    free(copy);
}

/* Feeds one such packet. */
static inline int peer_command(peer *p, const char *text)
{
    etcp_buf packet;
    int rc;

    etcp_buf_init(&packet);
    add_command(&packet, text);
    rc = peer_feed(p, etcp_buf_bytes(&packet), etcp_buf_len(&packet));
    etcp_buf_deinit(&packet);
    return rc;
}

/* Takes the packets out of the output and writes them as text: NUL as '|', other unprintable bytes
 * as
 * '?', packets that are sealed as their flags in hex, packets apart by newlines. The result is
 * valid until the next call. */
static inline const char *peer_answer(peer *p)
{
    static char text[20000];
    etcp_buf *output = etcp_session_output(p->s);
    size_t at = 0;
    etcp_frame frame;

    text[0] = '\0';
    while (etcp_frame_parse(etcp_buf_bytes(output), etcp_buf_len(output), &frame) == 0) {
        const uint8_t *payload = etcp_buf_bytes(output) + frame.header_len;
        size_t i;

        if (at)
            text[at++] = '\n';
        for (i = 0; i < frame.len && at < sizeof text - 8; i++)
            text[at++] = payload[i] == 0                        ? '|'
                         : payload[i] >= 32 && payload[i] < 127 ? (char)payload[i]
                                                                : '?';
        if (frame.flags & ETCP_FLAG_ENCRYPTED)
            at = (size_t)(strcpy(text, "(sealed)") - text) + 8;
        text[at] = '\0';
        etcp_buf_consume(output, frame.header_len + frame.len);
    }
    return text;
}

#endif
