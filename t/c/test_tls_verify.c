/* Whose key is taken: fingerprints, authorities, known hosts, and certificates of all kinds. */
#include "tls_pair.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "policy.h"
#include "tap.h"
#include "tls/cert.h"
#include "tls/known_hosts.h"

static char folder[] = "tls-verify-XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[8][64];
    static unsigned next;
    char *path = paths[next++ % 8];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* How a certificate of this test differs from a good one. */
typedef struct kind {
    const char *name;
    int version; /* as X509_set_version wants it */
    int has_subject;
    long serial;
    long days; /* valid for so many from now on */
    int is_rsa;
    int alone;   /* what X509_verify_cert says when nobody vouches for it */
    int trusted; /* the same when it is among the authorities; 0: it verifies */
} kind;

static const kind kinds[] = {
    {"v3", 2, 1, 7, 10, 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0},
    {"v1", 0, 1, 7, 10, 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0},
    {"no subject", 2, 0, 7, 10, 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0},
    {"serial 0", 2, 1, 0, 10, 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0},
    {"expired", 2, 1, 7, -1, 0, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     X509_V_ERR_CERT_HAS_EXPIRED},
    {"RSA", 2, 1, 7, 10, 1, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0},
};

static EVP_PKEY *rsa_key(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
    EVP_PKEY *key = NULL;

    (void)EVP_PKEY_keygen_init(ctx);
    (void)EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048);
    (void)EVP_PKEY_keygen(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static X509_NAME *name_of(const char *text)
{
    X509_NAME *name = X509_NAME_new();

    if (text)
        (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1,
                                         -1, 0);
    return name;
}

static void add_extension(X509 *cert, int nid, const char *text)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, text);

    (void)X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/* A certificate for key, signed by issuer_key in issuer's name; NULL: by itself. */
static X509 *certify(const kind *k, const char *subject, EVP_PKEY *key, const char *issuer,
                     EVP_PKEY *issuer_key, const char *alt)
{
    X509 *cert = X509_new();
    X509_NAME *name = name_of(k->has_subject ? subject : NULL);
    X509_NAME *by = name_of(issuer ? issuer : k->has_subject ? subject : NULL);

    (void)X509_set_version(cert, k->version);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), k->serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -30L * 86400);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), k->days * 86400);
    (void)X509_set_subject_name(cert, name);
    (void)X509_set_issuer_name(cert, by);
    (void)X509_set_pubkey(cert, key);
    if (alt)
        add_extension(cert, NID_subject_alt_name, alt);
    else if (k->version == 2)
        add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    (void)X509_sign(cert, issuer_key ? issuer_key : key, EVP_sha256());
    X509_NAME_free(name);
    X509_NAME_free(by);
    return cert;
}

static const char *write_certs(const char *name, X509 *const *certs, unsigned count)
{
    const char *path = in_folder(name);
    BIO *file = BIO_new_file(path, "w");
    unsigned i;

    for (i = 0; i < count; i++)
        (void)PEM_write_bio_X509(file, certs[i]);
    BIO_free(file);
    return path;
}

static const char *write_key(const char *name, EVP_PKEY *key)
{
    const char *path = in_folder(name);

    (void)unlink(path);
    (void)etcp_cert_write_key(path, key);
    return path;
}

/* ---- two ends -------------------------------------------------------------------------------- */

static etcp_error error;

static etcp_tls *make(const etcp_tls_options *o)
{
    etcp_tls *tls = NULL;

    memset(&error, 0, sizeof error);
    (void)etcp_tls_new(o, &tls, &error);
    return tls;
}

static etcp_tls *make_server(const char *cert, const char *key, const char *ca)
{
    etcp_tls_options o;

    memset(&o, 0, sizeof o);
    o.flags = ETCP_TLS_SERVER;
    o.cert_file = cert;
    o.key_file = key;
    o.ca_file = ca;
    return make(&o);
}

typedef struct result {
    int client_rc, server_rc;
    int is_up;
    etcp_trust trust, server_trust;
    char client_text[ETCP_ERROR_TEXT_MAX], server_text[ETCP_ERROR_TEXT_MAX];
    int learned;
} result;

