#include "policy.h"

#include "arguments.h"

/* The names of a list as the keys of a mortal hash: reading one may run Perl code, which may die or
 * change the list. */
static HV *names_in(pTHX_ AV *classes)
{
    HV *names = (HV *)sv_2mortal((SV *)newHV());
    I32 i;

    for (i = 0; classes && i <= av_len(classes); i++) {
        SV **place = av_fetch(classes, i, 0);
        SV *name = place ? sv_mortalcopy(*place) : NULL;

        if (name && SvOK(name))
            (void)hv_store_ent(names, etcp_arguments_text(aTHX_ name), newSViv(1), 0);
    }
    return names;
}

etcp_policy *etcp_policy_new(pTHX_ etcp_thaw_mode mode, AV *classes)
{
    HV *names = mode == ETCP_THAW_LISTED ? names_in(aTHX_ classes) : NULL;
    etcp_policy *policy;

    Newxz(policy, 1, etcp_policy);
    policy->references = 1;
    policy->rule.mode = mode;
    policy->rule.classes = (HV *)SvREFCNT_inc((SV *)names);
    return policy;
}

etcp_policy *etcp_policy_ref(etcp_policy *policy)
{
    if (policy)
        policy->references++;
    return policy;
}

void etcp_policy_unref(pTHX_ etcp_policy *policy)
{
    if (!policy || --policy->references > 0)
        return;
    if (!PL_dirty) /* what global destruction has freed already is not ours to free */
        SvREFCNT_dec((SV *)policy->rule.classes);
    Safefree(policy);
}

#ifdef USE_ITHREADS
etcp_policy *etcp_policy_clone(pTHX_ const etcp_policy *old, CLONE_PARAMS *param)
{
    etcp_policy *copy;

    if (!old)
        return NULL;
    Newxz(copy, 1, etcp_policy);
    copy->references = 1;
    copy->passes_images = old->passes_images;
    copy->rule = old->rule;
    copy->rule.classes = (HV *)sv_dup_inc((SV *)old->rule.classes, param);
    return copy;
}
#endif
