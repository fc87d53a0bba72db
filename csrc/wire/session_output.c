/* What a session makes of messages that go out: packets, compressed and sealed as was agreed. */
#include "session.h"

#include <string.h>

#include "base/mem.h"
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

/* ---- sealing ----------------------------------------------------------------------------------- */

/* What a cipher puts in front of a message that it seals where it is; 0: it cannot, or there is none. */
static size_t header_of_cipher(const etcp_session *s)
{
    return s->transform.seal && s->transform.cipher->large ? s->transform.cipher->large->header_len : 0;
}

/* Empties a buffer but for some room. */
static int leave_room(etcp_buf *b, size_t len)
{
    etcp_buf_clear(b);
    if (len && etcp_buf_reserve(b, len) < 0)
        return ETCP_ENOMEM;
    etcp_buf_commit(b, len);
    return 0;
}

/* Seals what is in s->encoded behind its first header bytes, where it is. */
static int seal_there(etcp_session *s, etcp_seal_run *run, size_t header, int is_last)
{
    const size_t len = etcp_buf_len(&s->encoded) - header;
    int rc = etcp_buf_reserve_exact(&s->encoded, ETCP_SEALED_TAIL_MAX);

    if (rc == 0) {
        const uint8_t *bytes = etcp_buf_bytes(&s->encoded) + header;

        etcp_buf_clear(&s->encoded);
        rc = etcp_transform_seal_part(&s->transform, s->config, run, bytes, len, is_last, &s->encoded);
    }
    if (rc < 0)
        etcp_buf_wipe(&s->encoded); /* it holds clear text */
    return rc;
}

/* Goes on to what follows the next len bytes of a packet's rest, which are not needed any more. */
static void advance(etcp_packet *packet, size_t len)
{
    const etcp_piece *piece = packet->piece;

    if (piece)
        etcp_piece_forget(piece, (size_t)(packet->rest - piece->bytes), len);
    packet->rest += len;
    packet->rest_len -= len;
    if (piece && packet->rest_len && packet->rest == piece->bytes + piece->len)
        packet->rest = (++packet->piece)->bytes;
}

/* How much of the rest lies where it begins. */
static size_t rest_in_place(const etcp_packet *packet)
{
    const etcp_piece *piece = packet->piece;

    return piece ? piece->len - (size_t)(packet->rest - piece->bytes) : packet->rest_len;
}

/* Seals len bytes that lie in several pieces. */
static int seal_gathered(etcp_session *s, etcp_packet *packet, size_t len, int is_last)
{
    const size_t header = packet->run.begun ? 0 : header_of_cipher(s);
    int rc = leave_room(&s->encoded, header);

    while (rc == 0 && len) {
        const size_t some = rest_in_place(packet) < len ? rest_in_place(packet) : len;

        rc = etcp_buf_append(&s->encoded, packet->rest, some);
        advance(packet, some);
        len -= some;
    }
    return rc < 0 ? rc : seal_there(s, &packet->run, header, is_last);
}

static int seal_next(etcp_session *s, etcp_packet *packet, size_t len)
{
    const int is_last = len == packet->rest_len;
    int rc;

    if (rest_in_place(packet) < len)
        return seal_gathered(s, packet, len, is_last);
    etcp_buf_clear(&s->encoded);
    rc = etcp_transform_seal_part(&s->transform, s->config, &packet->run, packet->rest, len, is_last,
                                  &s->encoded);
    advance(packet, len);
    return rc;
}

int etcp_session_encode_rest(etcp_session *s, etcp_packet *packet)
{
    size_t len = packet->rest_len < 2 * PART ? packet->rest_len : PART;
    const uint64_t since = etcp_session_start_timing(s, len);
    const int rc = seal_next(s, packet, len);

    etcp_session_end_timing(s, since, len);
    packet->header_len = 0;
    packet->body = etcp_buf_bytes(&s->encoded);
    packet->body_len = etcp_buf_len(&s->encoded);
    return rc;
}

/* Seals the pieces, which are one if they are small, into s->encoded: all of them, or the first part.
 * Stores the length of the whole sealed form. */
