#include "choice.h"

#include "state.h"

/* ---- the two tables as one ------------------------------------------------------------------- */

static size_t count_of(etcp_module kind)
{
    size_t count;

    if (kind == ETCP_MODULE_CIPHER)
        (void)etcp_ciphers(&count);
    else
        (void)etcp_compressors(&count);
    return count;
}

static char letter_of(etcp_module kind, size_t row)
{
    size_t count;

    return kind == ETCP_MODULE_CIPHER ? etcp_ciphers(&count)[row].key
                                      : etcp_compressors(&count)[row].key;
}

/* Compressors are in the order of preference. */
static unsigned rank_of(etcp_module kind, size_t row)
{
    size_t count;

    return kind == ETCP_MODULE_CIPHER ? etcp_ciphers(&count)[row].rank : (unsigned)row + 1;
}

/* The row with this letter, or the number of rows. */
static size_t find(etcp_module kind, char letter)
{
    size_t count = count_of(kind);
    size_t row;

    for (row = 0; row < count && (!letter || letter_of(kind, row) != letter); row++)
        ;
    return row;
}

static int holds(etcp_offer offer, size_t row)
{
    return row < count_of(offer.kind) && (offer.rows >> row & 1);
}

/* ---- offers ---------------------------------------------------------------------------------- */

static int is_refused(const etcp_session *s, etcp_module kind)
{
    unsigned flag = kind == ETCP_MODULE_CIPHER ? ETCP_DONOT_ENCRYPT : ETCP_DONOT_COMPRESS;

    return (etcp_session_flags(s) & flag) != 0;
}

etcp_offer etcp_offer_allowed(const etcp_session *s, etcp_module kind)
{
    const etcp_config *config = s->config;
    etcp_offer offer;

    offer.kind = kind;
    offer.rows = kind == ETCP_MODULE_CIPHER ? config->ciphers : config->compressors;
    if (is_refused(s, kind))
        offer.rows = 0;
    return offer;
}

/* Clients of 0.20 to 0.22 die when they meet Crypt::RSA; our own have better ciphers. */
static int knows_rsa(const etcp_session *s)
{
    return etcp_session_peer_is_old(s) &&
           !(s->peer_version >= ETCP_VERSION(0, 20) && s->peer_version < ETCP_VERSION(0, 23));
}

/* Without the ciphers that are not symmetric or, if must_rank, have no rank. */
static etcp_offer symmetric_only(etcp_offer offer, int must_rank)
{
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    size_t i;

    for (i = 0; i < count && offer.kind == ETCP_MODULE_CIPHER; i++)
        if (!(rows[i].flags & ETCP_CIPHER_SYMMETRIC) || (must_rank && rows[i].rank == 0))
            offer.rows &= ~((uint32_t)1 << i);
    return offer;
}

etcp_offer etcp_offer_to_client(const etcp_session *s, etcp_module kind)
{
    etcp_offer offer = etcp_offer_allowed(s, kind);

    if (etcp_buf_len(&s->config->rsa_public) > 0 && knows_rsa(s))
        return offer;
    return symmetric_only(offer, 0);
}

/* One key string for both directions, and a rank. */
etcp_offer etcp_offer_to_new(const etcp_session *s, etcp_module kind)
{
    return symmetric_only(etcp_offer_allowed(s, kind), 1);
}

void etcp_offer_letters(etcp_offer offer, char letters[ETCP_LETTERS_MAX + 1])
{
    size_t len = 0;
    size_t row;

    for (row = 0; row < count_of(offer.kind) && len < ETCP_LETTERS_MAX; row++)
        if (holds(offer, row))
            letters[len++] = letter_of(offer.kind, row);
    letters[len] = '\0';
}

