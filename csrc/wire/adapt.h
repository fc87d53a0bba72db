/* Which compressor, if any, a message should go through: a cost model of one connection, fed with
 * what was measured. Pure: no clock, no socket; the same numbers in give the
 * same choice out. Whole numbers only, so that every machine decides alike.
 *
 * A message of n bytes costs, with compressor c,
 *
 *     max(work, hidden) + wire / rate + price * work + (hidden > work ? 0 : unpack)
 *
 * where work is what compressing and sealing take, wire the bytes that result, rate what the link
 * carries, and hidden how long the bytes that are already queued keep the link busy: as long as
 * that, compressing costs nothing. So a slow link gets the smallest form that is ready in time, a
 * fast one the plain bytes, and what is in between a mixture, message by message. */
#ifndef ETCP_WIRE_ADAPT_H
#define ETCP_WIRE_ADAPT_H

#include <stddef.h>
#include <stdint.h>

/* The forms in which a message can go, those that take least time first. */
typedef enum etcp_codec {
    ETCP_CODEC_NONE,
    ETCP_CODEC_LZF,
    ETCP_CODEC_ZLIB1, /* zlib, at these levels */
    ETCP_CODEC_ZLIB3,
    ETCP_CODEC_ZLIB4,
    ETCP_CODEC_ZLIB6,
    ETCP_CODECS
} etcp_codec;

/* Sets of codecs have bit c for codec c. NONE is always allowed and need not be in a set. */
enum {
    ETCP_CODECS_LZF = 1 << ETCP_CODEC_LZF,
    ETCP_CODECS_ZLIB = 1 << ETCP_CODEC_ZLIB1 | 1 << ETCP_CODEC_ZLIB3 | 1 << ETCP_CODEC_ZLIB4 |
                       1 << ETCP_CODEC_ZLIB6
};

/* What a message looks like, by a few bytes of it. Estimates are kept apart by kind, so that a
 * stream in which kinds alternate does not decide by an average that fits neither. */
typedef enum etcp_content {
    ETCP_CONTENT_RUNS,    /* the same byte again and again */
    ETCP_CONTENT_TEXT,    /* printable ASCII */
    ETCP_CONTENT_RECORDS, /* and many digits: lines of a log, tables */
    ETCP_CONTENT_DENSE,   /* as many high bytes as noise has */
    ETCP_CONTENT_MIXED,   /* everything else: structures, say */
    ETCP_CONTENTS
} etcp_content;

enum {
    ETCP_ADAPT_MIN = 32,     /* shorter messages hardly ever shrink */
    ETCP_ADAPT_SIZES = 3,    /* classes of size: below 512 bytes, below 4096, larger */
    ETCP_ADAPT_LARGE = 4096, /* from here on, each message is decided anew */
    ETCP_ADAPT_TIMED = 1024, /* from here on, compressing is worth timing */
    ETCP_ADAPT_PRICE_ONE = 256
};

/* What is known of a codec for one kind and size: 8 bytes, since there are many of them. */
typedef struct etcp_estimate {
    uint16_t ratio;   /* wire bytes for each byte, in 1/4096 */
    uint16_t cost;    /* nanoseconds for each byte, in 1/128 */
    uint32_t used_ms; /* when it was used last; 0: never, the numbers are a guess */
} etcp_estimate;

/* Messages of one content and class of size. */
typedef struct etcp_sort {
    uint8_t content;
    uint8_t size;
    uint8_t count;                            /* decisions since a stale codec was tried */
    uint8_t cached;                           /* a codec + 1; 0: none cached */
    etcp_estimate estimates[ETCP_CODECS - 1]; /* from LZF on */
} etcp_sort;

