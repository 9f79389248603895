/* Every function of PKCS#11 v2.40: F(name, parameters, arguments). C_GetFunctionList is not among
 * them. */

F(C_Initialize, (void *init_args), (init_args))
F(C_Finalize, (void *reserved), (reserved))
F(C_GetInfo, (struct ck_info * info), (info))
F(C_GetSlotList, (unsigned char token_present, ck_slot_id_t *slot_list, unsigned long *count),
  (token_present, slot_list, count))
F(C_GetSlotInfo, (ck_slot_id_t slot_id, struct ck_slot_info *info), (slot_id, info))
F(C_GetTokenInfo, (ck_slot_id_t slot_id, struct ck_token_info *info), (slot_id, info))
F(C_WaitForSlotEvent, (ck_flags_t flags, ck_slot_id_t *slot, void *reserved),
  (flags, slot, reserved))
F(C_GetMechanismList,
  (ck_slot_id_t slot_id, ck_mechanism_type_t *mechanism_list, unsigned long *count),
  (slot_id, mechanism_list, count))
F(C_GetMechanismInfo,
  (ck_slot_id_t slot_id, ck_mechanism_type_t type, struct ck_mechanism_info *info),
  (slot_id, type, info))
F(C_InitToken,
  (ck_slot_id_t slot_id, unsigned char *pin, unsigned long pin_len, unsigned char *label),
  (slot_id, pin, pin_len, label))
F(C_InitPIN, (ck_session_handle_t session, unsigned char *pin, unsigned long pin_len),
  (session, pin, pin_len))
F(C_SetPIN,
  (ck_session_handle_t session, unsigned char *old_pin, unsigned long old_len,
   unsigned char *new_pin, unsigned long new_len),
  (session, old_pin, old_len, new_pin, new_len))
F(C_OpenSession,
  (ck_slot_id_t slot_id, ck_flags_t flags, void *application, ck_notify_t notify,
   ck_session_handle_t *session),
  (slot_id, flags, application, notify, session))
F(C_CloseSession, (ck_session_handle_t session), (session))
F(C_CloseAllSessions, (ck_slot_id_t slot_id), (slot_id))
F(C_GetSessionInfo, (ck_session_handle_t session, struct ck_session_info *info), (session, info))
F(C_GetOperationState,
  (ck_session_handle_t session, unsigned char *operation_state, unsigned long *operation_state_len),
  (session, operation_state, operation_state_len))
F(C_SetOperationState,
  (ck_session_handle_t session, unsigned char *operation_state, unsigned long operation_state_len,
   ck_object_handle_t encryption_key, ck_object_handle_t authentiation_key),
  (session, operation_state, operation_state_len, encryption_key, authentiation_key))
F(C_Login,
  (ck_session_handle_t session, ck_user_type_t user_type, unsigned char *pin,
   unsigned long pin_len),
  (session, user_type, pin, pin_len))
F(C_Logout, (ck_session_handle_t session), (session))
F(C_CreateObject,
  (ck_session_handle_t session, struct ck_attribute *templ, unsigned long count,
   ck_object_handle_t *object),
  (session, templ, count, object))
F(C_CopyObject,
  (ck_session_handle_t session, ck_object_handle_t object, struct ck_attribute *templ,
   unsigned long count, ck_object_handle_t *new_object),
  (session, object, templ, count, new_object))
F(C_DestroyObject, (ck_session_handle_t session, ck_object_handle_t object), (session, object))
F(C_GetObjectSize, (ck_session_handle_t session, ck_object_handle_t object, unsigned long *size),
  (session, object, size))
F(C_GetAttributeValue,
  (ck_session_handle_t session, ck_object_handle_t object, struct ck_attribute *templ,
   unsigned long count),
  (session, object, templ, count))
F(C_SetAttributeValue,
  (ck_session_handle_t session, ck_object_handle_t object, struct ck_attribute *templ,
   unsigned long count),
  (session, object, templ, count))
F(C_FindObjectsInit, (ck_session_handle_t session, struct ck_attribute *templ, unsigned long count),
  (session, templ, count))
F(C_FindObjects,
  (ck_session_handle_t session, ck_object_handle_t *object, unsigned long max_object_count,
   unsigned long *object_count),
  (session, object, max_object_count, object_count))
F(C_FindObjectsFinal, (ck_session_handle_t session), (session))
F(C_EncryptInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_Encrypt,
  (ck_session_handle_t session, unsigned char *data, unsigned long data_len,
   unsigned char *encrypted_data, unsigned long *encrypted_data_len),
  (session, data, data_len, encrypted_data, encrypted_data_len))
F(C_EncryptUpdate,
  (ck_session_handle_t session, unsigned char *part, unsigned long part_len,
   unsigned char *encrypted_part, unsigned long *encrypted_part_len),
  (session, part, part_len, encrypted_part, encrypted_part_len))
F(C_EncryptFinal,
  (ck_session_handle_t session, unsigned char *last_encrypted_part,
   unsigned long *last_encrypted_part_len),
  (session, last_encrypted_part, last_encrypted_part_len))
F(C_DecryptInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_Decrypt,
  (ck_session_handle_t session, unsigned char *encrypted_data, unsigned long encrypted_data_len,
   unsigned char *data, unsigned long *data_len),
  (session, encrypted_data, encrypted_data_len, data, data_len))
F(C_DecryptUpdate,
  (ck_session_handle_t session, unsigned char *encrypted_part, unsigned long encrypted_part_len,
   unsigned char *part, unsigned long *part_len),
  (session, encrypted_part, encrypted_part_len, part, part_len))
