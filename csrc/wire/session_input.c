/* What a session makes of the bytes that come in: packets, negotiation steps, messages. */
#include "session.h"

#include <string.h>

#include "base/mem.h"
#include "base/rare.h"
#include "capability.h"
#include "frame.h"
#include "negotiate.h"
#include "state.h"
#include "transform.h"

enum {
    PACKETS_MAX = 100,       /* of one negotiation; originals need some 30 with every module */
    FIRST_WINDOW = 65536,    /* what a large payload gets before any of it has come */
    WINDOW_MIN = 4096,       /* below this, reading in place is not worth a call */
    SEALED_OVERHEAD_MAX = 64 /* header and padding of the containers */
};

/* Of a packet on the wire: sums of sizes must not overflow where size_t has 32 bits. */
#define PACKET_MAX (SIZE_MAX / 8)

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- packets in ----------------------------------------------------------------------------- */

static int fail(etcp_session *s, int code)
{
    return etcp_error_set(&s->error, code, "%s", etcp_code_text(code));
}

static int refuses_plain(const etcp_session *s)
{
    return s->transform.cipher &&
           (!etcp_session_peer_is_old(s) || (s->config->flags & ETCP_REFUSE_PLAINTEXT));
}

/* How long a packet may be on the wire so that its message can be within the limit. */
static size_t wire_max(const etcp_session *s, const etcp_frame *frame)
{
    size_t max = s->config->message_max;

    if (!(frame->flags & ETCP_FLAG_REAL))
        return s->config->negotiation_packet_max;
    if (max > PACKET_MAX)
        max = PACKET_MAX;
    if (!(frame->flags & ETCP_FLAG_ENCRYPTED) || !s->transform.cipher)
        return max;
    if (!(s->transform.cipher->flags & ETCP_CIPHER_SYMMETRIC))
        max *= 3; /* 22 bytes become 64 */
    return max + SEALED_OVERHEAD_MAX;
}

/* Whether a packet is what most are: a message that nothing was done to, where nothing was agreed. */
static inline int is_usual(const etcp_session *s, const etcp_frame *frame)
{
    const unsigned kind = ETCP_FLAG_REAL | ETCP_FLAG_ENCRYPTED | ETCP_FLAG_COMPRESSED;

    return (frame->flags & kind) == ETCP_FLAG_REAL && !s->transform.cipher && !s->negotiation &&
           frame->len <= s->config->message_max && frame->len <= PACKET_MAX;
}

/* Judges a packet by its header, before any of it is kept. */
static int check_frame(etcp_session *s, const etcp_frame *frame)
{
    if ((frame->flags & ETCP_FLAG_REAL) && s->negotiation)
        return etcp_error_set(&s->error, ETCP_EPROTO, "Data before the negotiation was over");
    if (frame->len > wire_max(s, frame))
        return etcp_error_set(&s->error, ETCP_ETOOBIG, "A packet of %lu bytes exceeds the limit",
                              (unsigned long)frame->len);
    if (!(frame->flags & ETCP_FLAG_REAL) && !s->negotiation)
        return 0; /* will be ignored, whatever it is */
    if ((frame->flags & ETCP_FLAG_ENCRYPTED) && !s->transform.open)
        return etcp_error_set(&s->error, ETCP_EPROTO, "An encrypted packet, but no cipher agreed");
    if ((frame->flags & ETCP_FLAG_COMPRESSED) && !s->transform.compressor)
        return etcp_error_set(&s->error, ETCP_EPROTO,
                              "A compressed packet, but no compressor agreed");
    if ((frame->flags & ETCP_FLAG_REAL) && !(frame->flags & ETCP_FLAG_ENCRYPTED) &&
        refuses_plain(s))
        return etcp_error_set(&s->error, ETCP_EPOLICY,
                              "An unencrypted message on an encrypted connection");
    return 0;
}