typedef struct etcp_adapt {
    uint64_t at_us;      /* of the last look */
    uint64_t queued;     /* bytes sent and not acknowledged, at the last look */
    uint64_t rate;       /* estimate of what the link carries, bytes a second */
    uint64_t min_rtt_us; /* 0: unknown, or next to nothing */
    uint64_t hidden_ns;  /* see above */
    uint64_t written;    /* bytes on their way since the last look */
    uint32_t messages;   /* and messages */
    uint32_t price;      /* of work, beyond the time it takes: in 1/ETCP_ADAPT_PRICE_ONE. Set it
                            after a look */
    uint32_t send_cost;  /* of sealing and writing a byte: nanoseconds, in 1/128 */

    /* a running sample of the rate, of moments when the link had something to do */
    uint64_t sample_bytes;
    uint64_t sample_us;
    uint64_t sample_idle_us; /* of which nothing could be acknowledged */
    uint8_t sample_blocked;

    uint8_t fast_zlib; /* see etcp_adapt_expect_fast_zlib */
    uint8_t known;     /* the rate was measured at least once */
    uint8_t same_host; /* there is no link, as far as we know; 0 too while that is in doubt */
    uint8_t receiver_limited; /* the peer does not read as fast as the link could bring */
    uint64_t refused_us;      /* for how long the kernel has refused bytes of a link on this host */
    uint64_t refused_bytes;   /* and how many it took in that time */
    uint64_t doubt_us;        /* for how long a peer on this host is taken for the end of a link, */
    uint64_t doubt_until_us;  /* and until when; 0: it is not */

    /* how much of the time goes into compressing */
    uint64_t share_since_us;
    uint64_t share_work_us;
    uint32_t share;     /* in 1/256 */
    uint64_t packed_us; /* the same work, for whoever wants to know: reset it when it is told */

    uint64_t path_us; /* when etcp_adapt_path was last told something */
    uint64_t busy_us; /* its counters then */
    uint64_t limited_us;
    uint64_t last_wire; /* bytes of the last message */

    etcp_sort *sorts; /* those that were met: most connections carry one or two */
    uint8_t sort_count;
} etcp_adapt;

/* What the kernel knows of a connection; zeros where it does not say. */
typedef struct etcp_path_info {
    uint64_t delivery_rate; /* bytes a second */
    uint64_t min_rtt_us;
    uint64_t busy_us;    /* so long there was something to send, */
    uint64_t limited_us; /* so long of that the peer's window was full */
} etcp_path_info;

/* Queued bytes where the kernel cannot tell them. */
#define ETCP_QUEUED_UNKNOWN UINT64_MAX

/* Begins with guesses. same_host: the peer is on this machine. is_sealed: there is a cipher. info
 * may be NULL. Nothing is allocated before the first choice. */
void etcp_adapt_init(etcp_adapt *a, uint64_t now_us, int same_host, int is_sealed,
                     const etcp_path_info *info);

/* Guesses that zlib's streams will be made by libdeflate. To be called before the first choice. */
void etcp_adapt_expect_fast_zlib(etcp_adapt *a);

/* Frees what was learnt. */
void etcp_adapt_deinit(etcp_adapt *a);

/* What kind of content this is, by at most 32 of its bytes. */
etcp_content etcp_adapt_content(const uint8_t *bytes, size_t len);

/* Whether it is time to look at the queue before a message of n bytes. */
int etcp_adapt_wants_look(const etcp_adapt *a, size_t n);

/* A look: queued is what was sent and is not acknowledged, own the part of it that waits in our own
 * memory; was_blocked: the kernel refused bytes since the last look. queued may be
 * ETCP_QUEUED_UNKNOWN: then it is guessed from own and the rest. */
void etcp_adapt_look(etcp_adapt *a, uint64_t now_us, uint64_t queued, uint64_t own,
                     int was_blocked);

/* Whether enough time has passed for asking the kernel again; and what it said. */
int etcp_adapt_wants_path(const etcp_adapt *a);
void etcp_adapt_path(etcp_adapt *a, const etcp_path_info *info);

/* The codec for a message of n bytes. allowed: a set of codecs. NONE also where there is no memory
 * for what is to be learnt. */
etcp_codec etcp_adapt_choose(etcp_adapt *a, etcp_content content, size_t n, unsigned allowed);

/* What became of it: n bytes became wire (n or more: it did not pay). work_us: how long that took;
 * 0 if it was not timed. */
void etcp_adapt_packed(etcp_adapt *a, etcp_codec codec, etcp_content content, size_t n, size_t wire,
                       uint64_t work_us);

/* A message went on its way, as wire bytes. */
void etcp_adapt_sent(etcp_adapt *a, size_t wire);

/* Sealing and sending n bytes took work_us. */
void etcp_adapt_sealed(etcp_adapt *a, size_t n, uint64_t work_us);

/* ---- the price of work in a loop that serves many -------------------------------------------- */

/* The next price for a loop that was busy for busy_us of the last passed_us, packed_us of it with
 * compressing. A loop that this saturates asks more and more for its time, so that only what is
 * worth most is compressed; one that is busy with other things does not, since it would gain
 * nothing. */
unsigned etcp_adapt_next_price(unsigned price, uint64_t busy_us, uint64_t packed_us,
                               uint64_t passed_us);

/* That price for one connection, whose own compressing took share (in 1/256) of the time: one that
 * is alone must not price itself out. */
unsigned etcp_adapt_own_price(const etcp_adapt *a, unsigned price);

/* Of a client, and the least of a server: it decides between equals only. */
enum { ETCP_ADAPT_PRICE_MIN = 8, ETCP_ADAPT_PRICE_MAX = 64 * ETCP_ADAPT_PRICE_ONE };

#endif
