/* The inside of a session, for the files of csrc/wire/ only. */
#ifndef ETCP_WIRE_STATE_H
#define ETCP_WIRE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "adapt.h"
#include "frame.h"
#include "negotiate.h"
#include "parcel.h"
#include "session.h"
#include "transform.h"

/* Below this, a release is one of the originals, whose weaknesses need care. Versions are only
 * known from VE packets; 0 (unknown) is an original too. */
#define ETCP_FIRST_NEW_VERSION ETCP_VERSION(1, 0)

enum { ETCP_VERSION_TEXT_MAX = 16 };

/* A large plain payload on its way into the user's own memory. */
typedef struct etcp_incoming {
    void *handle;
    uint8_t *data;
    size_t have;
    size_t cap;
    size_t len;
    unsigned flags; /* of its packet */
} etcp_incoming;

enum {
    ETCP_UNPACK_STEP = 1 << 20,   /* bytes that decompressing yields in one step */
    ETCP_OPEN_AT_ONCE = 1 << 16,  /* sealed bytes that are opened in one step ... */
    ETCP_OPEN_SLOWLY = 1 << 12    /* ... and those of Crypt::RSA */
};

/* A message that takes several steps to decrypt or decompress. */
typedef struct etcp_unpacking {
    unsigned flags; /* of its packet, without what is undone */
    uint8_t *bytes; /* as it came, in the session's input or its large payload */
    size_t len;
    etcp_open_run open;
    const etcp_compressor *row; /* of what is in bytes then; NULL: nothing was decompressed yet */
    size_t forgotten; /* of bytes, which are not needed any more */
    etcp_unpack_run run;
    size_t room;  /* at run.out, of which a step gets a part */
    void *handle; /* of payload_ops: has run.out; NULL: the session's decoded has it */
} etcp_unpacking;

struct etcp_session {
    etcp_config *config;           /* a reference of ours */
    etcp_negotiation *negotiation; /* NULL once ready: an idle session is small */
    etcp_transform transform;
    etcp_buf input;   /* what came of the packet that is still incomplete */
    etcp_buf decoded; /* the last message, if it came transformed */
    etcp_buf encoded; /* the last packet encoded, if it went transformed */
    etcp_buf output;
    etcp_adapt
        *adapt; /* NULL until the first message that may be compressed, and unless asked for */
    etcp_path_fn ask_path; /* NULL: nobody can tell */
    void *ask_arg;
    etcp_incoming *incoming; /* NULL: no large payload is under way */
    etcp_unpacking *unpacking; /* NULL: no message is being decoded in steps */
    uint32_t peer_version;   /* see ETCP_VERSION; 0: unknown */
    char peer_version_text[ETCP_VERSION_TEXT_MAX];
    uint16_t peer_can; /* what the peer can receive, ETCP_CAN_... */
    uint16_t told;     /* what the peer was told that we can */
    uint8_t authenticated;
    uint8_t in_tunnel;      /* all of it goes through TLS that the peer itself knows nothing of */
    uint8_t keeps_password; /* and nothing proved whose TLS that is */
    uint8_t was_chance;     /* see etcp_session_was_chance */
    uint8_t spent;          /* input holds a packet that was handed out already */
    uint8_t gap;            /* see etcp_session_wants_gap */
    etcp_error error;
};

/* Whether messages may be sent: the negotiation is over, or all that is missing is an answer that
 * cannot change anything. */
static inline int etcp_session_may_send(const etcp_session *s)
{
    return !s->negotiation || s->negotiation->is_early;
}

/* The options of the user that count for this session. Inside TLS there is no other TLS, and no
 * cipher is needed. */
static inline unsigned etcp_session_flags(const etcp_session *s)
{
    unsigned flags = s->config->flags;

    if (!s->in_tunnel)
        return flags;
    if (flags & ETCP_REQUIRE_PASSWORD_IN_TLS)
        flags |= ETCP_REQUIRE_PASSWORD;
    flags &=
        ~(unsigned)(ETCP_ALLOW_TLS | ETCP_REQUIRE_TLS | ETCP_SPOKE_TLS | ETCP_REQUIRE_ENCRYPTION);
    return flags | ETCP_DONOT_ENCRYPT;
}

static inline int etcp_session_peer_is_old(const etcp_session *s)
{
    return s->peer_version < ETCP_FIRST_NEW_VERSION;
}

/* Writes the header of a packet to this peer; returns its size. Only clients of 0.26 need the
 * uneven one, but the first packets go out before the version is known. */
static inline size_t etcp_session_frame(const etcp_session *s, uint8_t out[ETCP_FRAME_HEADER_MAX],
                                        unsigned flags, size_t len)
{
    if (s->config->role == ETCP_ROLE_SERVER && etcp_session_peer_is_old(s))
        return etcp_frame_encode_uneven(out, flags, len);
    return etcp_frame_encode(out, flags, len);
}

/* Appends payload compressed to out if that is worth it, or should be tried (session_compress.c).
 * Returns 1 if that is shorter, 0 if the payload goes as it is, or ETCP_ENOMEM, ETCP_ETOOBIG. */
int etcp_session_compress(etcp_session *s, const uint8_t *payload, size_t len, etcp_buf *out);

/* The same for a payload in pieces. */
int etcp_session_compress_pieces(etcp_session *s, const etcp_piece *pieces, size_t count,
                                 size_t len, etcp_buf *out);

/* As etcp_session_compress for a parcel: *out is the form that this session sends of it, made by the
 * first who needs it, and the parcel's. */
int etcp_session_form(etcp_session *s, etcp_parcel *p, const etcp_buf **out);

/* Tells the estimates of this session, if there are any, what a message became on the wire. */
static inline void etcp_session_note_sent(etcp_session *s, size_t wire)
{
    if (s->adapt)
        etcp_adapt_sent(s->adapt, wire);
}

/* Microseconds for measuring what sealing costs; 0: it is not to be measured. And the result. */
uint64_t etcp_session_start_timing(const etcp_session *s, size_t len);
void etcp_session_end_timing(etcp_session *s, uint64_t since_us, size_t len);

/* Frees the large payload that is under way, if there is one (session_unpack.c). */
void etcp_session_drop_incoming(etcp_session *s);

/* Notes that bytes[0..len), the session's own memory, is a message to be decoded in steps, by
 * etcp_session_unpack: 1 (*event is filled), ETCP_AGAIN (call again), or a recorded error
 * (session_unpack.c). */
int etcp_session_unpack_later(etcp_session *s, unsigned flags, uint8_t *bytes, size_t len);
int etcp_session_unpack(etcp_session *s, etcp_event *event);
void etcp_session_drop_unpacking(etcp_session *s);

#endif
