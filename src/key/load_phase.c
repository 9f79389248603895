#include "key/load_phase.h"

#include <openssl/crypto.h>

static const struct load_phase private_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
/* provider-pkcs11(7): public keys are looked for without a login, with one if that finds none. */
static const struct load_phase public_phases[] = {
    { CKO_PUBLIC_KEY, LOGIN_IF_ALWAYS, false, false },
    { CKO_PUBLIC_KEY, WITHOUT_LOGIN, true, false },
    { CKO_PUBLIC_KEY, LOGIN_IF_AUTO, true, false },
    { CKO_PRIVATE_KEY, WITH_LOGIN, true, true },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase public_half_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, true },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase certificate_phases[] = {
    { CKO_CERTIFICATE, LOGIN_IF_ALWAYS, false, false },
    { CKO_CERTIFICATE, WITHOUT_LOGIN, true, false },
    { CKO_CERTIFICATE, LOGIN_IF_AUTO, true, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase all_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, false },
    { CKO_PUBLIC_KEY, WITHOUT_LOGIN, false, false },
    { CKO_CERTIFICATE, WITHOUT_LOGIN, false, false },
    { CKO_SECRET_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase secret_phases[] = {
    { CKO_SECRET_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase no_phases[] = {
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};

/* Whether secret keys are listed: by name, from the version on in which libcrypto has such keys at
 * all. Not where the URI names an object: a program that follows names would never end. */
static bool lists_secrets(const struct load *load)
{
    return load->want == LOAD_ANY && OpenSSL_version_num() >= 0x30500000UL &&
           uri_id(&load->uri) == NULL && uri_label(&load->uri) == NULL && load->alias.data == NULL;
}

const struct load_phase *load_phases(const struct load *load)
{
    CK_OBJECT_CLASS class;
    bool named = uri_class(&load->uri, &class);

    if (load->want == LOAD_SECRET)
        return named && class != CKO_SECRET_KEY ? no_phases : secret_phases;
    if (load->subject.data != NULL || load->issuer.data != NULL)
        return certificate_phases;
    if (named && class == CKO_CERTIFICATE)
        return load->want == LOAD_ANY || load->want == LOAD_CERTIFICATE ? certificate_phases
                                                                        : no_phases;
    if (load->want == LOAD_CERTIFICATE)
        return named ? no_phases : certificate_phases;
    if (named && class == CKO_PRIVATE_KEY)
        return load->want == LOAD_PUBLIC ? public_half_phases : private_phases;
    if (named && class == CKO_PUBLIC_KEY)
        return load->want == LOAD_PRIVATE ? no_phases : public_phases;
    if (named)
        return class == CKO_SECRET_KEY ? secret_phases : no_phases;
    return load->want == LOAD_PRIVATE  ? private_phases
           : load->want == LOAD_PUBLIC ? public_phases
                                       : all_phases;
}

bool load_phase_applies(const struct load *load)
{
    enum login_behavior login = load->provider->config.login;

    if (load->phase->class == CKO_SECRET_KEY)
        return load->want == LOAD_SECRET || lists_secrets(load);
    switch (load->phase->login) {
    case LOGIN_IF_ALWAYS:
        return login == LOGIN_ALWAYS;
    case LOGIN_IF_AUTO:
        return login == LOGIN_AUTO && load->found_here == 0;
    default:
        return !load->phase->fallback || load->found_here == 0;
    }
}
