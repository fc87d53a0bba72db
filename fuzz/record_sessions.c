/* Writes seeds for fuzz_client and fuzz_server: our client and our server talk to each other, with each
 * cipher and compressor, as 1.00 and as 0.26, with a password and without; what each says is a seed.
 * The keys are those that the fuzzers have, so that the sealed packets of a seed open there as well.
 *
 *     record_sessions client-directory server-directory
 */
#include "session_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD = 1, PIECES = 6 << 2, CONSTANT_KEYS = 32, CLIENT_RSA = 128, SERVER_TLS = 128 };

typedef struct side {
    etcp_session *session;
    etcp_buf said;
    int switches; /* TLS begins */
} side;

/* Leaves one row each; NULL: none at all. */
static void allow_only(etcp_config *config, const etcp_cipher *cipher,
                       const etcp_compressor *compressor)
{
    size_t count;
    const etcp_cipher *ciphers = etcp_ciphers(&count);
    const etcp_compressor *compressors;

    config->ciphers &= cipher ? 1u << (cipher - ciphers) : 0;
    compressors = etcp_compressors(&count);
    config->compressors &= compressor ? 1u << (compressor - compressors) : 0;
}

static int say(side *from, side *to, const uint8_t *bytes, size_t len)
{
    const uint8_t *end = bytes + len;
    etcp_event event;
    int rc;

    if (etcp_buf_append(&from->said, bytes, len) < 0)
        abort();
    while ((rc = etcp_session_next(to->session, &bytes, end, &event)) > 0)
        to->switches |= event.type == ETCP_EVENT_TLS;
    if (rc == 0 && etcp_session_wants_proof(to->session))
        rc = etcp_session_prove(to->session);
    return rc;
}

static int pass_output(side *from, side *to)
{
    etcp_buf *output = etcp_session_output(from->session);
    size_t len = etcp_buf_len(output);

    if (len > 0 && say(from, to, etcp_buf_bytes(output), len) < 0)
        return -1;
    etcp_buf_clear(output);
    return len > 0;
}

static void send_message(side *from, side *to, unsigned flags, const char *text, size_t len)
{
    etcp_packet packet;

    if (etcp_session_encode(from->session, flags, (const uint8_t *)text, len, &packet) == 0 &&
        say(from, to, packet.header, packet.header_len) == 0)
        (void)say(from, to, packet.body, packet.body_len);
}

static void send_messages(side *from, side *to)
{
    static const char image[] = "\005\013\003\000\000\000\002\010\201\000\000\000\001a\004\002\000\000"
                                "\000\002\010\202\010\203\000\000\000\001b";
    char repeated[400];

    memset(repeated, 'r', sizeof repeated);
    send_message(from, to, 0, "hello", 5);
    send_message(from, to, 0, repeated, sizeof repeated);
    send_message(from, to, ETCP_MESSAGE_COMPLEX, image, sizeof image - 1);
    send_message(from, to, 0, "0", 1);
    send_message(from, to, 0, "", 0);
}