static inline int parse_frame(etcp_session *s, const uint8_t *bytes, size_t len, etcp_frame *frame)
{
    int rc = etcp_frame_parse(bytes, len, frame);

    if (rc == ETCP_EPROTO)
        return etcp_error_set(&s->error, ETCP_EPROTO, "The peer's packets are out of step");
    return rc < 0 || is_usual(s, frame) ? rc : check_frame(s, frame);
}

static int cannot_decode(etcp_session *s, int code)
{
    return etcp_error_set(&s->error, code, "A packet could not be decoded: %s",
                          etcp_code_text(code));
}

/* Undoes what the packet's flags say, into s->decoded. *bytes and *len are replaced. Errors are not
 * recorded. */
static int decode(etcp_session *s, unsigned flags, size_t max, const uint8_t **bytes, size_t *len)
{
    etcp_buf opened;
    int rc = 0;

    etcp_buf_init(&opened);
    etcp_buf_clear(&s->decoded);
    if (flags & ETCP_FLAG_ENCRYPTED) {
        etcp_buf *to = flags & ETCP_FLAG_COMPRESSED ? &opened : &s->decoded;

        rc = etcp_transform_open(&s->transform, *bytes, *len, to);
        *bytes = etcp_buf_bytes(to);
        *len = etcp_buf_len(to);
    }
    if (rc == 0 && (flags & ETCP_FLAG_COMPRESSED)) {
        rc = etcp_transform_decompress(&s->transform, s->config, *bytes, *len, max, &s->decoded);
        *bytes = etcp_buf_bytes(&s->decoded);
        *len = etcp_buf_len(&s->decoded);
    }
    etcp_buf_wipe(&opened);
    return rc == 0 && *len > max ? ETCP_ETOOBIG : rc;
}

/* Whether decrypting a packet of that size would keep others waiting. */
static int is_slow_to_open(const etcp_session *s, unsigned flags, size_t len)
{
    if (!(flags & ETCP_FLAG_ENCRYPTED))
        return 0;
    return len > (s->transform.cipher->flags & ETCP_CIPHER_SYMMETRIC ? ETCP_OPEN_AT_ONCE
                                                                     : ETCP_OPEN_SLOWLY);
}

/* What is long takes long, even if little or nothing comes out of it. */
static int is_slow_to_decompress(unsigned flags, size_t len)
{
    return (flags & ETCP_FLAG_COMPRESSED) && len > ETCP_STEP_INPUT;
}

/* Has a message decoded in steps, in memory of the session's own. */
static int unpack(etcp_session *s, unsigned flags, const uint8_t *bytes, size_t len,
                  etcp_event *event)
{
    const size_t kept = etcp_buf_len(&s->input);
    size_t start = 0;
    int rc;

    if (kept && bytes >= etcp_buf_bytes(&s->input) && bytes < etcp_buf_bytes(&s->input) + kept)
        start = (size_t)(bytes - s->input.data);
    else if (etcp_buf_append(&s->input, bytes, len) < 0)
        return fail(s, ETCP_ENOMEM);
    s->spent = 1;
    rc = etcp_session_unpack_later(s, flags, s->input.data + start, len);
    return rc < 0 ? rc : etcp_session_unpack(s, event);
}

static inline int give_message(etcp_event *event, unsigned flags, const uint8_t *bytes, size_t len)
{
    event->type = ETCP_EVENT_MESSAGE;
    event->flags = flags & ETCP_FLAG_COMPLEX ? ETCP_MESSAGE_COMPLEX : 0;
    event->data = bytes;
    event->len = len;
    event->payload = NULL;
    return 1;
}

static int take_message(etcp_session *s, unsigned flags, const uint8_t *bytes, size_t len,
                        etcp_event *event)
{
    if (flags & (ETCP_FLAG_ENCRYPTED | ETCP_FLAG_COMPRESSED)) {
        size_t max = s->config->message_max;
        const uint8_t *decoded = bytes;
        size_t decoded_len = len;
        int rc;

        if (is_slow_to_open(s, flags, len) || is_slow_to_decompress(flags, len))
            return unpack(s, flags, bytes, len, event);
        rc = decode(s, flags, smaller(max, ETCP_UNPACK_STEP), &decoded, &decoded_len);
        if (rc == ETCP_ETOOBIG && max > ETCP_UNPACK_STEP)
            return unpack(s, flags, bytes, len, event);
        if (rc < 0)
            return cannot_decode(s, rc);
        bytes = decoded;
        len = decoded_len;
    }
    return give_message(event, flags, bytes, len);
}