static int seal(etcp_session *s, const etcp_piece *pieces, size_t len, etcp_packet *packet,
                size_t *sealed_len)
{
    const etcp_cipher *cipher = s->transform.cipher;
    int rc;

    etcp_buf_clear(&s->encoded);
    if (len < 2 * PART || !cipher->large) {
        const uint64_t since = etcp_session_start_timing(s, len);

        rc = etcp_transform_seal(&s->transform, s->config, pieces->bytes, len, &s->encoded);
        etcp_session_end_timing(s, since, len);
        *sealed_len = etcp_buf_len(&s->encoded);
        return rc;
    }
    *sealed_len = cipher->large->sealed_len(s->transform.seal, len);
    if (*sealed_len == 0)
        return ETCP_ETOOBIG;
    packet->piece = pieces;
    packet->rest = pieces->bytes;
    packet->rest_len = len;
    return etcp_session_encode_rest(s, packet);
}

/* ---- messages ---------------------------------------------------------------------------------- */

/* Compressing did not pay, or failed, with this result: nobody may find clear text in out that is to be
 * sealed, and it may be as large as the message. */
static void drop_compressed(const etcp_session *s, int rc, size_t header, etcp_buf *out)
{
    if (s->transform.seal && rc < 0) {
        etcp_buf_wipe(out);
    } else if (s->transform.seal && etcp_buf_len(out) > header) {
        etcp_wipe(out->data, out->end); /* which is all that was used */
        etcp_buf_deinit(out);
    } else if (etcp_buf_len(out) > PART) {
        etcp_buf_deinit(out);
    }
}

/* Compresses len bytes in so many pieces behind header bytes of room in out. Returns as
 * etcp_session_compress. */
static int compress(etcp_session *s, const etcp_piece *pieces, size_t count, size_t len, size_t header,
                    etcp_buf *out)
{
    int rc;

    if (!s->transform.compressor || len < ETCP_ADAPT_MIN)
        return 0;
    rc = leave_room(out, header);
    if (rc == 0 && count == 1)
        rc = etcp_session_compress(s, pieces->bytes, len, out);
    else if (rc == 0)
        rc = etcp_session_compress_pieces(s, pieces, count, len, out);
    if (rc != 1)
        drop_compressed(s, rc, header, out);
    return rc;
}

/* Seals what compress() made of a message and put into from: where it is, or where it is not for a
 * cipher that cannot. Stores its length. */
static int seal_compressed(etcp_session *s, etcp_buf *from, size_t header, etcp_packet *packet,
                           size_t *len)
{
    const size_t plain = etcp_buf_len(from) - header;
    const uint64_t since = etcp_session_start_timing(s, plain);
    int rc;

    if (from == &s->encoded)
        rc = seal_there(s, &packet->run, header, 1);
    else
        rc = etcp_transform_seal(&s->transform, s->config, etcp_buf_bytes(from), plain, &s->encoded);
    etcp_session_end_timing(s, since, plain);
    *len = etcp_buf_len(&s->encoded);
    return rc;
}

/* Makes of a message what agreed transforms make of it, in s->encoded: all of it or its beginning.
 * *flags tells what was done, *len how long it becomes. */
static int transform(etcp_session *s, const etcp_piece *pieces, size_t count, unsigned *flags,
                     size_t *len, etcp_packet *packet)
{
    const size_t header = header_of_cipher(s);
    etcp_buf apart; /* what a cipher seals that cannot do so in place */
    etcp_buf *to = s->transform.seal && !header ? &apart : &s->encoded;
    int rc;

    etcp_buf_init(&apart);
    rc = compress(s, pieces, count, *len, header, to);
    if (rc == 1) {
        *flags |= ETCP_FLAG_COMPRESSED;
        *len = etcp_buf_len(to);
    }
    packet->is_borrowed = !s->transform.seal && rc == 0;
    if (rc >= 0 && s->transform.seal) {
        *flags |= ETCP_FLAG_ENCRYPTED;
        rc = rc == 1 ? seal_compressed(s, to, header, packet, len)
                     : seal(s, pieces, *len, packet, len);
    }
    etcp_buf_wipe(&apart);
    if (packet->is_borrowed)
        return rc;
    packet->body = etcp_buf_bytes(&s->encoded);
    packet->body_len = etcp_buf_len(&s->encoded);
    return rc < 0 ? rc : 0;
}