F(C_DecryptFinal,
  (ck_session_handle_t session, unsigned char *last_part, unsigned long *last_part_len),
  (session, last_part, last_part_len))
F(C_DigestInit, (ck_session_handle_t session, struct ck_mechanism *mechanism), (session, mechanism))
F(C_Digest,
  (ck_session_handle_t session, unsigned char *data, unsigned long data_len, unsigned char *digest,
   unsigned long *digest_len),
  (session, data, data_len, digest, digest_len))
F(C_DigestUpdate, (ck_session_handle_t session, unsigned char *part, unsigned long part_len),
  (session, part, part_len))
F(C_DigestKey, (ck_session_handle_t session, ck_object_handle_t key), (session, key))
F(C_DigestFinal, (ck_session_handle_t session, unsigned char *digest, unsigned long *digest_len),
  (session, digest, digest_len))
F(C_SignInit, (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_Sign,
  (ck_session_handle_t session, unsigned char *data, unsigned long data_len,
   unsigned char *signature, unsigned long *signature_len),
  (session, data, data_len, signature, signature_len))
F(C_SignUpdate, (ck_session_handle_t session, unsigned char *part, unsigned long part_len),
  (session, part, part_len))
F(C_SignFinal,
  (ck_session_handle_t session, unsigned char *signature, unsigned long *signature_len),
  (session, signature, signature_len))
F(C_SignRecoverInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_SignRecover,
  (ck_session_handle_t session, unsigned char *data, unsigned long data_len,
   unsigned char *signature, unsigned long *signature_len),
  (session, data, data_len, signature, signature_len))
F(C_VerifyInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_Verify,
  (ck_session_handle_t session, unsigned char *data, unsigned long data_len,
   unsigned char *signature, unsigned long signature_len),
  (session, data, data_len, signature, signature_len))
F(C_VerifyUpdate, (ck_session_handle_t session, unsigned char *part, unsigned long part_len),
  (session, part, part_len))
F(C_VerifyFinal,
  (ck_session_handle_t session, unsigned char *signature, unsigned long signature_len),
  (session, signature, signature_len))
F(C_VerifyRecoverInit,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t key),
  (session, mechanism, key))
F(C_VerifyRecover,
  (ck_session_handle_t session, unsigned char *signature, unsigned long signature_len,
   unsigned char *data, unsigned long *data_len),
  (session, signature, signature_len, data, data_len))
F(C_DigestEncryptUpdate,
  (ck_session_handle_t session, unsigned char *part, unsigned long part_len,
   unsigned char *encrypted_part, unsigned long *encrypted_part_len),
  (session, part, part_len, encrypted_part, encrypted_part_len))
F(C_DecryptDigestUpdate,
  (ck_session_handle_t session, unsigned char *encrypted_part, unsigned long encrypted_part_len,
   unsigned char *part, unsigned long *part_len),
  (session, encrypted_part, encrypted_part_len, part, part_len))
F(C_SignEncryptUpdate,
  (ck_session_handle_t session, unsigned char *part, unsigned long part_len,
   unsigned char *encrypted_part, unsigned long *encrypted_part_len),
  (session, part, part_len, encrypted_part, encrypted_part_len))
F(C_DecryptVerifyUpdate,
  (ck_session_handle_t session, unsigned char *encrypted_part, unsigned long encrypted_part_len,
   unsigned char *part, unsigned long *part_len),
  (session, encrypted_part, encrypted_part_len, part, part_len))
F(C_GenerateKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, struct ck_attribute *templ,
   unsigned long count, ck_object_handle_t *key),
  (session, mechanism, templ, count, key))
F(C_GenerateKeyPair,
  (ck_session_handle_t session, struct ck_mechanism *mechanism,
   struct ck_attribute *public_key_template, unsigned long public_key_attribute_count,
   struct ck_attribute *private_key_template, unsigned long private_key_attribute_count,
   ck_object_handle_t *public_key, ck_object_handle_t *private_key),
  (session, mechanism, public_key_template, public_key_attribute_count, private_key_template,
   private_key_attribute_count, public_key, private_key))
F(C_WrapKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t wrapping_key,
   ck_object_handle_t key, unsigned char *wrapped_key, unsigned long *wrapped_key_len),
  (session, mechanism, wrapping_key, key, wrapped_key, wrapped_key_len))
F(C_UnwrapKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t unwrapping_key,
   unsigned char *wrapped_key, unsigned long wrapped_key_len, struct ck_attribute *templ,
   unsigned long attribute_count, ck_object_handle_t *key),
  (session, mechanism, unwrapping_key, wrapped_key, wrapped_key_len, templ, attribute_count, key))
F(C_DeriveKey,
  (ck_session_handle_t session, struct ck_mechanism *mechanism, ck_object_handle_t base_key,
   struct ck_attribute *templ, unsigned long attribute_count, ck_object_handle_t *key),
  (session, mechanism, base_key, templ, attribute_count, key))
F(C_SeedRandom, (ck_session_handle_t session, unsigned char *seed, unsigned long seed_len),
  (session, seed, seed_len))
F(C_GenerateRandom,
  (ck_session_handle_t session, unsigned char *random_data, unsigned long random_len),
  (session, random_data, random_len))
F(C_GetFunctionStatus, (ck_session_handle_t session), (session))
F(C_CancelFunction, (ck_session_handle_t session), (session))
