/* The functions that PKCS#11 v3.0 and v3.2 added, F(name, parameters, arguments) as in
 * ../fault/functions.h: those of v3.0 where FUNCTIONS_3_0 is defined, those of v3.2 where
 * FUNCTIONS_3_2 is, in the order of the function lists. */
#ifdef FUNCTIONS_3_0
F(C_GetInterfaceList, (struct ck_interface * list, unsigned long *count), (list, count))
F(C_GetInterface,
  (unsigned char *interface_name, struct ck_version *version, struct ck_interface **found,
   ck_flags_t flags),
  (interface_name, version, found, flags))
F(C_LoginUser,
  (ck_session_handle_t session, ck_user_type_t user_type, unsigned char *pin, unsigned long pin_len,
   unsigned char *username, unsigned long username_len),
  (session, user_type, pin, pin_len, username, username_len))
F(C_SessionCancel, (ck_session_handle_t session, ck_flags_t flags), (session, flags))
F(C_MessageEncryptInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_EncryptMessage,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *associated_data, unsigned long associated_data_len, unsigned char *plaintext,
   unsigned long plaintext_len, unsigned char *ciphertext, unsigned long *ciphertext_len),
  (session, parameter, parameter_len, associated_data, associated_data_len, plaintext,
   plaintext_len, ciphertext, ciphertext_len))
F(C_EncryptMessageBegin,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *associated_data, unsigned long associated_data_len),
  (session, parameter, parameter_len, associated_data, associated_data_len))
F(C_EncryptMessageNext,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *plaintext_part, unsigned long plaintext_part_len, unsigned char *ciphertext_part,
   unsigned long *ciphertext_part_len, ck_flags_t flags),
  (session, parameter, parameter_len, plaintext_part, plaintext_part_len, ciphertext_part,
   ciphertext_part_len, flags))
F(C_MessageEncryptFinal, (ck_session_handle_t session), (session))
F(C_MessageDecryptInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_DecryptMessage,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *associated_data, unsigned long associated_data_len, unsigned char *ciphertext,
   unsigned long ciphertext_len, unsigned char *plaintext, unsigned long *plaintext_len),
  (session, parameter, parameter_len, associated_data, associated_data_len, ciphertext,
   ciphertext_len, plaintext, plaintext_len))
F(C_DecryptMessageBegin,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *associated_data, unsigned long associated_data_len),
  (session, parameter, parameter_len, associated_data, associated_data_len))
F(C_DecryptMessageNext,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len,
   unsigned char *ciphertext_part, unsigned long ciphertext_part_len, unsigned char *plaintext_part,
   unsigned long *plaintext_part_len, ck_flags_t flags),
  (session, parameter, parameter_len, ciphertext_part, ciphertext_part_len, plaintext_part,
   plaintext_part_len, flags))
F(C_MessageDecryptFinal, (ck_session_handle_t session), (session))
F(C_MessageSignInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_SignMessage,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len, unsigned char *data,
   unsigned long data_len, unsigned char *signature, unsigned long *signature_len),
  (session, parameter, parameter_len, data, data_len, signature, signature_len))
F(C_SignMessageBegin, (ck_session_handle_t session, void *parameter, unsigned long parameter_len),
  (session, parameter, parameter_len))
F(C_SignMessageNext,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len, unsigned char *data,
   unsigned long data_len, unsigned char *signature, unsigned long *signature_len),
  (session, parameter, parameter_len, data, data_len, signature, signature_len))
F(C_MessageSignFinal, (ck_session_handle_t session), (session))
F(C_MessageVerifyInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_VerifyMessage,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len, unsigned char *data,
   unsigned long data_len, unsigned char *signature, unsigned long signature_len),
  (session, parameter, parameter_len, data, data_len, signature, signature_len))
F(C_VerifyMessageBegin, (ck_session_handle_t session, void *parameter, unsigned long parameter_len),
  (session, parameter, parameter_len))
F(C_VerifyMessageNext,
  (ck_session_handle_t session, void *parameter, unsigned long parameter_len, unsigned char *data,
   unsigned long data_len, unsigned char *signature, unsigned long signature_len),
  (session, parameter, parameter_len, data, data_len, signature, signature_len))
F(C_MessageVerifyFinal, (ck_session_handle_t session), (session))
#endif
#ifdef FUNCTIONS_3_2
F(C_EncapsulateKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t public_key,
   struct ck_attribute *templ, unsigned long attribute_count, unsigned char *ciphertext,
   unsigned long *ciphertext_len, ck_object_handle_t *key),
  (session, mechanism, public_key, templ, attribute_count, ciphertext, ciphertext_len, key))
F(C_DecapsulateKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t private_key,
   struct ck_attribute *templ, unsigned long attribute_count, unsigned char *ciphertext,
   unsigned long ciphertext_len, ck_object_handle_t *key),
  (session, mechanism, private_key, templ, attribute_count, ciphertext, ciphertext_len, key))
F(C_VerifySignatureInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key,
   unsigned char *signature, unsigned long signature_len),
  (session, mechanism, key, signature, signature_len))
F(C_VerifySignature, (ck_session_handle_t session, unsigned char *data, unsigned long data_len),
  (session, data, data_len))
F(C_VerifySignatureUpdate,
  (ck_session_handle_t session, unsigned char *part, unsigned long part_len),
  (session, part, part_len))
F(C_VerifySignatureFinal, (ck_session_handle_t session), (session))
F(C_GetSessionValidationFlags, (ck_session_handle_t session, unsigned long type, ck_flags_t *flags),
  (session, type, flags))
F(C_AsyncComplete,
  (ck_session_handle_t session, unsigned char *function_name, struct ck_async_data *result),
  (session, function_name, result))
F(C_AsyncGetID, (ck_session_handle_t session, unsigned char *function_name, unsigned long *id),
  (session, function_name, id))
F(C_AsyncJoin,
  (ck_session_handle_t session, unsigned char *function_name, unsigned long id, unsigned char *data,
   unsigned long data_len),
  (session, function_name, id, data, data_len))
F(C_WrapKeyAuthenticated,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t wrapping_key,
   ck_object_handle_t key, unsigned char *associated_data, unsigned long associated_data_len,
   unsigned char *wrapped_key, unsigned long *wrapped_key_len),
  (session, mechanism, wrapping_key, key, associated_data, associated_data_len, wrapped_key,
   wrapped_key_len))
F(C_UnwrapKeyAuthenticated,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t unwrapping_key,
   unsigned char *wrapped_key, unsigned long wrapped_key_len, struct ck_attribute *templ,
   unsigned long attribute_count, unsigned char *associated_data, unsigned long associated_data_len,
   ck_object_handle_t *key),
  (session, mechanism, unwrapping_key, wrapped_key, wrapped_key_len, templ, attribute_count,
   associated_data, associated_data_len, key))
#endif