/* A handshake between the two; a good channel learns, and says so with a message. */
static result meet(etcp_tls *client_tls, etcp_tls *server_tls, const char *host)
{
    tls_end client, server;
    result r;

    memset(&r, 0, sizeof r);
    (void)tls_end_init(&client, client_tls, host, "somewhere:7");
    (void)tls_end_init(&server, server_tls, NULL, NULL);
    tls_shake(&client, &server, 0);
    r.is_up = etcp_channel_is_established(client.ch) && etcp_channel_is_established(server.ch);
    r.client_rc = client.rc;
    r.server_rc = server.rc;
    r.trust = etcp_channel_trust(client.ch);
    r.server_trust = etcp_channel_trust(server.ch);
    if (r.is_up)
        r.learned = etcp_channel_learn(client.ch);
    strcpy(r.client_text, etcp_channel_error(client.ch)->text);
    strcpy(r.server_text, etcp_channel_error(server.ch)->text);
    tls_end_deinit(&client);
    tls_end_deinit(&server);
    return r;
}

/* ---- kinds of certificates ------------------------------------------------------------------- */

static etcp_tls *client_with_ca(const char *ca)
{
    etcp_tls_options o;

    memset(&o, 0, sizeof o);
    o.ca_file = ca;
    return make(&o);
}

static void is_refused_with(const result *r, int reason, const char *name)
{
    char text[ETCP_ERROR_TEXT_MAX];

    (void)snprintf(text, sizeof text, "The server's certificate does not verify: %s",
                   X509_verify_cert_error_string(reason));
    tap_ok(!r->is_up && r->client_rc == ETCP_EPOLICY, "%s: refused", name);
    tap_is_str(r->client_text, text, "%s: text", name);
    tap_ok(strncmp(r->server_text, "The peer ended TLS: ", 20) == 0, "%s: the server is told",
           name);
}

/* The chain alone is looked at: no name. */
static void test_kinds(void)
{
    EVP_PKEY *ec = etcp_cert_new_key();
    EVP_PKEY *rsa = rsa_key();
    X509 *other = certify(&kinds[0], "other", ec, NULL, NULL, NULL);
    etcp_tls *anyone = client_with_ca(NULL);
    etcp_tls *strict = client_with_ca(write_certs("other.pem", &other, 1));
    unsigned i;

    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        EVP_PKEY *key = kinds[i].is_rsa ? rsa : ec;
        X509 *cert = certify(&kinds[i], "somebody", key, NULL, NULL, NULL);
        const char *path = write_certs("cert.pem", &cert, 1);
        etcp_tls *server = make_server(path, write_key("key.pem", key), NULL);
        etcp_tls *trusting = client_with_ca(path);
        result r = meet(anyone, server, NULL);

        tap_ok(r.is_up, "%s: everybody passes where nothing is asked: %s", kinds[i].name,
               r.client_text);
        r = meet(strict, server, NULL);
        is_refused_with(&r, kinds[i].alone, kinds[i].name);
        r = meet(trusting, server, NULL);
        if (kinds[i].trusted)
            is_refused_with(&r, kinds[i].trusted, kinds[i].name);
        else
            tap_ok(r.is_up && r.trust == ETCP_TRUST_CA, "%s: verifies as an authority: %s",
                   kinds[i].name, r.client_text);
        etcp_tls_unref(trusting);
        etcp_tls_unref(server);
        X509_free(cert);
    }
    etcp_tls_unref(anyone);
    etcp_tls_unref(strict);
    X509_free(other);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(rsa);
}