void etcp_offer_ranked(etcp_offer offer, char letters[ETCP_LETTERS_MAX + 1])
{
    size_t count = count_of(offer.kind);
    unsigned rank = 0;
    size_t len = 0;

    while (len < ETCP_LETTERS_MAX) {
        size_t best = count;
        size_t row;

        for (row = 0; row < count; row++)
            if (holds(offer, row) && rank_of(offer.kind, row) > rank &&
                (best == count || rank_of(offer.kind, row) < rank_of(offer.kind, best)))
                best = row;
        if (best == count)
            break;
        rank = rank_of(offer.kind, best);
        letters[len++] = letter_of(offer.kind, best);
    }
    letters[len] = '\0';
}

uint32_t etcp_offer_row(etcp_module kind, char letter)
{
    size_t row = find(kind, letter);

    return row < count_of(kind) ? (uint32_t)1 << row : 0;
}

const etcp_cipher *etcp_offer_cipher(etcp_offer offer, char letter)
{
    size_t row = find(ETCP_MODULE_CIPHER, letter);
    size_t count;

    return holds(offer, row) ? &etcp_ciphers(&count)[row] : NULL;
}

const etcp_compressor *etcp_offer_compressor(etcp_offer offer, char letter)
{
    size_t row = find(ETCP_MODULE_COMPRESSOR, letter);
    size_t count;

    return holds(offer, row) ? &etcp_compressors(&count)[row] : NULL;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* The first of these letters that the offer has, or '\0'. */
static char first_letter(etcp_offer offer, const etcp_field *letters)
{
    size_t i;

    for (i = 0; i < letters->len; i++)
        if (holds(offer, find(offer.kind, (char)letters->bytes[i])))
            return (char)letters->bytes[i];
    return '\0';
}

const etcp_cipher *etcp_offer_first_cipher(etcp_offer offer, const etcp_field *letters)
{
    return etcp_offer_cipher(offer, first_letter(offer, letters));
}

const etcp_compressor *etcp_offer_first_compressor(etcp_offer offer, const etcp_field *letters)
{
    return etcp_offer_compressor(offer, first_letter(offer, letters));
}

int etcp_offer_chosen_cipher(etcp_offer offer, const etcp_field *field, const etcp_cipher **row)
{
    *row = etcp_offer_cipher(offer, etcp_field_key(field));
    return *row || field->len == 0;
}

int etcp_offer_chosen_compressor(etcp_offer offer, const etcp_field *field,
                                 const etcp_compressor **row)
{
    *row = etcp_offer_compressor(offer, etcp_field_key(field));
    return *row || field->len == 0;
}

/* ---- refusals -------------------------------------------------------------------------------- */

const etcp_refusals etcp_refusal[2] = {
    [ETCP_MODULE_CIPHER] = {"I do not encrypt", "Unknown encryption module",
                            "I do not encrypt with this module"},
    [ETCP_MODULE_COMPRESSOR] = {"I do not compress", "Unknown decompression module",
                                "I do not compress with this module"},
};

/* Which of them applies to this letter; NULL: the module may be used. */
static const char *refusal(const etcp_session *s, etcp_module kind, char letter)
{
    size_t row = find(kind, letter);

    if (is_refused(s, kind))
        return etcp_refusal[kind].kind;
    if (row == count_of(kind))
        return etcp_refusal[kind].unknown;
    return holds(etcp_offer_allowed(s, kind), row) ? NULL : etcp_refusal[kind].module;
}

const etcp_cipher *etcp_usable_cipher(const etcp_session *s, const etcp_field *field,
                                      const char **reason)
{
    *reason = refusal(s, ETCP_MODULE_CIPHER, etcp_field_key(field));
    return *reason ? NULL : etcp_cipher_by_key(etcp_field_key(field));
}

const etcp_compressor *etcp_usable_compressor(const etcp_session *s, const etcp_field *field,
                                              const char **reason)
{
    *reason = refusal(s, ETCP_MODULE_COMPRESSOR, etcp_field_key(field));
    return *reason ? NULL : etcp_compressor_by_key(etcp_field_key(field));
}
