/**
 * The sections of config.json for platforms other than Linux. Berth reads and checks them, so that a config is judged
 * as the schema judges it, and refuses to run one; what they mean is therefore typed loosely.
 * Source: OCI runtime-spec 1.3, schema/config-{freebsd,solaris,vm,windows,zos}.json.
 */

export type FreeBSD = Readonly<Record<string, unknown>>
export type Solaris = Readonly<Record<string, unknown>>
export type VM = Readonly<Record<string, unknown>>
export type Windows = Readonly<Record<string, unknown>>
export type ZOS = Readonly<Record<string, unknown>>
