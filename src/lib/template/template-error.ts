/** Why an execution stopped; the executor adds where. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
}