/* Names and addresses, by a chain of ten. */
static void test_names(void)
{
    static const struct {
        const char *host;
        int is_good;
    } hosts[] = {
        {"www.example.org", 1},     {"WWW.EXAMPLE.ORG", 1},
        {"a.sub.example.org", 1},   {"example.org", 0},
        {"x.y.sub.example.org", 0}, {"w1.part.example.org", 0},
        {"192.0.2.7", 1},           {"192.0.2.8", 0},
        {"2001:db8::7", 1},         {"2001:db8:0:0:0:0:0:7", 1},
        {"2001:db8::8", 0},
    };
    EVP_PKEY *key = etcp_cert_new_key();
    X509 *chain[10];
    const char *subject = NULL;
    char names[10][32];
    etcp_tls *server, *client;
    unsigned i;

    for (i = 10; i-- > 0;) {
        (void)snprintf(names[i], sizeof names[i], "authority %u", i);
        chain[i] = certify(&kinds[0], names[i], key, subject, NULL,
                           i ? NULL
                             : "DNS:www.example.org,DNS:*.sub.example.org,DNS:w*.part.example.org,"
                               "IP:192.0.2.7,IP:2001:db8::7");
        subject = names[i];
    }
    client = client_with_ca(write_certs("root.pem", &chain[9], 1));
    server = make_server(write_certs("chain.pem", chain, 9), write_key("key.pem", key), NULL);
    for (i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        result r = meet(client, server, hosts[i].host);

        tap_is_int(r.is_up, hosts[i].is_good, "%s: %s", hosts[i].host, r.client_text);
    }
    etcp_tls_unref(client);
    etcp_tls_unref(server);
    for (i = 0; i < 10; i++)
        X509_free(chain[i]);
    EVP_PKEY_free(key);
}

/* ---- clients' certificates ------------------------------------------------------------------- */

