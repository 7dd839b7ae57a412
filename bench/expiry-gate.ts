/** While this file is in the service's folder, expired answers are deleted. */
export const GATE = 'expire';
