#include "rsa_key.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

enum {
    DIGITS_MAX = 320, /* of a 1024-bit number, a few to spare */
    ENTRIES_MAX = 16,
    IMAGE_MAX = 8192,
    TEXT_MAX = 65536
};

void etcp_rsa_key_deinit(etcp_rsa_key *key)
{
    BN_clear_free(key->n);
    BN_clear_free(key->e);
    BN_clear_free(key->d);
    BN_clear_free(key->p);
    BN_clear_free(key->q);
    BN_clear_free(key->dp);
    BN_clear_free(key->dq);
    BN_clear_free(key->u);
    BN_clear_free(key->phi);
    memset(key, 0, sizeof *key);
}

/* Sets *number from decimal digits; it must be unset. */
static int read_decimal(const uint8_t *digits, size_t len, BIGNUM **number)
{
    char text[DIGITS_MAX + 1];
    size_t i;

    if (*number || len == 0 || len > DIGITS_MAX)
        return ETCP_EINVAL;
    for (i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return ETCP_EINVAL;
    }
    memcpy(text, digits, len);
    text[len] = '\0';
    i = (size_t)BN_dec2bn(number, text);
    etcp_wipe(text, len);
    return i == len ? 0 : ETCP_ENOMEM;
}

/* What any key must be: an odd modulus of a sensible size, an odd exponent of at most 32 bits. */
static int is_plausible(const etcp_rsa_key *key)
{
    return key->n && key->e && BN_is_odd(key->n) && BN_is_odd(key->e) && !BN_is_one(key->e) &&
           BN_num_bits(key->e) <= 32 && BN_num_bits(key->n) >= ETCP_RSA_BITS_MIN &&
           BN_num_bits(key->n) <= ETCP_RSA_BITS_MAX;
}

/* ---- the frozen public key ------------------------------------------------------------------- */

/* What is left of the image. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
} cursor;

static const uint8_t *take(cursor *c, size_t len)
{
    const uint8_t *bytes = c->at;

    if (len > c->left)
        return NULL;
    c->at += len;
    c->left -= len;
    return bytes;
}

static int take_byte(cursor *c)
{
    const uint8_t *byte = take(c, 1);

    return byte ? *byte : -1;
}

static int take_u32(cursor *c, uint32_t *value)
{
    const uint8_t *b = take(c, 4);

    if (!b)
        return 0;
    *value = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return 1;
}

/* A scalar of the image: a string in place, or an integer written into own. */
typedef struct scalar {
    const uint8_t *text;
    size_t len;
    uint8_t own[16];
} scalar;

