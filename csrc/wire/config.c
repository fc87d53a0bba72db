#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "codec/cipher.h"

/* Hashing looks at 8 characters and merging at 56; the rest is kept only to be kind. */
static const size_t password_max = 65536;

enum { CLASS_NAME_MAX = 255 };

static const char default_class_name[] = "Net::EasyTCP";

static uint32_t all_bits(size_t count)
{
    return count >= 32 ? 0xffffffffu : (1u << count) - 1;
}

static void set_defaults(etcp_config *config)
{
    size_t count;

    config->ciphers = etcp_ciphers_at_hand();
    (void)etcp_compressors(&count);
    if (count > ETCP_COMPRESSOR_ROWS_MAX)
        count = ETCP_COMPRESSOR_ROWS_MAX;
    config->compressors = all_bits(count);
    memcpy(config->version, "1.10", sizeof "1.10");
    memcpy(config->storable_version, "3.26", sizeof "3.26");
    config->storable_minor = 11;
    config->negotiation_packet_max =
        config->role == ETCP_ROLE_SERVER ? ETCP_CLIENT_PACKET_MAX : ETCP_SERVER_PACKET_MAX;
    config->message_max = ETCP_MESSAGE_MAX;
    config->buffered_max = ETCP_BUFFERED_MAX;
    config->payload_threshold = ETCP_PAYLOAD_THRESHOLD;
    config->random = etcp_random_pooled;
    config->random_arg = &config->pool;
}

etcp_config *etcp_config_new(etcp_role role)
{
    etcp_config *config = etcp_zalloc(sizeof *config);

    if (!config)
        return NULL;
    config->references = 1;
    config->role = role;
    etcp_buf_init(&config->rsa_public);
    etcp_buf_init(&config->rsa_private);
    set_defaults(config);
    if (etcp_config_set_class_name(config, NULL) < 0) {
        etcp_config_unref(config);
        return NULL;
    }
    return config;
}

static int copy_values(etcp_config *copy, const etcp_config *config)
{
    int rc;

    if ((rc = etcp_config_set_class_name(copy, config->class_name)) < 0 ||
        (rc = etcp_config_set_welcome(copy, config->welcome)) < 0 ||
        (rc = etcp_config_set_password(copy, config->password, config->password_len)) < 0 ||
        (rc = etcp_buf_append(&copy->rsa_public, etcp_buf_bytes(&config->rsa_public),
                              etcp_buf_len(&config->rsa_public))) < 0)
        return rc;
    return etcp_buf_append(&copy->rsa_private, etcp_buf_bytes(&config->rsa_private),
                           etcp_buf_len(&config->rsa_private));
}

etcp_config *etcp_config_clone(const etcp_config *config)
{
    etcp_config *copy = etcp_malloc(sizeof *copy);

    if (!copy)
        return NULL;
    *copy = *config;
    copy->references = 1;
    copy->buffered = 0;
    memset(&copy->pool, 0, sizeof copy->pool); /* the same salts twice would be none */
    if (config->random_arg == &config->pool)
        copy->random_arg = &copy->pool;
    copy->class_name = NULL;
    copy->welcome = NULL;
    copy->password = NULL;
    copy->secret = NULL;
    memset(copy->compressor_states, 0, sizeof copy->compressor_states);
    etcp_buf_init(&copy->rsa_public);
    etcp_buf_init(&copy->rsa_private);
    if (copy_values(copy, config) < 0) {
        etcp_config_unref(copy);
        return NULL;
    }
    return copy;
}

etcp_config *etcp_config_ref(etcp_config *config)
{
    config->references++;
    return config;
}

static void free_password(etcp_config *config)
{
    etcp_spake2_secret_free(config->secret);
    config->secret = NULL;
    if (config->password)
        etcp_wipe(config->password, config->password_len);
    etcp_free(config->password);
    config->password = NULL;
    config->password_len = 0;
}