static void test_clients(void)
{
    EVP_PKEY *key = etcp_cert_new_key();
    X509 *cert = certify(&kinds[0], "a client", key, NULL, NULL, NULL);
    const char *cert_path = write_certs("client.pem", &cert, 1);
    const char *key_path = write_key("client-key.pem", key);
    etcp_tls *server = make_server(NULL, NULL, cert_path);
    etcp_tls_options o;
    etcp_tls *with, *without, *self_made;
    result r;

    memset(&o, 0, sizeof o);
    without = make(&o);
    o.key_file = key_path;
    self_made = make(&o);
    o.cert_file = cert_path;
    with = make(&o);
    r = meet(with, server, NULL);
    tap_ok(r.is_up && r.server_trust == ETCP_TRUST_CA, "a client with the certificate passes");
    r = meet(without, server, NULL);
    tap_ok(r.server_rc == ETCP_EPROTO, "one without does not: %s", r.server_text);
    r = meet(self_made, server, NULL);
    tap_ok(r.server_rc == ETCP_EPOLICY, "nor one with another: %s", r.server_text);
    etcp_tls_unref(server);

    memset(&o, 0, sizeof o);
    o.flags = ETCP_TLS_SERVER;
    o.fingerprints = calloc(1, sizeof *o.fingerprints);
    o.fingerprint_count = 1;
    (void)etcp_cert_fingerprint(cert, *(uint8_t(*)[ETCP_FINGERPRINT])o.fingerprints);
    server = make(&o);
    r = meet(self_made, server, NULL);
    tap_ok(r.is_up && r.server_trust == ETCP_TRUST_FINGERPRINT, "the key alone counts there");
    r = meet(without, server, NULL);
    tap_ok(!r.is_up, "and must be there");
    free((void *)o.fingerprints);
    etcp_tls_unref(server);
    etcp_tls_unref(with);
    etcp_tls_unref(without);
    etcp_tls_unref(self_made);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* ---- fingerprints ---------------------------------------------------------------------------- */

static void test_fingerprints(void)
{
    etcp_tls *server = make_server(NULL, NULL, NULL);
    etcp_tls *other = make_server(NULL, NULL, NULL);
    uint8_t prints[2][ETCP_FINGERPRINT];
    char text[ETCP_ERROR_TEXT_MAX];
    etcp_tls_options o;
    etcp_tls *client;
    result r;

    memset(&o, 0, sizeof o);
    memset(prints, 7, sizeof prints);
    (void)etcp_fingerprint_parse(etcp_tls_fingerprint(server), 71, prints[1]);
    o.fingerprints = (const uint8_t(*)[ETCP_FINGERPRINT])prints;
    o.fingerprint_count = 2;
    client = make(&o);
    r = meet(client, server, "localhost");
    tap_ok(r.is_up && r.trust == ETCP_TRUST_FINGERPRINT, "the second of the list passes");
    r = meet(client, other, "localhost");
    tap_is_int(r.client_rc, ETCP_EPOLICY, "another key does not");
    (void)snprintf(text, sizeof text, "The server's key is not the expected one: %s",
                   etcp_tls_fingerprint(other));
    tap_is_str(r.client_text, text, "and is named");
    etcp_tls_unref(client);
    etcp_tls_unref(server);
    etcp_tls_unref(other);
}

static void test_parsing(void)
{
    static const char good[] =
        "SHA256:00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100";
    uint8_t print[ETCP_FINGERPRINT];
    char text[ETCP_FINGERPRINT_TEXT];
    char bad[80];

    tap_is_int(etcp_fingerprint_parse(good, 71, print), 0, "digits in either case");
    etcp_fingerprint_format(print, text);
    tap_is_str(text, "SHA256:00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100",
               "come out in lower case");
    tap_is_int(etcp_fingerprint_parse(good, 70, print), ETCP_EINVAL, "too short");
    strcpy(bad, good);
    bad[40] = 'g';
    tap_is_int(etcp_fingerprint_parse(bad, 71, print), ETCP_EINVAL, "no digit");
    bad[0] = 's';
    tap_is_int(etcp_fingerprint_parse(bad, 71, print), ETCP_EINVAL, "another word in front");
}

/* ---- known hosts ----------------------------------------------------------------------------- */

static void append(const char *path, const char *text)
{
    FILE *file = fopen(path, "a");

    (void)fputs(text, file);
    (void)fclose(file);
}

static void test_known_hosts(void)
{
    const char *path = in_folder("known");
    etcp_tls *server = make_server(NULL, NULL, NULL);
    etcp_tls *other = make_server(NULL, NULL, NULL);
    char text[ETCP_ERROR_TEXT_MAX];
    etcp_tls_options o;
    etcp_tls *client;
    struct stat st;
    result r;

    memset(&o, 0, sizeof o);
    o.known_hosts = path;
    client = make(&o);
    tap_ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "the file is its owner's only");
    r = meet(client, server, NULL);
    tap_ok(r.is_up && r.trust == ETCP_TRUST_FIRST_USE && r.learned == 0, "the first time");
    r = meet(client, server, NULL);
    tap_ok(r.is_up && r.trust == ETCP_TRUST_KNOWN_HOST, "the second time");
    r = meet(client, other, NULL);
    tap_is_int(r.client_rc, ETCP_EPOLICY, "another key under the name");
    (void)snprintf(text, sizeof text, "The server's key changed since %s noted it: %s", path,
                   etcp_tls_fingerprint(other));
    tap_is_str(r.client_text, text, "is told");
    (void)snprintf(text, sizeof text, "# a remark\n\nsomewhere:7 %s\n",
                   etcp_tls_fingerprint(other));
    append(path, text);
    r = meet(client, other, NULL);
    tap_ok(r.is_up, "several lines may name a host");
    etcp_tls_unref(client);
    etcp_tls_unref(server);
    etcp_tls_unref(other);
}

static unsigned count_lines(const char *path)
{
    FILE *file = fopen(path, "r");
    unsigned lines = 0;
    int c;

    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    (void)fclose(file);
    return lines;
}

