/** The request cannot be carried out. The message is a sentence for the operator. */
export class KeyManagementError extends Error {
  override readonly name = 'KeyManagementError';
}
