/* SPAKE2 against the four vectors of RFC 9382, appendix B, and one of our own. */
#include "codec/spake2.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "base/error.h"
#include "base/mem.h"
#include "policy.h"
#include "tap.h"

static const struct vector {
    const char *name_a;
    const char *name_b;
    const char *w, *x, *y;
    const char *share_a, *share_b;
    const char *proof_a, *proof_b;
    const char *aad;
} vectors[] = {
    {"server", "client", "2ee57912099d31560b3a44b1184b9b4866e904c49d12ac5042c97dca461b1a5f",
     "43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729",
     "dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be",
     "04a56fa807caaa53a4d28dbb9853b9815c61a411118a6fe516a8798434751470f9010153ac33d0d5f2047ffdb1a3e"
     "42c9b4e6be662766e1eeb4116988ede5f912c",
     "0406557e482bd03097ad0cbaa5df82115460d951e3451962f1eaf4367a420676d09857ccbc522686c83d1852abfa8"
     "ed6e4a1155cf8f1543ceca528afb591a1e0b7",
     "58ad4aa88e0b60d5061eb6b5dd93e80d9c4f00d127c65b3b35b1b5281fee38f0",
     "d3e2e547f1ae04f2dbdbf0fc4b79f8ecff2dff314b5d32fe9fcef2fb26dc459b", ""},
    {"", "client", "0548d8729f730589e579b0475a582c1608138ddf7054b73b5381c7e883e2efae",
     "403abbe3b1b4b9ba17e3032849759d723939a27a27b9d921c500edde18ed654b",
     "903023b6598908936ea7c929bd761af6039577a9c3f9581064187c3049d87065",
     "04a897b769e681c62ac1c2357319a3d363f610839c4477720d24cbe32f5fd85f44fb92ba966578c1b712be6962498"
     "834078262caa5b441ecfa9d4a9485720e918a",
     "04e0f816fd1c35e22065d5556215c097e799390d16661c386e0ecc84593974a61b881a8c82327687d0501862970c6"
     "4565560cb5671f696048050ca66ca5f8cc7fc",
     "47d29e6666af1b7dd450d571233085d7a9866e4d49d2645e2df975489521232b",
     "3313c5cefc361d27fb16847a91c2a73b766ffa90a4839122a9b70a2f6bd1d6df", ""},
    {"server", "", "626e0cdc7b14c9db3e52a0b1b3a768c98e37852d5db30febe0497b14eae8c254",
     "07adb3db6bc623d3399726bfdbfd3d15a58ea776ab8a308b00392621291f9633",
     "b6a4fc8dbb629d4ba51d6f91ed1532cf87adec98f25dd153a75accafafedec16",
     "04f88fb71c99bfffaea370966b7eb99cd4be0ff1a7d335caac4211c4afd855e2e15a873b298503ad8ba1d9cbb9a39"
     "2d2ba309b48bfd7879aefd0f2cea6009763b0",
     "040c269d6be017dccb15182ac6bfcd9e2a14de019dd587eaf4bdfd353f031101e7cca177f8eb362a6e83e7d5e729c"
     "0732e1b528879c086f39ba0f31a9661bd34db",
     "bc9f9bbe99f26d0b2260e6456e05a86196a3307ec6663a18bf6ac825736533b2",
     "c2370e1bf813b086dff0d834e74425a06e6390f48f5411900276dcccc5a297ec", ""},
    {"", "", "7bf46c454b4c1b25799527d896508afd5fc62ef4ec59db1efb49113063d70cca",
     "8cef65df64bb2d0f83540c53632de911b5b24b3eab6cc74a97609fd659e95473",
     "d7a66f64074a84652d8d623a92e20c9675c61cb5b4f6a0063e4648a2fdc02d53",
     "04a65b367a3f613cf9f0654b1b28a1e3a8a40387956c8ba6063e8658563890f46ca1ef6a676598889fc28de2950ab"
     "8120b79a5ef1ea4c9f44bc98f585634b46d66",
     "04589f13218822710d98d8b2123a079041052d9941b9cf88c6617ddb2fcc0494662eea8ba6b64692dc318250030c6"
     "af045cb738bc81ba35b043c3dcb46adf6f58d",
     "dfb4db8d48ae5a675963ea5e6c19d98d4ea028d8e898dad96ea19a80ade95dca",
     "d0f0609d1613138d354f7e95f19fb556bf52d751947241e8c7118df5ef0ae175", ""},
    /* Ours: the password's own w, and AAD = 00..1f || SHA-256(""), checked with another program. */
    {"EasyTCP client", "EasyTCP server",
     "7fc7ceb9526ee815646e5bc26a43492c5f5dc367e96b1100b9b6a84b6d5e557d",
     "43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729",
     "dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be",
     "04cb54ff68872353744f92d29e0cf0ac6b63716a64efd7e263317104adff64d8e314b548874365243b243c676dd31"
     "822720b2ffd8a07187ecdbe3b645fbb27f304",
     "04faf5e445793f66d537bb28cdda2af994ab5cd4470c720163467497a4eadd576a020cad499b27361c99eb3ff7c0b"
     "abca4d27e5ca7e3385fe2cadd6da2fdd4ad64",
     "9b7fb5bbc399c68d9742c7ba0172cf1492c14bea1554a25799ab8048cf9e2459",
     "16267969dcfcd1be7662b7b4d397c7f71e437da29b9f433e566632c6225720a6",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
};

enum { VECTORS = sizeof vectors / sizeof vectors[0], OURS = VECTORS - 1 };

static unsigned nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t len = strlen(hex) / 2;
    size_t i;

    for (i = 0; i < len; i++)
        out[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return len;
}

/* A source that gives one scalar. */
static int given(void *arg, uint8_t *out, size_t len)
{
    return from_hex(arg, out) == len ? 0 : ETCP_ECRYPT;
}

typedef struct pair {
    etcp_spake2_secret *secret;
    etcp_spake2 *a, *b;
    uint8_t share_a[ETCP_SPAKE2_SHARE], share_b[ETCP_SPAKE2_SHARE];
    uint8_t aad[64];
    etcp_spake2_context context;
    etcp_spake2_proofs by_a, by_b;
} pair;

static void pair_free(pair *p)
{
    etcp_spake2_free(p->a);
    etcp_spake2_free(p->b);
    etcp_spake2_secret_free(p->secret);
}

static int pair_begin(pair *p, const struct vector *v)
{
    uint8_t w[ETCP_SPAKE2_SCALAR];
    int rc;

    memset(p, 0, sizeof *p);
    (void)from_hex(v->w, w);
    p->context.name_a = v->name_a;
    p->context.name_b = v->name_b;
    p->context.aad = p->aad;
    p->context.aad_len = from_hex(v->aad, p->aad);
    rc = etcp_spake2_secret_new(w, &p->secret);
    if (rc == 0)
        rc = etcp_spake2_new(p->secret, ETCP_SPAKE2_A, given, (void *)v->x, &p->a, p->share_a);
    if (rc == 0)
        rc = etcp_spake2_new(p->secret, ETCP_SPAKE2_B, given, (void *)v->y, &p->b, p->share_b);
    return rc;
}

static int pair_finish(pair *p)
{
    int rc = etcp_spake2_finish(p->a, p->secret, &p->context, p->share_b, &p->by_a);

    return rc < 0 ? rc : etcp_spake2_finish(p->b, p->secret, &p->context, p->share_a, &p->by_b);
}

static void is_hex(const uint8_t *got, size_t len, const char *hex, const char *name, unsigned i)
{
    uint8_t want[ETCP_SPAKE2_SHARE];

    tap_is_mem(got, len, want, from_hex(hex, want), "vector %u: %s", i + 1, name);
}

static void test_vectors(void)
{
    unsigned i;

    for (i = 0; i < VECTORS; i++) {
        pair p;

        tap_is_int(pair_begin(&p, &vectors[i]), 0, "vector %u: begins", i + 1);
        is_hex(p.share_a, sizeof p.share_a, vectors[i].share_a, "pA", i);
        is_hex(p.share_b, sizeof p.share_b, vectors[i].share_b, "pB", i);
        tap_is_int(pair_finish(&p), 0, "vector %u: ends", i + 1);
        is_hex(p.by_a.a, sizeof p.by_a.a, vectors[i].proof_a, "cA", i);
        is_hex(p.by_a.b, sizeof p.by_a.b, vectors[i].proof_b, "cB", i);
        tap_ok(memcmp(&p.by_a, &p.by_b, sizeof p.by_a) == 0, "vector %u: both ends agree", i + 1);
        pair_free(&p);
    }
}

static void test_password(void)
{
    static const char password[] = "correct horse battery staple";
    uint8_t w[ETCP_SPAKE2_SCALAR];

    tap_is_int(etcp_spake2_scalar((const uint8_t *)password, strlen(password), w), 0, "w");
    is_hex(w, sizeof w, vectors[OURS].w, "w of the password", OURS);
    tap_is_int(etcp_spake2_scalar(NULL, 0, w), 0, "an empty password has one, too");
}

static void test_scalars(void)
{
    static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    etcp_spake2_secret *secret = NULL;
    uint8_t w[ETCP_SPAKE2_SCALAR];

    memset(w, 0, sizeof w);
    tap_is_int(etcp_spake2_secret_new(w, &secret), ETCP_EINVAL, "w = 0 is refused");
    (void)from_hex(order, w);
    tap_is_int(etcp_spake2_secret_new(w, &secret), ETCP_EINVAL, "w = n is refused");
}

/* Gives n, 0 and then a good scalar. */
static int late(void *arg, uint8_t *out, size_t len)
{
    static const char order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    unsigned *calls = arg;

    if (++*calls == 2)
        memset(out, 0, len);
    else
        (void)from_hex(*calls == 1 ? order : vectors[0].x, out);
    return 0;
}

static int broken(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return ETCP_ECRYPT;
}

static void test_random(void)
{
    uint8_t w[ETCP_SPAKE2_SCALAR];
    uint8_t share[ETCP_SPAKE2_SHARE];
    etcp_spake2_secret *secret = NULL;
    etcp_spake2 *run = NULL;
    unsigned calls = 0;

    (void)from_hex(vectors[0].w, w);
    (void)etcp_spake2_secret_new(w, &secret);
    tap_is_int(etcp_spake2_new(secret, ETCP_SPAKE2_A, late, &calls, &run, share), 0, "drawn");
    tap_is_int((int)calls, 3, "n and 0 are drawn again");
    is_hex(share, sizeof share, vectors[0].share_a, "pA of the third draw", 0);
    etcp_spake2_free(run);
    tap_is_int(etcp_spake2_new(secret, ETCP_SPAKE2_A, broken, NULL, &run, share), ETCP_ECRYPT,
               "no chance, no share");
    etcp_spake2_secret_free(secret);
}

/* ---- what a peer may send -------------------------------------------------------------------- */

static int finish_with(size_t at, unsigned flip, const uint8_t *share)
{
    uint8_t bytes[ETCP_SPAKE2_SHARE];
    pair p;
    int rc;

    (void)pair_begin(&p, &vectors[0]);
    memcpy(bytes, share ? share : p.share_b, sizeof bytes);
    bytes[at] ^= (uint8_t)flip;
    rc = etcp_spake2_finish(p.a, p.secret, &p.context, bytes, &p.by_a);
    pair_free(&p);
    return rc;
}

/* w*N unblinds to infinity; with w = 1 it is N itself. */
static const char n_point[] = "04d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49"
                              "07d60aa6bfade45008a636337f5168c64d9bd36034808cd564490b1e656edbe7";

static void test_infinity(void)
{
    uint8_t w[ETCP_SPAKE2_SCALAR] = {0};
    uint8_t share[ETCP_SPAKE2_SHARE];
    uint8_t own[ETCP_SPAKE2_SHARE];
    etcp_spake2_context context = {"A", "B", NULL, 0};
    etcp_spake2_proofs proofs;
    etcp_spake2_secret *secret = NULL;
    etcp_spake2 *run = NULL;

    w[31] = 1;
    (void)from_hex(n_point, share);
    (void)etcp_spake2_secret_new(w, &secret);
    (void)etcp_spake2_new(secret, ETCP_SPAKE2_A, given, (void *)vectors[0].x, &run, own);
    tap_is_int(etcp_spake2_finish(run, secret, &context, share, &proofs), ETCP_EPROTO,
               "w*N is refused");
    tap_is_int(etcp_spake2_finish(run, secret, &context, own, &proofs), ETCP_EPROTO,
               "a run takes one share");
    etcp_spake2_free(run);
    etcp_spake2_secret_free(secret);
}

static void test_points(void)
{
    static const uint8_t zeros[ETCP_SPAKE2_SHARE];
    unsigned refused = 0;
    size_t at;

    tap_is_int(finish_with(0, 0, zeros), ETCP_EPROTO, "65 zero bytes are refused");
    tap_is_int(finish_with(0, 0x04 ^ 0x06, NULL), ETCP_EPROTO, "hybrid form is refused");
    tap_is_int(finish_with(0, 0x04 ^ 0x02, NULL), ETCP_EPROTO, "compressed form, too");
    for (at = 0; at < ETCP_SPAKE2_SHARE; at++)
        refused += finish_with(at, 0x01, NULL) == ETCP_EPROTO;
    tap_is_int((int)refused, ETCP_SPAKE2_SHARE, "a flipped byte leaves the curve");
    test_infinity();
}

/* ---- the proof fails for the wrong ----------------------------------------------------------- */

static int proofs_differ(const char *password_a, const char *password_b, size_t flip_aad)
{
    uint8_t w[ETCP_SPAKE2_SCALAR];
    etcp_spake2_secret *other = NULL;
    etcp_spake2 *b = NULL;
    etcp_spake2_proofs by_a, by_b;
    uint8_t share_b[ETCP_SPAKE2_SHARE];
    int differ;
    pair p;

    (void)pair_begin(&p, &vectors[OURS]);
    etcp_spake2_secret_free(p.secret);
    etcp_spake2_free(p.a);
    (void)etcp_spake2_scalar((const uint8_t *)password_a, strlen(password_a), w);
    (void)etcp_spake2_secret_new(w, &p.secret);
    (void)etcp_spake2_new(p.secret, ETCP_SPAKE2_A, given, (void *)vectors[0].x, &p.a, p.share_a);
    (void)etcp_spake2_scalar((const uint8_t *)password_b, strlen(password_b), w);
    (void)etcp_spake2_secret_new(w, &other);
    (void)etcp_spake2_new(other, ETCP_SPAKE2_B, given, (void *)vectors[0].y, &b, share_b);
    (void)etcp_spake2_finish(p.a, p.secret, &p.context, share_b, &by_a);
    if (flip_aad < sizeof p.aad)
        p.aad[flip_aad] ^= 1;
    (void)etcp_spake2_finish(b, other, &p.context, p.share_a, &by_b);
    differ = memcmp(by_a.a, by_b.a, sizeof by_a.a) != 0 && memcmp(by_a.b, by_b.b, 32) != 0;
    etcp_spake2_free(b);
    etcp_spake2_secret_free(other);
    pair_free(&p);
    return differ;
}

static void test_wrong(void)
{
    tap_ok(!proofs_differ("12345678x", "12345678x", 99), "the same password: the same proofs");
    tap_ok(proofs_differ("12345678x", "12345678y", 99), "another ninth character");
    tap_ok(proofs_differ("12345678", "12345678 ", 99), "a space more");
    tap_ok(proofs_differ("p", "p", 0), "another exporter");
    tap_ok(proofs_differ("p", "p", 63), "another prologue");
}

static void test_out_of_memory(void)
{
    unsigned failures = 0;
    long n;
    int rc;

    for (n = 1;; n++) {
        pair p;

        alloc_fail_at(n);
        rc = pair_begin(&p, &vectors[OURS]);
        if (rc == 0)
            rc = pair_finish(&p);
        pair_free(&p);
        if (rc == 0 || !alloc_has_failed())
            break;
        failures += rc == ETCP_ENOMEM && alloc_live() == 0;
    }
    tap_is_int(rc, 0, "without a failure all is well");
    tap_is_int(alloc_live(), 0, "nothing is left");
    tap_ok(n > 1 && failures == (unsigned)n - 1, "each of %ld failures is clean", n - 1);
    alloc_reset();
}

int main(void)
{
    if (!policy_leaves_sha256())
        return tap_done();
    test_vectors();
    test_password();
    test_scalars();
    test_random();
    test_points();
    test_wrong();
    test_out_of_memory();
    return tap_done();
}
