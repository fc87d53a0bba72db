#include "rsa_key.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

/* What the newest Crypt::RSA writes as its version; readers ignore it. */
static const char version[] = "1.99";

static int append_decimal(etcp_buf *out, const BIGNUM *number)
{
    char *text = BN_bn2dec(number);
    int rc;

    if (!text)
        return ETCP_ENOMEM;
    rc = etcp_buf_append_str(out, text);
    OPENSSL_clear_free(text, strlen(text));
    return rc;
}

/* ---- public: a Storable image ---------------------------------------------------------------- */

static int append_u32(etcp_buf *out, uint32_t value)
{
    uint8_t bytes[4];

    bytes[0] = (uint8_t)(value >> 24);
    bytes[1] = (uint8_t)(value >> 16);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)value;
    return etcp_buf_append(out, bytes, sizeof bytes);
}

/* One hash entry: a string (SCALAR or LSCALAR), then its name. */
static int append_entry(etcp_buf *out, const char *text, const char *name)
{
    size_t len = strlen(text);
    int rc;

    if (len <= 255) {
        rc = etcp_buf_append_byte(out, 0x0a);
        if (rc == 0)
            rc = etcp_buf_append_byte(out, (uint8_t)len);
    } else {
        rc = etcp_buf_append_byte(out, 0x01);
        if (rc == 0)
            rc = append_u32(out, (uint32_t)len);
    }
    if (rc == 0)
        rc = etcp_buf_append(out, text, len);
    if (rc == 0)
        rc = append_u32(out, (uint32_t)strlen(name));
    return rc < 0 ? rc : etcp_buf_append_str(out, name);
}

static int append_number_entry(etcp_buf *out, const BIGNUM *number, const char *name)
{
    char *text = BN_bn2dec(number);
    int rc;

    if (!text)
        return ETCP_ENOMEM;
    rc = append_entry(out, text, name);
    OPENSSL_free(text);
    return rc;
}

int etcp_rsa_key_write_public(const etcp_rsa_key *key, etcp_buf *out)
{
    /* Minor version 3 is the lowest that has these opcodes: every Storable in the field reads it. */
    static const char preamble[] = "\x05\x03\x11\x17"
                                   "Crypt::RSA::Key::Public\x03\0\0\0\x03";
    size_t before = etcp_buf_len(out);
    int rc = etcp_buf_append(out, preamble, sizeof preamble - 1);

    if (rc == 0)
        rc = append_number_entry(out, key->e, "e");
    if (rc == 0)
        rc = append_number_entry(out, key->n, "n");
    if (rc == 0)
        rc = append_entry(out, version, "Version");
    if (rc < 0)
        etcp_buf_truncate(out, before);
    return rc;
}

/* ---- private: the text that Data::Dumper makes ----------------------------------------------- */

static int append_numbers(etcp_buf *out, const etcp_rsa_key *key)
{
    struct {
        const char *name;
        const BIGNUM *number;
    } const table[] = {{"_n", key->n},   {"_e", key->e},   {"_d", key->d},
                       {"_p", key->p},   {"_q", key->q},   {"_phi", key->phi},
                       {"_dp", key->dp}, {"_dq", key->dq}, {"_u", key->u}};
    const size_t count = sizeof table / sizeof table[0];
    size_t i;
    int rc = 0;

    for (i = 0; i < count && rc == 0; i++) {
        rc = etcp_buf_append_str(out, "                                '");
        if (rc == 0)
            rc = etcp_buf_append_str(out, table[i].name);
        if (rc == 0)
            rc = etcp_buf_append_str(out, "' => '");
        if (rc == 0)
            rc = append_decimal(out, table[i].number);
        if (rc == 0)
            rc = etcp_buf_append_str(out, i + 1 < count ? "',\n" : "'\n");
    }
    return rc;
}

int etcp_rsa_key_write_private(const etcp_rsa_key *key, etcp_buf *out)
{
    size_t before = etcp_buf_len(out);
    int rc = etcp_buf_append_str(out, "$VAR1 = bless( {\n"
                                      "                 'Checked' => 0,\n"
                                      "                 'private' => {\n");

    if (rc == 0)
        rc = append_numbers(out, key);
    if (rc == 0)
        rc = etcp_buf_append_str(out, "                              },\n"
                                      "                 'Cipher' => 'Blowfish',\n"
                                      "                 'Version' => '");
    if (rc == 0)
        rc = etcp_buf_append_str(out, version);
    if (rc == 0)
        rc = etcp_buf_append_str(out, "'\n               }, 'Crypt::RSA::Key::Private' );\n");
    if (rc < 0)
        etcp_buf_truncate(out, before);
    return rc;
}