static int give_event(etcp_event *event, etcp_event_type type)
{
    memset(event, 0, sizeof *event);
    event->type = type;
    return 1;
}

static int take_command(etcp_session *s, unsigned flags, const uint8_t *bytes, size_t len,
                        etcp_event *event)
{
    etcp_fields fields;
    int rc;

    if (!s->negotiation)
        return 0; /* PF, NO and the like come too late to mean anything */
    if (++s->negotiation->packets > PACKETS_MAX)
        return etcp_error_set(&s->error, ETCP_EPROTO, "The negotiation does not end");
    rc = decode(s, flags, s->config->negotiation_packet_max, &bytes, &len);
    if (rc < 0)
        return cannot_decode(s, rc);
    etcp_fields_split(&fields, bytes, len);
    rc = s->config->role == ETCP_ROLE_SERVER ? etcp_server_take(s, &fields)
                                             : etcp_client_take(s, &fields);
    if (rc <= 0)
        return rc;
    return give_event(event, rc == ETCP_TAKEN_TLS    ? ETCP_EVENT_TLS
                             : rc == ETCP_TAKEN_LATE ? ETCP_EVENT_SETTLED
                                                     : ETCP_EVENT_READY);
}

static int take_other(etcp_session *s, const etcp_frame *frame, const uint8_t *payload,
                      etcp_event *event)
{
    if (frame->flags & ETCP_FLAG_REAL)
        return take_message(s, frame->flags, payload, frame->len, event);
    if (s->negotiation && s->negotiation->packets == 0) {
        int rc =
            etcp_capability_record(s, payload - frame->header_len, frame->header_len + frame->len);

        if (rc < 0)
            return rc;
    }
    return take_command(s, frame->flags, payload, frame->len, event);
}

/* Returns 1 (*event is filled), 0 (nothing for the user), or a negative code, recorded. */
static inline int take_packet(etcp_session *s, const etcp_frame *frame, const uint8_t *payload,
                              etcp_event *event)
{
    return is_usual(s, frame) ? give_message(event, frame->flags, payload, frame->len)
                              : take_other(s, frame, payload, event);
}

/* ---- large payloads ------------------------------------------------------------------------- */

/* Plain messages are what arrives; ciphers can open one where it lies. */
static int wants_own_memory(const etcp_session *s, const etcp_frame *frame)
{
    if (!s->config->payload_ops || frame->len < s->config->payload_threshold ||
        !(frame->flags & ETCP_FLAG_REAL) || (frame->flags & ETCP_FLAG_COMPRESSED))
        return 0;
    return 1;
}

static int begin_incoming(etcp_session *s, const etcp_frame *frame, size_t available)
{
    const etcp_config *config = s->config;
    etcp_incoming *in = etcp_zalloc(sizeof *in);

    if (!in)
        return fail(s, ETCP_ENOMEM);
    in->flags = frame->flags;
    in->len = frame->len;
    in->cap = available < FIRST_WINDOW ? FIRST_WINDOW : available;
    if (in->cap > in->len)
        in->cap = in->len;
    in->handle = config->payload_ops->create(config->payload_arg, in->cap, &in->data);
    s->incoming = in;
    return in->handle ? 0 : fail(s, ETCP_ENOMEM);
}

/* Makes room where there is none: twice what has really come. */
static int grow_incoming(etcp_session *s)
{
    const etcp_config *config = s->config;
    etcp_incoming *in = s->incoming;
    size_t cap = in->cap > in->len / 2 ? in->len : 2 * in->cap;
    uint8_t *data;

    if (in->have < in->cap || in->have == in->len)
        return 0;
    data = config->payload_ops->grow(config->payload_arg, in->handle, cap);
    if (!data)
        return fail(s, ETCP_ENOMEM);
    in->data = data;
    in->cap = cap;
    return 0;
}

