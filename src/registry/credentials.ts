/** Credentials: where they come from is told in docker-config.ts and credential-helper.ts. */

/** What a user has for one registry: a name and a password, or an identity token that stands for both. */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identityToken'; readonly token: string }

/** Where credentials are looked up. */
export interface CredentialSource {
  /**
   * Those for a host (with its port when it has one) and a repository of it (empty: the registry itself); null: none.
   * @throws {BerthError} the store of credentials is damaged, or its helper fails
   */
  find(host: string, repository: string, signal?: AbortSignal): Promise<Credential | null>
}

/** Nobody's. */
export const ANONYMOUS: CredentialSource = Object.freeze({ find: () => Promise.resolve(null) })