/* The same of a parcel, which keeps its compressed forms. */
static int transform_parcel(etcp_session *s, etcp_parcel *parcel, unsigned *flags, size_t *len,
                            etcp_packet *packet)
{
    etcp_piece whole = {parcel->payload, parcel->len, NULL, NULL, 0};
    const etcp_buf *form;
    int rc = etcp_session_form(s, parcel, &form);

    if (rc < 0)
        return rc;
    if (rc == 1) {
        *flags |= ETCP_FLAG_COMPRESSED;
        whole.bytes = etcp_buf_bytes(form);
        *len = whole.len = etcp_buf_len(form);
    }
    packet->body = whole.bytes;
    packet->body_len = whole.len;
    if (!s->transform.seal)
        return 0;
    *flags |= ETCP_FLAG_ENCRYPTED;
    packet->is_borrowed = 0;
    rc = seal(s, &whole, *len, packet, len);
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

/* Whether a message may be sent, and goes out on the wire at all. */
static inline int check(const etcp_session *s, size_t len)
{
    if (!etcp_session_may_send(s))
        return ETCP_EINVAL;
    return len > s->config->message_max ? ETCP_ETOOBIG : 0;
}

/* Begins the packet of a message that goes as it is. */
static inline void begin_packet(etcp_session *s, const uint8_t *body, size_t len, etcp_packet *packet)
{
    s->gap = 0;
    packet->body = body;
    packet->body_len = len;
    packet->is_borrowed = 1;
    packet->rest_len = 0;
    packet->piece = NULL;
    packet->run.begun = 0;
}

static inline int has_transform(const etcp_session *s)
{
    return s->transform.seal || s->transform.compressor;
}

/* Writes the header, when the body is known to become len bytes. */
static inline int end_packet(etcp_session *s, unsigned flags, size_t len, etcp_packet *packet)
{
    if (len > 0xffffffffu)
        return ETCP_ETOOBIG;
    packet->header_len = etcp_session_frame(s, packet->header, flags, len);
    return 0;
}

int etcp_session_encode(etcp_session *s, unsigned flags, const uint8_t *payload, size_t len,
                        etcp_packet *packet)
{
    unsigned wire_flags = plain_flags(flags);
    int rc = check(s, len);

    if (rc < 0)
        return rc;
    begin_packet(s, payload, len, packet);
    if (has_transform(s) && !must_go_plain(s, payload, len)) {
        const etcp_piece whole = {payload, len, NULL, NULL, 0};

        rc = transform(s, &whole, 1, &wire_flags, &len, packet);
        packet->piece = NULL;
        if (rc < 0)
            return rc;
        etcp_session_note_sent(s, len);
    }
    return end_packet(s, wire_flags, len, packet);
}

int etcp_session_encode_parcel(etcp_session *s, etcp_parcel *parcel, etcp_packet *packet)
{
    unsigned wire_flags = plain_flags(parcel->flags);
    size_t len = parcel->len;
    int rc = check(s, len);

    if (rc < 0)
        return rc;
    begin_packet(s, parcel->payload, len, packet);
    if (has_transform(s) && !must_go_plain(s, parcel->payload, len)) {
        rc = transform_parcel(s, parcel, &wire_flags, &len, packet);
        packet->piece = NULL;
        if (rc < 0)
            return rc;
        etcp_session_note_sent(s, len);
    }
    return end_packet(s, wire_flags, len, packet);
}

int etcp_session_encode_pieces(etcp_session *s, unsigned flags, const etcp_piece *pieces,
                               size_t count, size_t len, etcp_packet *packet)
{
    unsigned wire_flags = plain_flags(flags);
    int rc = check(s, len);

    if (rc < 0)
        return rc;
    if (s->transform.seal && (len < 2 * PART || !s->transform.cipher->large))
        return ETCP_IN_ONE_PLACE;
    begin_packet(s, NULL, 0, packet);
    if (has_transform(s)) {
        rc = transform(s, pieces, count, &wire_flags, &len, packet);
        if (rc < 0)
            return rc;
        etcp_session_note_sent(s, len);
    }
    return end_packet(s, wire_flags, len, packet);
}

void *etcp_session_encoded(const etcp_session *s)
{
    return s->encoded.data;
}

void etcp_session_give_encoded(etcp_session *s)
{
    etcp_buf_init(&s->encoded);
}