/* Hands out the large payload, which is whole. */
static int take_incoming(etcp_session *s, etcp_event *event)
{
    etcp_incoming *in = s->incoming;

    if (in->flags & ETCP_FLAG_ENCRYPTED) {
        int rc = etcp_session_unpack_later(s, in->flags, in->data, in->len);

        return rc < 0 ? rc : etcp_session_unpack(s, event);
    }
    (void)give_message(event, in->flags, in->data, in->len);
    event->payload = in->handle;
    in->handle = NULL;
    etcp_session_drop_incoming(s);
    return 1;
}

/* Takes input into the large payload; hands it out when it is whole. */
static int feed_incoming(etcp_session *s, const uint8_t **input, const uint8_t *end,
                         etcp_event *event)
{
    etcp_incoming *in = s->incoming;

    while (in->have < in->len && *input < end) {
        size_t part;
        int rc = grow_incoming(s);

        if (rc < 0)
            return rc;
        part = smaller(in->cap - in->have, (size_t)(end - *input));
        memcpy(in->data + in->have, *input, part);
        in->have += part;
        *input += part;
    }
    return in->have < in->len ? 0 : take_incoming(s, event);
}

/* ---- input ---------------------------------------------------------------------------------- */

/* Drops the packet that was handed out last, and with it the memory. */
static void drop_spent(etcp_session *s)
{
    if (!s->spent || s->unpacking)
        return;
    etcp_buf_deinit(&s->input);
    s->spent = 0;
}

static int keep(etcp_session *s, const uint8_t **input, size_t len)
{
    if (etcp_buf_append(&s->input, *input, len) < 0)
        return fail(s, ETCP_ENOMEM);
    *input += len;
    return 0;
}

/* Takes a packet that lies in the input as a whole, in place; keeps one that does not. */
static inline int next_in_place(etcp_session *s, const uint8_t **input, const uint8_t *end,
                         etcp_event *event)
{
    const uint8_t *packet = *input;
    size_t len = (size_t)(end - packet);
    etcp_frame frame;
    int rc = parse_frame(s, packet, len, &frame);

    if (rc == ETCP_AGAIN)
        return keep(s, input, len);
    if (rc < 0)
        return rc;
    if (len - frame.header_len >= frame.len) {
        *input += frame.header_len + frame.len;
        return take_packet(s, &frame, packet + frame.header_len, event);
    }
    if (!wants_own_memory(s, &frame))
        return keep(s, input, len);
    *input += frame.header_len;
    rc = begin_incoming(s, &frame, (size_t)(end - *input));
    return rc < 0 ? rc : feed_incoming(s, input, end, event);
}

/* Completes the header in s->input. Returns 0, ETCP_AGAIN, or a recorded error. */
static int complete_header(etcp_session *s, const uint8_t **input, const uint8_t *end,
                           etcp_frame *frame)
{
    for (;;) {
        int rc = parse_frame(s, etcp_buf_bytes(&s->input), etcp_buf_len(&s->input), frame);

        if (rc != ETCP_AGAIN || *input == end)
            return rc;
        rc = keep(s, input, 1);
        if (rc < 0)
            return rc;
    }
}

/* Goes on with the packet whose beginning is in s->input. */
static int next_kept(etcp_session *s, const uint8_t **input, const uint8_t *end, etcp_event *event)
{
    etcp_frame frame;
    size_t total;
    int rc = complete_header(s, input, end, &frame);

    if (rc < 0)
        return rc == ETCP_AGAIN ? 0 : rc;
    total = frame.header_len + frame.len;
    if (etcp_buf_len(&s->input) == frame.header_len && wants_own_memory(s, &frame)) {
        etcp_buf_deinit(&s->input);
        rc = begin_incoming(s, &frame, (size_t)(end - *input));
        return rc < 0 ? rc : feed_incoming(s, input, end, event);
    }
    rc = keep(s, input, smaller(total - etcp_buf_len(&s->input), (size_t)(end - *input)));
    if (rc < 0 || etcp_buf_len(&s->input) < total)
        return rc;
    s->spent = 1;
    return take_packet(s, &frame, etcp_buf_bytes(&s->input) + frame.header_len, event);
}

