#include "password.h"

int etcp_password_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    unsigned difference = 0;
    size_t i;

    if (a_len != b_len)
        return 0;
    for (i = 0; i < a_len; i++)
        difference |= (unsigned)(a[i] ^ b[i]);
    return difference == 0;
}

/* As Perl's [A-Za-z0-9], whatever the locale. */
static int is_letter_or_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int etcp_password_merge(const uint8_t *password, size_t password_len, const uint8_t *key,
                        size_t key_len, etcp_buf *out)
{
    uint8_t *merged;
    size_t used = 0;
    size_t i;
    int rc = etcp_buf_append(out, key, key_len);

    if (rc < 0)
        return rc;
    merged = etcp_buf_tail(out) - key_len;
    for (i = 0; i < password_len && used < key_len; i++)
        if (is_letter_or_digit(password[i]))
            merged[used++] = password[i];
    return 0;
}
