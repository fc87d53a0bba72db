/* A link with a sender and a receiver, in numbers only: what would a stream of messages take, with
 * one codec for all or with the choices of wire/adapt? Time is the model's own. */
#ifndef ETCP_T_LINK_MODEL_H
#define ETCP_T_LINK_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "wire/adapt.h"

typedef enum model_kind {
    MODEL_LOG,
    MODEL_TEXT,
    MODEL_JSON,
    MODEL_NOISE,
    MODEL_ZEROS,
    MODEL_KINDS
} model_kind;

/* From at_us on the link carries rate bytes a second. */
typedef struct model_step {
    uint64_t at_us;
    uint64_t rate;
} model_step;

enum { MODEL_STEPS_MAX = 8, MODEL_ADAPTIVE = -1, MODEL_WINDOWS_MAX = 64 };

typedef struct model {
    model_step steps[MODEL_STEPS_MAX]; /* in order; unused ones are zero */
    uint64_t rtt_us;
    int same_host;
    model_kind kinds[2];   /* the second takes turns with the first ... */
    uint64_t alternate_us; /* ... after this time; 0: message by message if they differ */
    size_t size;           /* of each message */
    uint64_t seconds;
    uint64_t pause_us;        /* 0: bulk; else a message is due so often */
    int is_dialogue;          /* each message waits for an answer of a few bytes */
    unsigned send_cost;       /* ns a byte, in 1/10 */
    unsigned receiver_factor; /* how much slower the peer's processor is, in 1/10; 0: 10 */
    unsigned receiver_ns;     /* and what it does with each byte of a message */
    unsigned allowed;         /* codecs; 0: all */
    int fast_zlib;            /* zlib's streams are made by libdeflate */
} model;

typedef struct model_result {
    uint64_t bytes;      /* of messages that arrived in time */
    uint64_t latency_us; /* mean, from sending to being unpacked */
    uint64_t used[ETCP_CODECS];
    uint64_t windows[MODEL_WINDOWS_MAX]; /* bytes of messages in each half of a second */
    uint64_t messages;
} model_result;

/* Runs the model with codec for all messages, or MODEL_ADAPTIVE. */
void model_run(const model *m, int codec, model_result *out);

#endif