static int next_packet(etcp_session *s, const uint8_t **input, const uint8_t *end,
                       etcp_event *event)
{
    if (s->unpacking)
        return etcp_session_unpack(s, event);
    if (s->incoming)
        return feed_incoming(s, input, end, event);
    if (etcp_buf_len(&s->input) > 0)
        return next_kept(s, input, end, event);
    return next_in_place(s, input, end, event);
}

/* The connection may be silent for hours now: keep nothing it does not need. */
static void drop_transformed(etcp_session *s)
{
    if (s->decoded.data)
        etcp_buf_wipe(&s->decoded);
    if (s->encoded.data)
        etcp_buf_deinit(&s->encoded); /* what everybody could read on the wire */
}

/* What stands behind the welcome packet, before the client answered it, is from somebody who wants
 * it to be taken for the inside of TLS. */
static int check_switch(etcp_session *s, int is_input_used_up)
{
    if (s->config->role == ETCP_ROLE_SERVER || is_input_used_up)
        return 1;
    etcp_buf_clear(&s->output);
    return etcp_error_set(&s->error, ETCP_EPROTO, "Clear text behind the offer of TLS");
}

/* Nearly every call is for a small message that lies in the input as a whole, where nothing was agreed
 * and nothing is under way. Takes it as the functions above would, by one look at all that they ask for
 * one after the other. Returns 0, and changes nothing, if any of that is otherwise. */
int etcp_session_next_usual(etcp_session *s, const uint8_t **input, const uint8_t *end,
                            etcp_event *event)
{
    const unsigned kind =
        ETCP_FLAG_ALWAYS_ON | ETCP_FLAG_REAL | ETCP_FLAG_ENCRYPTED | ETCP_FLAG_COMPRESSED;
    const uint8_t *packet = *input;
    const size_t len = (size_t)(end - packet);

    if (len < 3 || (packet[0] & kind) != (ETCP_FLAG_ALWAYS_ON | ETCP_FLAG_REAL) || packet[1] != 1 ||
        packet[2] > len - 3 || packet[2] > s->config->message_max)
        return 0;
    if (s->error.code || s->negotiation || s->transform.cipher || s->unpacking || s->incoming ||
        s->spent || etcp_buf_len(&s->input) > 0)
        return 0;
    *input = packet + 3 + packet[2];
    return give_message(event, packet[0], packet + 3, packet[2]);
}

int etcp_session_next(etcp_session *s, const uint8_t **input, const uint8_t *end, etcp_event *event)
{
    if (s->error.code)
        return s->error.code;
    if (s->negotiation && s->negotiation->unannounced) {
        s->negotiation->unannounced = 0;
        return give_event(event, ETCP_EVENT_READY);
    }
    for (;;) {
        int rc;

        drop_spent(s);
        if (*input == end && !s->incoming && etcp_buf_len(&s->input) == 0)
            break;
        rc = next_packet(s, input, end, event);
        if (rc == 1 && event->type == ETCP_EVENT_TLS)
            return check_switch(s, *input == end);
        if (rc != 0)
            return rc;
        if (*input == end && !s->spent)
            break;
    }
    drop_transformed(s);
    return 0;
}

/* ---- reading in place ----------------------------------------------------------------------- */

/* How many bytes of the packet in s->input are missing; 0 when even its header is not whole. */
static size_t missing_input(const etcp_session *s)
{
    size_t len = etcp_buf_len(&s->input);
    etcp_frame frame;

    if (etcp_frame_parse(etcp_buf_bytes(&s->input), len, &frame) < 0)
        return 0;
    return frame.header_len + frame.len - len;
}

