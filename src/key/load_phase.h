/* Which searches find what a load is after, on each slot, one after the other. */
#ifndef BRIDGE_KEY_LOAD_PHASE_H
#define BRIDGE_KEY_LOAD_PHASE_H

#include "key/load.h"

enum phase_login {
    WITHOUT_LOGIN,
    WITH_LOGIN,
    LOGIN_IF_ALWAYS, /* with, and only when pkcs11-module-login-behavior says always */
    LOGIN_IF_AUTO,   /* with, and only when it says auto */
};

/* A search on one slot. */
struct load_phase {
    CK_OBJECT_CLASS class;
    enum phase_login login;
    bool fallback;    /* only while the slot gave nothing */
    bool public_half; /* of a private key */
};

#define NO_CLASS CK_UNAVAILABLE_INFORMATION

/* The first; the last has NO_CLASS. */
const struct load_phase *load_phases(const struct load *load);

/* Whether load->phase is to be run, by the configuration and by what was found on the slot. */
bool load_phase_applies(const struct load *load);

#endif
