#include "freeze_scalar.h"

#include "base/mem.h"

#ifdef SVf_IsCOW
#define IS_LOCKED(sv) SvREADONLY(sv)
#else
/* Copies that share their bytes look read-only there. */
#define IS_LOCKED(sv) (SvREADONLY(sv) && !SvIsCOW(sv))
#endif

/* ---- the order of the keys ------------------------------------------------------------------- */

static int compare_bytes(const U8 *p, size_t p_len, const U8 *q, size_t q_len)
{
    int order = memcmp(p, q, p_len < q_len ? p_len : q_len);

    return order ? order : (p_len > q_len) - (p_len < q_len);
}

/* A key of characters up to 255 against one of UTF-8, by characters. */
static int compare_mixed(const U8 *p, size_t p_len, const U8 *q, size_t q_len)
{
    const U8 *p_end = p + p_len;
    const U8 *q_end = q + q_len;

    while (p < p_end && q < q_end) {
        unsigned c = *q++;
        if (c >= 0x80) {
            /* c2 and c3 begin the characters up to 255; whatever is larger is larger than all of p.
             */
            if (c > 0xc3 || q == q_end)
                return -1;
            c = (c & 3) << 6 | (*q++ & 0x3f);
        }
        if (*p != c)
            return *p < c ? -1 : 1;
        p++;
    }
    return (p < p_end) - (q < q_end);
}

/* As Perl's cmp, which compares characters; the order of the bytes is the same within one encoding.
 */
static int compare_keys(const void *left, const void *right)
{
    const HE *a = *(HE *const *)left;
    const HE *b = *(HE *const *)right;
    const U8 *p = (const U8 *)HeKEY(a);
    const U8 *q = (const U8 *)HeKEY(b);
    const size_t p_len = (size_t)HeKLEN(a);
    const size_t q_len = (size_t)HeKLEN(b);

    if (!HeKUTF8(a) == !HeKUTF8(b))
        return compare_bytes(p, p_len, q, q_len);
    return HeKUTF8(b) ? compare_mixed(p, p_len, q, q_len) : -compare_mixed(q, q_len, p, p_len);
}

/* The order of the buckets, as hv_iternext goes through them, but leaving the hash and an each()
 * that is under way alone. */
static size_t bucket_order(HV *hv)
{
#ifdef HvRAND_get
    return HvRAND_get(hv);
#else
    PERL_UNUSED_VAR(hv);
    return 0;
#endif
}

/* The first entry in bucket i and those behind it. Sets *i to its bucket, or beyond the last. */
static HE *entry_from(HV *hv, size_t *i)
{
    const size_t last = (size_t)HvMAX(hv);
    const size_t order = bucket_order(hv) & last;
    HE *const *const buckets = HvARRAY(hv);
    HE *he = NULL;
    size_t bucket;

    for (bucket = *i; bucket <= last; bucket++) {
        he = buckets[bucket ^ order];
        if (he)
            break;
    }
    *i = bucket;
    return he;
}

/* Fills entries[0..count) in the order in which they are written. */
static void list_entries(const etcp_freezer *z, HV *hv, HE **entries, size_t count)
{
    size_t bucket = 0;
    size_t used = 0;
    HE *he;

    for (he = entry_from(hv, &bucket); he; bucket++, he = entry_from(hv, &bucket)) {
        for (; he && used < count; he = HeNEXT(he))
            entries[used++] = he;
    }
    if (z->is_canonical)
        qsort(entries, used, sizeof *entries, compare_keys);
}

/* ---- keys and values ------------------------------------------------------------------------- */

static unsigned key_flags(pTHX_ const HV *hv, const HE *he)
{
    unsigned flags = 0;

    if (HeKUTF8(he))
        flags |= ETCP_SX_KEY_UTF8;
    if (HeKWASUTF8(he))
        flags |= ETCP_SX_KEY_WAS_UTF8;
    if (SvREADONLY(hv) && IS_LOCKED(HeVAL(he)))
        flags |= ETCP_SX_KEY_LOCKED;
    if (HeVAL(he) == &PL_sv_placeholder)
        flags |= ETCP_SX_KEY_PLACEHOLDER;
    return flags;
}

static int put_key(etcp_freezer *z, const etcp_freeze_frame *f, unsigned flags, const char *key,
                   size_t len)
{
    return f->is_flagged ? etcp_storable_put_flag_key(&z->w, flags, key, len)
                         : etcp_storable_put_key(&z->w, key, len);
}

static SV *value_of(pTHX_ const HE *he)
{
    return HeVAL(he) == &PL_sv_placeholder ? &PL_sv_undef : HeVAL(he);
}

/* ---- hashes that nobody changes meanwhile ---------------------------------------------------- */

/* The entry to be written next, or NULL. */
static HE *current_entry(const etcp_freeze_frame *f)
{
    if (f->kind == ETCP_FREEZE_HASH)
        return f->u.entry;
    return f->index < f->count ? f->u.entries[f->index] : NULL;
}

