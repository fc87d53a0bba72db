/* Which ciphers and compressors may be chosen: one answer for both kinds of module, both roles and
 * both handshakes. */
#ifndef ETCP_WIRE_CHOICE_H
#define ETCP_WIRE_CHOICE_H

#include <stdint.h>

#include "codec/cipher.h"
#include "codec/compressor.h"
#include "negotiate.h"
#include "session.h"

typedef enum etcp_module { ETCP_MODULE_CIPHER, ETCP_MODULE_COMPRESSOR } etcp_module;

/* Some of the modules of one kind. */
typedef struct etcp_offer {
    etcp_module kind;
    uint32_t rows; /* bit i: row i of etcp_ciphers() or etcp_compressors() */
} etcp_offer;

enum { ETCP_LETTERS_MAX = 32 }; /* of one kind: more than there are */

/* What the options allow. */
etcp_offer etcp_offer_allowed(const etcp_session *s, etcp_module kind);

/* What the packets EA and CA may offer to the client, as far as it is known. */
etcp_offer etcp_offer_to_client(const etcp_session *s, etcp_module kind);

/* What two 1.x peers may agree on in the short handshake. */
etcp_offer etcp_offer_to_new(const etcp_session *s, etcp_module kind);

/* The wire letters of an offer in the order of the table, or best first by rank (compressors are
 * the same in both), as a C string. */
void etcp_offer_letters(etcp_offer offer, char letters[ETCP_LETTERS_MAX + 1]);
void etcp_offer_ranked(etcp_offer offer, char letters[ETCP_LETTERS_MAX + 1]);

/* The bit of the row with this letter in an offer of this kind, or 0. */
uint32_t etcp_offer_row(etcp_module kind, char letter);

/* The row of the offer that has this letter, or NULL. The offer must be of this kind. */
const etcp_cipher *etcp_offer_cipher(etcp_offer offer, char letter);
const etcp_compressor *etcp_offer_compressor(etcp_offer offer, char letter);

/* What a list of letters, best first, and an offer have in common: the first, or NULL. */
const etcp_cipher *etcp_offer_first_cipher(etcp_offer offer, const etcp_field *letters);
const etcp_compressor *etcp_offer_first_compressor(etcp_offer offer, const etcp_field *letters);

/* What a peer chose from an offer, in *row: NULL if the field is empty. Returns whether it may: 0 if
 * the offer has no such row. */
int etcp_offer_chosen_cipher(etcp_offer offer, const etcp_field *field, const etcp_cipher **row);
int etcp_offer_chosen_compressor(etcp_offer offer, const etcp_field *field,
                                 const etcp_compressor **row);

/* Why we do not use a module, in the words of the originals; indexed by kind. */
typedef struct etcp_refusals {
    const char *kind;    /* no module of this kind */
    const char *unknown; /* no module with this letter is known */
    const char *module;  /* not this module */
} etcp_refusals;
extern const etcp_refusals etcp_refusal[2];

/* The row that this field names, if we may use it; otherwise NULL, and which of these applies in
 * *reason. */
const etcp_cipher *etcp_usable_cipher(const etcp_session *s, const etcp_field *field,
                                      const char **reason);
const etcp_compressor *etcp_usable_compressor(const etcp_session *s, const etcp_field *field,
                                              const char **reason);

#endif
