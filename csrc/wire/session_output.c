/* What a session makes of messages that go out: packets, compressed and sealed as was agreed. */
#include "session.h"

#include <string.h>

#include "frame.h"
#include "state.h"
#include "transform.h"

enum {
    PART = 131072 /* of a large message: fits into the processor's cache */
};

/* Originals from here on take a decoded "" or "0" for a failure and drop it. */
#define FIRST_DROPPING_VERSION ETCP_VERSION(0, 23)

/* "" and "0" are false in Perl: originals lose them when they come out of a transform, and
 * Crypt::RSA cannot carry them at all. An original sends them in clear to be understood, and so do
 * we then. */
static int must_go_plain(const etcp_session *s, const uint8_t *payload, size_t len)
{
    if (len > 1 || (len == 1 && payload[0] != '0') || !etcp_session_peer_is_old(s))
        return 0;
    return s->peer_version >= FIRST_DROPPING_VERSION ||
           (s->transform.cipher && !(s->transform.cipher->flags & ETCP_CIPHER_SYMMETRIC));
}

/* Seals payload into s->encoded: all of it, or the first part of a large one. Stores the length of
 * the whole sealed form. */
static int seal(etcp_session *s, const uint8_t *payload, size_t len, int may_leave_rest,
                etcp_packet *packet, size_t *sealed_len)
{
    const etcp_cipher *cipher = s->transform.cipher;
    int rc;

    if (!may_leave_rest || len < 2 * PART || !cipher->large) {
        const uint64_t since = etcp_session_start_timing(s, len);

        rc = etcp_transform_seal(&s->transform, s->config, payload, len, &s->encoded);
        etcp_session_end_timing(s, since, len);
        *sealed_len = etcp_buf_len(&s->encoded);
        return rc;
    }
    *sealed_len = cipher->large->sealed_len(s->transform.seal, len);
    if (*sealed_len == 0)
        return ETCP_ETOOBIG;
    packet->rest = payload;
    packet->rest_len = len;
    return etcp_session_encode_rest(s, packet);
}

/* Transforms payload, which is parcel's unless that is NULL, for the packet's body. *flags tells
 * what was done, *len how long it becomes. */
static int transform(etcp_session *s, etcp_parcel *parcel, unsigned *flags, const uint8_t *payload,
                     size_t *len, etcp_packet *packet)
{
    etcp_buf compressed;
    const etcp_buf *form = s->transform.seal ? &compressed : &s->encoded;
    int rc;

    etcp_buf_init(&compressed);
    if (parcel)
        rc = etcp_session_form(s, parcel, &form);
    else
        rc = etcp_session_compress(s, payload, *len, s->transform.seal ? &compressed : &s->encoded);
    if (rc == 1) {
        *flags |= ETCP_FLAG_COMPRESSED;
        payload = etcp_buf_bytes(form);
        *len = etcp_buf_len(form);
    }
    packet->is_borrowed = !s->transform.seal && (parcel || rc != 1);
    if (rc >= 0 && s->transform.seal) {
        *flags |= ETCP_FLAG_ENCRYPTED;
        rc = seal(s, payload, *len, rc == 0, packet, len);
        payload = etcp_buf_bytes(&s->encoded);
    }
    etcp_buf_wipe(&compressed);
    packet->body = payload;
    packet->body_len = packet->rest_len ? etcp_buf_len(&s->encoded) : *len;
    return rc < 0 ? rc : 0;
}

int etcp_session_encode_rest(etcp_session *s, etcp_packet *packet)
{
    size_t len = packet->rest_len < 2 * PART ? packet->rest_len : PART;
    const uint64_t since = etcp_session_start_timing(s, len);
    int rc;

    etcp_buf_clear(&s->encoded);
    rc = etcp_transform_seal_part(&s->transform, s->config, &packet->run, packet->rest, len,
                                  len == packet->rest_len, &s->encoded);
    etcp_session_end_timing(s, since, len);
    packet->rest += len;
    packet->rest_len -= len;
    packet->header_len = 0;
    packet->body = etcp_buf_bytes(&s->encoded);
    packet->body_len = etcp_buf_len(&s->encoded);
    return rc;
}