static int set_integer(scalar *s, uint32_t value)
{
    size_t at = sizeof s->own;

    do {
        s->own[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    s->text = s->own + at;
    s->len = sizeof s->own - at;
    return 1;
}

static int take_string(cursor *c, uint32_t len, scalar *s)
{
    s->text = take(c, len);
    s->len = len;
    return s->text != NULL;
}

static int take_scalar(cursor *c, scalar *s)
{
    uint32_t number;
    int byte;

    switch (take_byte(c)) {
    case 0x01: /* LSCALAR, LUTF8STR */
    case 0x18:
        return take_u32(c, &number) && take_string(c, number, s);
    case 0x0a: /* SCALAR, UTF8STR */
    case 0x17:
        byte = take_byte(c);
        return byte >= 0 && take_string(c, (uint32_t)byte, s);
    case 0x08: /* BYTE */
        byte = take_byte(c);
        return byte >= 128 && set_integer(s, (uint32_t)byte - 128);
    case 0x09: /* NETINT */
        return take_u32(c, &number) && number <= 0x7fffffff && set_integer(s, number);
    case 0x05: /* UNDEF */
        s->text = s->own;
        s->len = 0;
        return 1;
    default:
        return 0;
    }
}

static int take_entry(cursor *c, etcp_rsa_key *key)
{
    scalar value;
    uint32_t name_len;
    const uint8_t *name;

    if (!take_scalar(c, &value) || !take_u32(c, &name_len) || !(name = take(c, name_len)))
        return ETCP_EINVAL;
    if (name_len == 1 && *name == 'n')
        return read_decimal(value.text, value.len, &key->n);
    if (name_len == 1 && *name == 'e')
        return read_decimal(value.text, value.len, &key->e);
    return 0;
}

/* Header of network order and major version 2, BLESS with the class name, HASH. */
static int take_preamble(cursor *c, uint32_t *entries)
{
    static const char class_name[] = "Crypt::RSA::Key::Public";
    const uint8_t *name;

    if (take_byte(c) != 0x05 || take_byte(c) < 0 || take_byte(c) != 0x11 ||
        take_byte(c) != (int)strlen(class_name))
        return 0;
    name = take(c, strlen(class_name));
    return name && memcmp(name, class_name, strlen(class_name)) == 0 && take_byte(c) == 0x03 &&
           take_u32(c, entries) && *entries <= ENTRIES_MAX;
}

int etcp_rsa_key_read_public(const uint8_t *image, size_t len, etcp_rsa_key *key)
{
    etcp_rsa_key read;
    uint32_t entries = 0;
    cursor c;
    int rc = 0;

    memset(&read, 0, sizeof read);
    c.at = image;
    c.left = len;
    if (len > IMAGE_MAX || !take_preamble(&c, &entries))
        return ETCP_EINVAL;
    while (rc == 0 && entries-- > 0)
        rc = take_entry(&c, &read);
    if (rc == 0 && (c.left != 0 || !is_plausible(&read)))
        rc = ETCP_EINVAL;
    if (rc < 0)
        etcp_rsa_key_deinit(&read);
    else
        *key = read;
    return rc;
}

/* ---- the text of a private key --------------------------------------------------------------- */

static int is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static BIGNUM **number_named(etcp_rsa_key *key, const uint8_t *name, size_t len)
{
    struct {
        const char *name;
        BIGNUM **number;
    } const table[] = {{"n", &key->n},   {"e", &key->e},   {"d", &key->d},
                       {"p", &key->p},   {"q", &key->q},   {"dp", &key->dp},
                       {"dq", &key->dq}, {"u", &key->u},   {"phi", &key->phi}};
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return table[i].number;
    }
    return NULL;
}

static void skip_spaces(cursor *c)
{
    while (c->left && is_space(*c->at))
        (void)take(c, 1);
}

static void skip_one(cursor *c, uint8_t byte)
{
    if (c->left && *c->at == byte)
        (void)take(c, 1);
}

/* Behind a '_': a name, a quote perhaps, =>, digits in quotes perhaps. Anything else is passed over. */
static int take_number(cursor *c, etcp_rsa_key *key)
{
    const uint8_t *name = c->at;
    const uint8_t *digits;
    BIGNUM **number;
    size_t len;

    while (c->left && *c->at >= 'a' && *c->at <= 'z')
        (void)take(c, 1);
    number = number_named(key, name, (size_t)(c->at - name));
    skip_one(c, '\'');
    skip_spaces(c);
    if (!number || c->left < 2 || memcmp(c->at, "=>", 2) != 0)
        return 0;
    (void)take(c, 2);
    skip_spaces(c);
    skip_one(c, '\'');
    digits = c->at;
    while (c->left && *c->at >= '0' && *c->at <= '9')
        (void)take(c, 1);
    len = (size_t)(c->at - digits);
    return read_decimal(digits, len, number);
}

/* a * b = 1 modulo m. */
static int are_inverse(const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx)
{
    BIGNUM *t = BN_new();
    int ok = t && BN_mod_mul(t, a, b, m, ctx) && BN_is_one(t);

    BN_clear_free(t);
    return ok;
}

/* r = d modulo m - 1. */
static int is_reduced(const BIGNUM *r, const BIGNUM *d, const BIGNUM *m, BN_CTX *ctx)
{
    BIGNUM *t = BN_dup(m);
    int ok = t && BN_sub_word(t, 1) && !BN_is_zero(t) && BN_mod(t, d, t, ctx) && BN_cmp(t, r) == 0;

    BN_clear_free(t);
    return ok;
}

static int is_product(const BIGNUM *n, const BIGNUM *p, const BIGNUM *q, BN_CTX *ctx)
{
    BIGNUM *t = BN_new();
    int ok = t && BN_mul(t, p, q, ctx) && BN_cmp(t, n) == 0;

    BN_clear_free(t);
    return ok;
}

/* Whether the numbers belong together, as far as the original checks it too. */
static int fits_together(const etcp_rsa_key *k)
{
    BN_CTX *ctx;
    int ok;

    if (!k->d || !k->p || !k->q || !k->dp || !k->dq || !k->u || BN_is_zero(k->d) ||
        BN_cmp(k->d, k->n) >= 0 || BN_num_bits(k->p) < 2 || BN_num_bits(k->q) < 2)
        return 0;
    ctx = BN_CTX_new();
    ok = ctx && is_product(k->n, k->p, k->q, ctx) && is_reduced(k->dp, k->d, k->p, ctx) &&
         is_reduced(k->dq, k->d, k->q, ctx) && are_inverse(k->u, k->p, k->q, ctx);
    if (ok) {
        BIGNUM *p1 = BN_dup(k->p);
        BIGNUM *q1 = BN_dup(k->q);

        ok = p1 && q1 && BN_sub_word(p1, 1) && BN_sub_word(q1, 1) &&
             are_inverse(k->d, k->e, p1, ctx) && are_inverse(k->d, k->e, q1, ctx);
        BN_clear_free(p1);
        BN_clear_free(q1);
    }
    BN_CTX_free(ctx);
    return ok;
}

int etcp_rsa_key_read_private(const uint8_t *text, size_t len, etcp_rsa_key *key)
{
    etcp_rsa_key read;
    cursor c;
    int rc = 0;

    if (len > TEXT_MAX)
        return ETCP_EINVAL;
    memset(&read, 0, sizeof read);
    c.at = text;
    c.left = len;
    while (rc == 0 && c.left > 0) {
        if (take_byte(&c) == '_')
            rc = take_number(&c, &read);
    }
    if (rc == 0 && (!is_plausible(&read) || !fits_together(&read)))
        rc = ETCP_EINVAL;
    if (rc < 0)
        etcp_rsa_key_deinit(&read);
    else
        *key = read;
    return rc;
}