static void write_seed(const char *directory, const char *name, unsigned choice, const etcp_buf *said)
{
    char path[500];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    f = fopen(path, "wb");
    if (!f || putc((int)choice, f) == EOF ||
        fwrite(etcp_buf_bytes(said), 1, etcp_buf_len(said), f) != etcp_buf_len(said) ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void begin(side *x, etcp_config *config)
{
    x->switches = 0;
    etcp_buf_init(&x->said);
    if (etcp_session_new(config, &x->session) < 0)
        abort();
}

static void end(side *x)
{
    etcp_session_free(x->session);
    etcp_buf_deinit(&x->said);
}

/* One connection; the recorded side announces the version and is left the rows given. */
static void record(etcp_role role, const char *directory, const char *version, unsigned choice,
                   const etcp_cipher *cipher, const etcp_compressor *compressor)
{
    etcp_config *client_config = session_driver_config(ETCP_ROLE_CLIENT, choice | CLIENT_RSA);
    etcp_config *server_config = session_driver_config(ETCP_ROLE_SERVER, choice & ~CLIENT_RSA);
    etcp_config *recorded = role == ETCP_ROLE_SERVER ? server_config : client_config;
    side client;
    side server;
    char name[100];

    memcpy(recorded->version, version, strlen(version) + 1);
    allow_only(recorded, cipher, compressor);
    begin(&client, client_config);
    begin(&server, server_config);
    while (pass_output(&server, &client) > 0 && pass_output(&client, &server) > 0)
        continue;
    if (role == ETCP_ROLE_SERVER)
        send_messages(&server, &client);
    else
        send_messages(&client, &server);
    snprintf(name, sizeof name, "%s-%c%c%s", version, cipher ? cipher->key : '-',
             compressor ? compressor->key : '-', choice & PASSWORD ? "-password" : "");
    if (role == ETCP_ROLE_CLIENT)
        choice &= ~CLIENT_RSA; /* at the server that it is for this would mean TLS */
    write_seed(directory, name, choice, role == ETCP_ROLE_SERVER ? &server.said : &client.said);
    end(&client);
    end(&server);
    etcp_config_unref(client_config);
    etcp_config_unref(server_config);
}

/* What the connection above says, over TLS that encrypts nothing. */
static void record_tls(char *const directories[2], unsigned choice)
{
    etcp_config *client_config = session_driver_config(ETCP_ROLE_CLIENT, choice);
    etcp_config *server_config = session_driver_config(ETCP_ROLE_SERVER, choice | SERVER_TLS);
    const char *name = choice & PASSWORD ? "tls-password" : "tls";
    side client;
    side server;
    int round;

    begin(&client, client_config);
    begin(&server, server_config);
    for (round = 0; round < 6; round++) {
        (void)pass_output(&server, &client);
        (void)pass_output(&client, &server);
        if (client.switches)
            session_driver_switch(&client.session, client_config);
        if (server.switches)
            session_driver_switch(&server.session, server_config);
        client.switches = server.switches = 0;
    }
    send_messages(&server, &client);
    send_messages(&client, &server);
    write_seed(directories[0], name, choice, &server.said);
    write_seed(directories[1], name, choice | SERVER_TLS, &client.said);
    end(&client);
    end(&server);
    etcp_config_unref(client_config);
    etcp_config_unref(server_config);
}

/* Both roles, with and without a password. */
static void record_all(char *const directories[2], const char *version, const etcp_cipher *cipher,
                       const etcp_compressor *compressor)
{
    const unsigned keys = PIECES | CONSTANT_KEYS | (cipher && cipher->key == 'B' ? CLIENT_RSA : 0);
    unsigned password;

    for (password = 0; password <= PASSWORD; password++) {
        record(ETCP_ROLE_SERVER, directories[0], version, keys | password, cipher, compressor);
        record(ETCP_ROLE_CLIENT, directories[1], version, keys | password, cipher, compressor);
    }
}

int main(int argc, char **argv)
{
    static const char *const versions[] = {"1.00", "0.26"};
    size_t cipher_count;
    size_t compressor_count;
    const etcp_cipher *ciphers = etcp_ciphers(&cipher_count);
    const etcp_compressor *compressors = etcp_compressors(&compressor_count);
    size_t i;
    size_t j;

    if (argc != 3) {
        fprintf(stderr, "usage: %s client-directory server-directory\n", argv[0]);
        return 2;
    }
    for (i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        record_all(argv + 1, versions[i], NULL, NULL);
        for (j = 0; j < cipher_count; j++)
            record_all(argv + 1, versions[i], &ciphers[j], &compressors[j % compressor_count]);
        for (j = 0; j < compressor_count; j++)
            record_all(argv + 1, versions[i], NULL, &compressors[j]);
    }
    record_tls(argv + 1, PIECES | CONSTANT_KEYS);
    record_tls(argv + 1, PIECES | CONSTANT_KEYS | PASSWORD);
    return 0;
}