/* On the wire, before anything is done to the message. */
static inline unsigned plain_flags(unsigned flags)
{
    return ETCP_FLAG_REAL | (flags & ETCP_MESSAGE_COMPLEX ? ETCP_FLAG_COMPLEX : 0u);
}

int etcp_session_is_plain(const etcp_session *s, size_t len)
{
    return etcp_session_may_send(s) && len <= s->config->message_max && !s->transform.seal &&
           !s->transform.compressor;
}

size_t etcp_session_encode_header(etcp_session *s, unsigned flags, size_t len, uint8_t *header)
{
    s->gap = 0;
    if (len < 256) /* no such packet needs the care that etcp_session_frame takes */
        return etcp_frame_encode(header, plain_flags(flags), len);
    return etcp_session_frame(s, header, plain_flags(flags), len);
}

static inline int encode(etcp_session *s, etcp_parcel *parcel, unsigned flags, const uint8_t *payload,
                         size_t len, etcp_packet *packet)
{
    unsigned wire_flags = plain_flags(flags);

    if (!etcp_session_may_send(s))
        return ETCP_EINVAL;
    if (len > s->config->message_max)
        return ETCP_ETOOBIG;
    s->gap = 0;
    packet->body = payload;
    packet->body_len = len;
    packet->is_borrowed = 1;
    packet->rest_len = 0;
    packet->run.begun = 0;
    if ((s->transform.seal || s->transform.compressor) && !must_go_plain(s, payload, len)) {
        int rc;

        etcp_buf_clear(&s->encoded);
        rc = transform(s, parcel, &wire_flags, payload, &len, packet);
        if (rc < 0)
            return rc;
        etcp_session_note_sent(s, len);
    }
    if (len > 0xffffffffu)
        return ETCP_ETOOBIG;
    packet->header_len = etcp_session_frame(s, packet->header, wire_flags, len);
    return 0;
}

int etcp_session_encode(etcp_session *s, unsigned flags, const uint8_t *payload, size_t len,
                        etcp_packet *packet)
{
    return encode(s, NULL, flags, payload, len, packet);
}

int etcp_session_encode_parcel(etcp_session *s, etcp_parcel *parcel, etcp_packet *packet)
{
    return encode(s, parcel, parcel->flags, parcel->payload, parcel->len, packet);
}

int etcp_session_encode_pieces(etcp_session *s, unsigned flags, const etcp_piece *pieces,
                               size_t count, size_t len, etcp_packet *packet)
{
    unsigned wire_flags = plain_flags(flags);
    int rc;

    if (!etcp_session_may_send(s))
        return ETCP_EINVAL;
    if (len > s->config->message_max || len > 0xffffffffu)
        return ETCP_ETOOBIG;
    if (s->transform.seal)
        return ETCP_IN_ONE_PLACE;
    etcp_buf_clear(&s->encoded);
    rc = etcp_session_compress_pieces(s, pieces, count, len, &s->encoded);
    if (rc < 0)
        return rc;
    if (rc == 0)
        etcp_buf_deinit(&s->encoded); /* not shorter, and maybe as large */
    s->gap = 0;
    memset(packet, 0, sizeof *packet);
    packet->is_borrowed = rc == 0;
    if (rc == 1) {
        wire_flags |= ETCP_FLAG_COMPRESSED;
        len = etcp_buf_len(&s->encoded);
        packet->body = etcp_buf_bytes(&s->encoded);
        packet->body_len = len;
    }
    packet->header_len = etcp_session_frame(s, packet->header, wire_flags, len);
    if (s->transform.compressor)
        etcp_session_note_sent(s, len);
    return 0;
}

void *etcp_session_encoded(const etcp_session *s)
{
    return s->encoded.data;
}

void etcp_session_give_encoded(etcp_session *s)
{
    etcp_buf_init(&s->encoded);
}
