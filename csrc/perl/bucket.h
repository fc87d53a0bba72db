/* The data bucket: messages that arrived for a connection and were not fetched yet, in order. */
#ifndef ETCP_PERL_BUCKET_H
#define ETCP_PERL_BUCKET_H

#include "bridge.h"

typedef enum etcp_message_state {
    ETCP_MESSAGE_READY,  /* sv is what data() returns */
    ETCP_MESSAGE_FROZEN, /* sv holds a Storable image that takes Perl code */
    ETCP_MESSAGE_REFUSED /* sv is the text for $@: the message was turned down */
} etcp_message_state;

typedef struct etcp_message {
    SV *sv; /* owned */
    etcp_message_state state;
    size_t size; /* bytes of memory, as maxbuffered counts */
} etcp_message;

/* What a message costs beside its bytes. */
enum { ETCP_MESSAGE_OVERHEAD = 128 };

typedef struct etcp_bucket {
    etcp_message *slots; /* NULL until a second message waits */
    size_t head;
    size_t count;
    size_t cap;
    size_t size; /* of all messages */
    etcp_message only; /* the one message of the usual case, when slots is unused */
} etcp_bucket;

static inline int etcp_bucket_is_empty(const etcp_bucket *b)
{
    return b->count == 0;
}

/* Behind those that wait already. */
void etcp_bucket_push_behind(pTHX_ etcp_bucket *b, etcp_message m);

/* Appends a message, taking over its sv. Croaks when memory is exhausted. */
static inline void etcp_bucket_push(pTHX_ etcp_bucket *b, etcp_message m)
{
    if (b->count > 0) {
        etcp_bucket_push_behind(aTHX_ b, m);
        return;
    }
    b->only = m;
    b->count = 1;
    b->size = m.size;
}

/* Puts back in front what etcp_bucket_shift took out last, or what it was turned into. */
void etcp_bucket_unshift(pTHX_ etcp_bucket *b, etcp_message m);

/* Of several. */
etcp_message etcp_bucket_shift_slots(etcp_bucket *b);

/* Takes the oldest message out; the caller owns its sv. The bucket must not be empty. */
static inline etcp_message etcp_bucket_shift(etcp_bucket *b)
{
    if (b->slots)
        return etcp_bucket_shift_slots(b);
    b->count = 0;
    b->size = 0;
    return b->only;
}

/* The oldest message, in place. The bucket must not be empty. */
static inline etcp_message *etcp_bucket_first(etcp_bucket *b)
{
    return b->count == 1 ? &b->only : &b->slots[b->head];
}

/* Drops everything. */
void etcp_bucket_clear(pTHX_ etcp_bucket *b);

#endif
