#include "dial_text.h"

#include <errno.h>

static SV *text_of_connecting(pTHX_ const etcp_error *e, int rc, const etcp_dial_facts *facts)
{
    int saved = rc == ETCP_ETIMEOUT ? ETIMEDOUT : e->sys_errno;

    return sv_2mortal(newSVpvf("Could not connect to %" SVf ": %s", SVfARG(facts->destination),
                               saved && rc != ETCP_EINVAL ? Strerror(saved)
                               : e->text[0]               ? e->text
                                                          : etcp_code_text(rc)));
}

SV *etcp_dial_text(pTHX_ const etcp_dial *dial, int rc, const etcp_dial_facts *facts)
{
    const etcp_error *e = etcp_dial_error(dial);
    const char *text = e->text[0] ? e->text : etcp_code_text(rc);

    if (etcp_dial_phase_of(dial) == ETCP_DIAL_CONNECTING)
        return text_of_connecting(aTHX_ e, rc, facts);
    if (rc == ETCP_ETIMEOUT || rc == ETCP_ECLOSED || rc == ETCP_ESYSTEM)
        return sv_2mortal(newSVpvf("Error negotiating with server: Client timed out while "
                                   "negotiating with server [%d/%d] : %s",
                                   facts->passed_s, facts->allowed_s, text));
    return sv_2mortal(newSVpvf("Error negotiating with server: %s", text));
}
