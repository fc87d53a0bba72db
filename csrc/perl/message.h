/* Messages as Perl sees them: bytes and structures, in both directions. */
#ifndef ETCP_PERL_MESSAGE_H
#define ETCP_PERL_MESSAGE_H

#include "forms.h"
#include "object.h"

/* The payload_ops that receive large messages straight into Perl scalars; arg is not used. */
const etcp_payload_ops *etcp_message_payload_ops(void);

/* Whether a signal's handler waits to be run. */
int etcp_message_is_interrupted(void);

/* Plain messages of at least this size are received into, and sent from, the scalar itself. */
#define ETCP_LARGE_MESSAGE ((size_t)32768)

/* Puts the message of an event into o's bucket. Runs no Perl code: an image that takes Perl
 * code waits frozen. Returns 1, or 0 when the image is damaged ($@ says why). spare as in spare.h. */
int etcp_message_store(pTHX_ etcp_object *o, const etcp_event *event, SV **spare);

/* Tells the connection what o's bucket holds, of messages that nobody fetched when they came. */
void etcp_message_count(pTHX_ etcp_object *o);

/* Makes the oldest message ready to be fetched; may run Perl code (Storable's hooks). Returns 1, or 0
 * when the image is damaged: the message is gone and $@ says why. The bucket may be empty afterwards
 * in both cases. Meanwhile o->thawing is set, and nothing else comes out of the bucket. Croaks with the
 * exception of a signal handler that died meanwhile: the message is where it was. */
int etcp_message_prepare(pTHX_ etcp_object *o);

/* Takes the oldest message out of the bucket: an SV the caller owns. NULL: none, or it was refused or
 * damaged, and $@ says why (*failed is set to 1 then). */
SV *etcp_message_fetch(pTHX_ etcp_object *o, int *failed);

/* The same for whoever does not ask whether it failed. Most often there is one message, and it is
 * ready. */
static inline SV *etcp_message_take(pTHX_ etcp_object *o)
{
    etcp_bucket *b = &o->bucket;
    int failed;

    if (b->count == 1 && !b->slots && b->only.state == ETCP_MESSAGE_READY && !o->counted && !o->thawing)
        return etcp_bucket_shift(b).sv;
    return etcp_message_fetch(aTHX_ o, &failed);
}

/* With the private option _passimages structures arrive as references that are blessed into this class,
 * to their Storable images, and go out again when they are sent, both unread: for gateways. */
#define ETCP_IMAGE_CLASS "Net::EasyTCP::_Image"

/* Over TLS a client may send before the server's last word of the negotiation came: waits for it. */
void etcp_message_settle(pTHX_ etcp_object *o);

/* Sends data on o, waiting where the original waited. Reading data's own magic may run Perl code: the
 * caller keeps both alive if it has any. Where other code may run, that of hooks or of handlers of
 * signals, they are kept here. Returns 1, or 0 with $@ set. */
int etcp_message_send(pTHX_ etcp_object *o, SV *data);

/* Sends data to the clients of a server: those in the array that to refers to, all if it is NULL, but
 * not those in except, a client or a reference to an array of them, or NULL. Returns how many took it,
 * or -1 with the text in $@. The caller holds the server and the arguments. */
IV etcp_message_broadcast(pTHX_ etcp_object *server, SV *data, SV *to, SV *except);

/* The same for a message that another process has made; its bytes are plain scalars. */
IV etcp_message_relay(pTHX_ const etcp_object *server, const etcp_forms *forms, SV *to, SV *except);

/* receive(): the next message, waiting at most seconds of inactivity (0: the default, 300; negative:
 * not at all).
 * Returns an SV the caller owns, or NULL with $@ set. */
SV *etcp_message_receive(pTHX_ etcp_object *o, NV seconds);

#endif
