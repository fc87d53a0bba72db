/* A message for many: kept once, with the compressed forms that sessions asked for. All who queue
 * it share its memory; only sealing is done for each. */
#ifndef ETCP_WIRE_PARCEL_H
#define ETCP_WIRE_PARCEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/adapt.h"

/* One way to write the message. */
typedef struct etcp_form {
    int is_made;
    etcp_buf bytes; /* empty although it is made: the message does not become shorter */
} etcp_form;

typedef struct etcp_parcel {
    unsigned references;
    unsigned flags; /* ETCP_MESSAGE_COMPLEX or 0 */
    unsigned needs; /* what its receivers must be able to receive, ETCP_CAN_...; 0 unless set */
    etcp_content content; /* as far as a session has looked; ETCP_CONTENTS: none has */
    const uint8_t *payload;
    size_t len;
    void (*release)(void *owner); /* of the payload; NULL: it is the parcel's own memory */
    void *owner;
    etcp_form forms[ETCP_CODECS][2]; /* by codec; without and with the letter of the compressor */
} etcp_parcel;

/* Makes a parcel with one reference. With release, payload stays where it is until release(owner)
 * is called, when the last reference is dropped; without, it is copied. Returns NULL when memory is
 * exhausted, and does not call release then. */
etcp_parcel *etcp_parcel_new(unsigned flags, const uint8_t *payload, size_t len,
                             void (*release)(void *owner), void *owner);

etcp_parcel *etcp_parcel_ref(etcp_parcel *p);
void etcp_parcel_unref(etcp_parcel *p);

#endif