static void test_known_hosts_file(void)
{
    const char *path = in_folder("lines");
    uint8_t a[ETCP_FINGERPRINT], b[ETCP_FINGERPRINT];
    etcp_known known;
    unsigned i;

    memset(a, 1, sizeof a);
    memset(b, 2, sizeof b);
    tap_is_int(etcp_known_hosts_check(path), 0, "the file is made");
    for (i = 0; i < 2000; i++)
        append(path, "x");
    append(path, "\nhost:1 SHA256:short\nhost:1\nhost:10 junk\n");
    tap_is_int(etcp_known_hosts_find(path, "host:1", a, &known), 0, "searched");
    tap_is_int(known, ETCP_KNOWN_UNKNOWN, "damaged lines name nobody");
    tap_is_int(etcp_known_hosts_add(path, "host:1", a), 0, "added");
    tap_is_int(etcp_known_hosts_add(path, "host:1", a), 0, "added again");
    tap_is_int((int)count_lines(path), 5, "one line was enough");
    tap_is_int(etcp_known_hosts_add(path, "host:1", b), ETCP_EPOLICY, "never another key");
    (void)etcp_known_hosts_find(path, "host:1", b, &known);
    tap_is_int(known, ETCP_KNOWN_OTHER, "which is found out");
    (void)etcp_known_hosts_find(path, "host:11", b, &known);
    tap_is_int(known, ETCP_KNOWN_UNKNOWN, "names are compared as a whole");
    tap_is_int(etcp_known_hosts_check(in_folder("no/such")), ETCP_ESYSTEM, "no such folder");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_key_file(void)
{
    const char *path = in_folder("own-key.pem");
    etcp_tls *first = make_server(NULL, path, NULL);
    etcp_tls *second;
    struct stat st;
    EVP_PKEY *key;

    tap_ok(first && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "the key is made");
    second = make_server(NULL, path, NULL);
    tap_is_str(etcp_tls_fingerprint(second), etcp_tls_fingerprint(first), "and used again");
    key = etcp_cert_new_key();
    tap_is_int(etcp_cert_write_key(path, key), ETCP_ESYSTEM, "never written over");
    EVP_PKEY_free(key);
    etcp_tls_unref(first);
    first = etcp_tls_clone(second);
    tap_is_str(etcp_tls_fingerprint(first), etcp_tls_fingerprint(second), "a clone has it, too");
    etcp_tls_unref(second);
    etcp_tls_unref(first);
}

static void is_bad(const etcp_tls_options *o, const char *begin, const char *name)
{
    etcp_tls *tls = make(o);

    tap_ok(!tls && strncmp(error.text, begin, strlen(begin)) == 0, "%s: %s", name, error.text);
    etcp_tls_unref(tls);
}

static void test_bad_options(void)
{
    const char *text = in_folder("text");
    etcp_tls_options o;

    append(text, "nothing of the kind\n");
    memset(&o, 0, sizeof o);
    o.flags = ETCP_TLS_SERVER;
    o.groups = "P-257";
    is_bad(&o, "tlsgroups: P-257 is not known", "groups");
    o.groups = "X25519:P-256";
    etcp_tls_unref(make(&o));
    tap_is_int(error.code, 0, "known groups");
    o.groups = NULL;
    o.key_file = text;
    is_bad(&o, "tlskey: ", "key");
    o.key_file = in_folder("no/such");
    is_bad(&o, "tlskey: ", "key in no folder");
    o.key_file = NULL;
    o.cert_file = text;
    is_bad(&o, "tlscert: ", "certificate");
    o.cert_file = in_folder("cert.pem");
    is_bad(&o, "tlscert: ", "certificate without a key");
    o.key_file = in_folder("own-key.pem");
    is_bad(&o, "tlskey: ", "the key of another certificate");
    o.cert_file = o.key_file = NULL;
    o.ca_file = text;
    is_bad(&o, "tlsca: ", "authorities");
    o.ca_file = NULL;
    o.known_hosts = in_folder("no/such");
    is_bad(&o, "tlsknownhosts: ", "known hosts");
}

static void clean_up(void)
{
    static const char *const names[] = {"cert.pem",  "key.pem",     "other.pem", "root.pem",
                                        "chain.pem", "client.pem",  "known",     "client-key.pem",
                                        "lines",     "own-key.pem", "text"};
    unsigned i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unlink(in_folder(names[i]));
    (void)rmdir(folder);
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    if (!tap_ok(mkdtemp(folder) != NULL, "a folder for files"))
        return tap_done();
    test_kinds();
    test_names();
    test_clients();
    test_fingerprints();
    test_parsing();
    test_known_hosts();
    test_known_hosts_file();
    test_key_file();
    test_bad_options();
    clean_up();
    return tap_done();
}