static void advance(etcp_freeze_frame *f)
{
    if (f->kind == ETCP_FREEZE_SORTED) {
        f->index++;
        return;
    }
    f->u.entry = HeNEXT(f->u.entry);
    f->count--;
    if (!f->u.entry && f->count) {
        f->index++;
        f->u.entry = entry_from((HV *)f->value, &f->index);
    }
}

static int step_entries(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    HE *he;
    int rc;

    for (he = current_entry(f); he; he = current_entry(f)) {
        if (!f->has_value) {
            f->has_value = 1;
            rc = etcp_freeze_element(aTHX_ z, value_of(aTHX_ he), next);
            if (rc)
                return rc;
        }
        rc = put_key(z, f, f->is_flagged ? key_flags(aTHX_(HV *) f->value, he) : 0, HeKEY(he),
                     (size_t)HeKLEN(he));
        if (rc < 0)
            return rc;
        f->has_value = 0;
        advance(f);
    }
    return ETCP_FREEZE_DONE;
}

/* ---- hashes that Perl code may change meanwhile ---------------------------------------------- */

/* A list of value and key by turns; the flags stand before the bytes of the key. */
static AV *take_snapshot(pTHX_ etcp_freezer *z, HV *hv, HE *const *entries, size_t count)
{
    AV *list = newAV();
    size_t i;

    etcp_freeze_hold(aTHX_ z, (SV *)list);
    for (i = 0; i < count; i++) {
        const char flags = (char)key_flags(aTHX_ hv, entries[i]);
        SV *key = newSVpvn(&flags, 1);

        sv_catpvn(key, HeKEY(entries[i]), (STRLEN)HeKLEN(entries[i]));
        av_push(list, SvREFCNT_inc_simple_NN(value_of(aTHX_ entries[i])));
        av_push(list, key);
    }
    return list;
}

static int step_snapshot(etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    int rc;

    while (f->index < f->count) {
        SV *const *pair = AvARRAY(f->u.list) + 2 * f->index;

        if (!f->has_value) {
            f->has_value = 1;
            *next = pair[0];
            return ETCP_FREEZE_NEXT;
        }
        rc = put_key(z, f, (unsigned char)SvPVX_const(pair[1])[0], SvPVX_const(pair[1]) + 1,
                     SvCUR(pair[1]) - 1);
        if (rc < 0)
            return rc;
        f->has_value = 0;
        f->index++;
    }
    return ETCP_FREEZE_DONE;
}

int etcp_freeze_hash_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    return f->kind == ETCP_FREEZE_SNAPSHOT ? step_snapshot(z, f, next)
                                           : step_entries(aTHX_ z, f, next);
}

/* ---- the start ------------------------------------------------------------------------------- */

/* $Storable::canonical asks for the order of the keys; Perl code, for a copy of them. */
static int open_list(pTHX_ etcp_freezer *z, HV *hv, size_t count, etcp_freeze_frame *f)
{
    HE **entries = etcp_malloc(count * sizeof *entries);

    if (!entries)
        return ETCP_ENOMEM;
    list_entries(z, hv, entries, count);
    if (z->mode != ETCP_FREEZE_HOLDING) {
        f->kind = ETCP_FREEZE_SORTED;
        f->u.entries = entries;
        return ETCP_FREEZE_OPENED;
    }
    f->u.list = take_snapshot(aTHX_ z, hv, entries, count);
    f->kind = ETCP_FREEZE_SNAPSHOT;
    etcp_free(entries);
    return ETCP_FREEZE_OPENED;
}

static int open_hash(pTHX_ etcp_freezer *z, HV *hv, size_t count, int is_flagged)
{
    etcp_freeze_frame *f;
    int rc = etcp_freeze_push(aTHX_ z, ETCP_FREEZE_HASH, (SV *)hv, count, &f);

    if (rc != ETCP_FREEZE_OPENED)
        return rc;
    f->is_flagged = (uint8_t)is_flagged;
    f->has_value = 0;
    if (z->is_canonical || z->mode == ETCP_FREEZE_HOLDING)
        return open_list(aTHX_ z, hv, count, f);
    f->u.entry = entry_from(hv, &f->index);
    return ETCP_FREEZE_OPENED;
}

int etcp_freeze_hash(pTHX_ etcp_freezer *z, HV *hv)
{
    size_t count = (size_t)HvTOTALKEYS(hv);
    int is_restricted = SvREADONLY(hv) ? 1 : 0;
    int is_flagged = is_restricted || HvHASKFLAGS(hv);
    int rc;

    if (count > INT32_MAX)
        return ETCP_FREEZE_FOREIGN;
    if (is_restricted && z->can && etcp_freeze_needs_storable(z))
        return ETCP_FREEZE_AGAIN;
    if (is_flagged)
        rc = etcp_storable_put_flag_hash(&z->w, is_restricted ? ETCP_SX_HASH_RESTRICTED : 0,
                                         (uint32_t)count);
    else
        rc = etcp_storable_put_container(&z->w, ETCP_SX_HASH, (uint32_t)count);
    if (rc < 0 || count == 0)
        return rc;
    return open_hash(aTHX_ z, hv, count, is_flagged);
}
