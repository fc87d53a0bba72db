/* The short handshake of two 1.x peers: behind the text of its welcome packet, where originals do
 * not look, the server says everything it would ask for one by one, and the client's NO says all
 * the answers behind the text that originals give. EN follows at once: two round trips instead of
 * up to seven. Protocol.pod, "The short handshake".
 *
 *     welcome    text \0 ETCP1 \0 version \0 ciphers \0 compressors \0 salt \0 %XX(server key) \0
 *                capabilities
 *     reply      NO \0 text \0 ETCP1 \0 version \0 cipher \0 compressor \0
 *                %XX(client key, sealed with the server key) \0 hash \0 capabilities
 *
 * Ciphers and compressors are wire letters without separators, the server's favourite first; no
 * password, no cipher: the field is empty. Keys are what EK carries, no safer than there: the
 * server's is in clear. That is for a modern transport to mend, which announces itself in the same
 * place. Capabilities are lists of what either can receive: see capability_list.h. */
#ifndef ETCP_WIRE_CAPABILITY_H
#define ETCP_WIRE_CAPABILITY_H

#include "negotiate.h"

/* Adds our offer to a server's welcome packet. Failures stay in the command. */
void etcp_capability_offer(etcp_session *s, etcp_command *welcome);

/* Keeps the packet bytes[0..len), header included, for the hash of what precedes TLS; does nothing
 * when TLS cannot follow. Returns 0 or ETCP_ENOMEM, recorded. */
int etcp_capability_record(etcp_session *s, const uint8_t *bytes, size_t len);

/* A client's look at the first packet of its server: notes whether TLS is offered. Returns 0, or
 * ETCP_EPOLICY, recorded: it is not, and must be. */
int etcp_capability_look(etcp_session *s, const etcp_fields *first);

/* Answers a welcome packet that carries an offer. Returns 1 (answered), ETCP_TAKEN_TLS (answered,
 * and TLS follows), 0 (no offer, or none that we can take: answer as to an original), or a negative
 * code, recorded. */
int etcp_capability_answer(etcp_session *s, const etcp_fields *welcome);

/* Adds the list of what we can receive to a command for a peer that is not an original, unless it
 * is empty; and takes the peer's from a field, which may be missing. */
void etcp_capability_tell(etcp_session *s, etcp_command *c);
void etcp_capability_note(etcp_session *s, const etcp_field *list);

/* The same inside TLS, as a field that may be empty: others follow it. */
void etcp_capability_tell_inside(etcp_session *s, etcp_command *c);

/* Notes that the peer knows our list, which it read in the offer. */
void etcp_capability_note_told(etcp_session *s);

/* Agrees on this compressor, or NULL; mixed with others if both ends have listed that. Both lists
 * must be noted before. */
void etcp_capability_use_compressor(etcp_session *s, const etcp_compressor *agreed);

/* Takes a client's answer to our offer: version, modules and keys are in effect then, and *hash is
 * the field to check the password with. Returns 1 (taken), ETCP_TAKEN_TLS (TLS follows), 0 (it
 * carries no such answer), or ETCP_EPROTO (the answer contradicts the offer) and other codes,
 * recorded. */
int etcp_capability_take(etcp_session *s, const etcp_fields *reply, const etcp_field **hash);

#endif
