/* The functions of PKCS#11 v3.0 and v3.2 that the provider may call, as in functions.h, with their
 * places in the lists: behind the functions of v2.40. */

F(C_SessionCancel, 3, (ck_session_handle_t session, ck_flags_t flags), (session, flags))
F(C_EncapsulateKey, 24,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key,
   struct ck_attribute *templ, unsigned long count, unsigned char *out, unsigned long *out_len,
   ck_object_handle_t *secret),
  (session, mechanism, key, templ, count, out, out_len, secret))
F(C_DecapsulateKey, 25,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key,
   struct ck_attribute *templ, unsigned long count, unsigned char *in, unsigned long in_len,
   ck_object_handle_t *secret),
  (session, mechanism, key, templ, count, in, in_len, secret))