void etcp_config_unref(etcp_config *config)
{
    const etcp_compressor *rows;
    size_t count;
    size_t i;

    if (!config || --config->references > 0)
        return;
    free_password(config);
    etcp_free(config->class_name);
    etcp_free(config->welcome);
    etcp_buf_wipe(&config->rsa_public);
    etcp_buf_wipe(&config->rsa_private);
    etcp_wipe(&config->pool, sizeof config->pool);
    rows = etcp_compressors(&count);
    for (i = 0; i < count && i < ETCP_COMPRESSOR_ROWS_MAX; i++)
        rows[i].free_state(config->compressor_states[i]);
    etcp_free(config);
}

int etcp_config_set_password(etcp_config *config, const uint8_t *password, size_t len)
{
    uint8_t *copy = NULL;

    if (len > password_max)
        return ETCP_EINVAL;
    if (password) {
        copy = etcp_memdup(password, len);
        if (!copy)
            return ETCP_ENOMEM;
    }
    free_password(config);
    config->password = copy;
    config->password_len = copy ? len : 0;
    return 0;
}

int etcp_config_make_secret(etcp_config *config)
{
    uint8_t w[ETCP_SPAKE2_SCALAR];
    int rc;

    if (config->secret)
        return 0;
    rc = etcp_spake2_scalar(config->password, config->password_len, w);
    if (rc == 0)
        rc = etcp_spake2_secret_new(w, &config->secret);
    etcp_wipe(w, sizeof w);
    return rc;
}

/* Replaces *field by a copy of text, which may be NULL. */
static int set_text(char **field, const char *text, size_t max)
{
    char *copy = NULL;

    if (text) {
        if (strlen(text) > max)
            return ETCP_EINVAL;
        copy = etcp_memdup(text, strlen(text));
        if (!copy)
            return ETCP_ENOMEM;
    }
    etcp_free(*field);
    *field = copy;
    return 0;
}

int etcp_config_set_welcome(etcp_config *config, const char *text)
{
    return set_text(&config->welcome, text, ETCP_WELCOME_MAX);
}

int etcp_config_set_class_name(etcp_config *config, const char *name)
{
    return set_text(&config->class_name, name ? name : default_class_name, CLASS_NAME_MAX);
}

uint32_t etcp_config_cipher_bit(const char *module_name)
{
    size_t count;
    const etcp_cipher *rows = etcp_ciphers(&count);
    size_t i;

    for (i = 0; i < count && i < 32; i++)
        if (strcmp(rows[i].name, module_name) == 0)
            return 1u << i;
    return 0;
}

uint32_t etcp_config_compressor_bit(const char *module_name)
{
    size_t count;
    const etcp_compressor *rows = etcp_compressors(&count);
    size_t i;

    for (i = 0; i < count && i < 32; i++)
        if (strcmp(rows[i].name, module_name) == 0)
            return 1u << i;
    return 0;
}

void etcp_config_forbid(etcp_config *config, const char *module_name)
{
    config->ciphers &= ~etcp_config_cipher_bit(module_name);
    config->compressors &= ~etcp_config_compressor_bit(module_name);
}

int etcp_config_renew_rsa(etcp_config *config)
{
    etcp_buf public_key;
    etcp_buf private_key;
    const etcp_cipher *rsa = etcp_cipher_by_key('B');
    int rc;

    etcp_buf_init(&public_key);
    etcp_buf_init(&private_key);
    rc = rsa ? etcp_cipher_new_keys(rsa, config->random, config->random_arg, &public_key,
                                    &private_key)
             : ETCP_ECRYPT;
    if (rc < 0) {
        etcp_buf_wipe(&public_key);
        etcp_buf_wipe(&private_key);
        return rc;
    }
    etcp_buf_wipe(&config->rsa_public);
    etcp_buf_wipe(&config->rsa_private);
    config->rsa_public = public_key;
    config->rsa_private = private_key;
    return 0;
}