static ETCP_RARE size_t open_window(etcp_session *s, uint8_t **where)
{
    etcp_incoming *in = s->incoming;
    size_t missing;

    if (s->error.code || s->unpacking)
        return 0;
    if (in) {
        if (grow_incoming(s) < 0)
            return 0;
        *where = in->data + in->have;
        return in->cap - in->have;
    }
    missing = missing_input(s);
    if (missing < WINDOW_MIN)
        return 0;
    if (etcp_buf_reserve(&s->input, smaller(missing, FIRST_WINDOW)) < 0) {
        (void)fail(s, ETCP_ENOMEM);
        return 0;
    }
    *where = etcp_buf_tail(&s->input);
    return smaller(missing, etcp_buf_room(&s->input));
}

size_t etcp_session_window(etcp_session *s, uint8_t **where)
{
    if (!s->incoming && (etcp_buf_len(&s->input) == 0 || s->spent))
        return 0; /* between two packets, as most often */
    return open_window(s, where);
}

void etcp_session_commit(etcp_session *s, size_t len)
{
    if (s->incoming)
        s->incoming->have += len;
    else
        etcp_buf_commit(&s->input, len);
}

static ETCP_RARE int is_any_whole(const uint8_t *bytes, size_t len, size_t total)
{
    etcp_frame frame;
    int rc = etcp_frame_parse(bytes, len, &frame);

    if (rc < 0)
        return rc != ETCP_AGAIN;
    /* In two steps: the sum may not fit where size_t has 32 bits. */
    return total >= frame.header_len && total - frame.header_len >= frame.len;
}

/* Whether total bytes, of which the first len are at bytes, begin with a whole packet. */
static inline int is_whole(const uint8_t *bytes, size_t len, size_t total)
{
    if (len >= 3 && (bytes[0] & ETCP_FLAG_ALWAYS_ON) && bytes[1] == 1)
        return bytes[2] <= total - 3;
    return is_any_whole(bytes, len, total);
}

/* The same for what is kept in s->input with input[0..len) behind it. */
static ETCP_RARE int completes_kept(const etcp_session *s, const uint8_t *input, size_t len)
{
    uint8_t header[ETCP_FRAME_HEADER_MAX];
    size_t kept = etcp_buf_len(&s->input);
    size_t header_len = smaller(kept, sizeof header);
    size_t more = smaller(len, sizeof header - header_len);

    memcpy(header, etcp_buf_bytes(&s->input), header_len);
    if (more)
        memcpy(header + header_len, input, more);
    return is_whole(header, header_len + more, kept + len);
}

static ETCP_RARE int has_packet_in_parts(const etcp_session *s, const uint8_t *input, size_t len)
{
    if (s->error.code || s->unpacking)
        return 1;
    if (s->incoming)
        return s->incoming->len - s->incoming->have <= len;
    return s->spent ? is_whole(input, len, len) : completes_kept(s, input, len);
}

int etcp_session_has_packet(const etcp_session *s, const uint8_t *input, const uint8_t *end)
{
    const size_t len = (size_t)(end - input);

    if (s->error.code || s->unpacking || s->incoming || etcp_buf_len(&s->input) > 0)
        return has_packet_in_parts(s, input, len);
    return is_whole(input, len, len);
}

void etcp_session_end_of_input(etcp_session *s)
{
    if (s->negotiation)
        (void)etcp_error_set(&s->error, ETCP_ECLOSED, "Socket closed when attempted reading");
}

/* ---- what is held ---------------------------------------------------------------------------- */

size_t etcp_session_held(const etcp_session *s)
{
    size_t held = etcp_buf_len(&s->input) + etcp_buf_len(&s->decoded);

    if (s->incoming)
        held += s->incoming->have;
    return s->unpacking ? held + s->unpacking->run.len : held;
}

void etcp_session_drop_input(etcp_session *s)
{
    etcp_session_drop_unpacking(s);
    etcp_session_drop_incoming(s);
    etcp_buf_deinit(&s->input);
    s->spent = 0;
}
