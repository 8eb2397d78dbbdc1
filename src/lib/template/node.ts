/** The parts of a parsed template. Source: Go's text/template/parse. */
import type { Float } from './value.ts'

/** Where a node is in the template, in UTF-16 units. */
interface Placed {
  readonly position: number
}

/** A constant, with its text as written. */
export interface ConstantNode extends Placed {
  readonly kind: 'constant'
  readonly type: 'bool' | 'number' | 'string'
  readonly value: boolean | number | string | Float
  readonly text: string
}

/** What can stand in a command: the command's word or one of its arguments. */
export type OperandNode =
  | ConstantNode
  | (Placed & { readonly kind: 'dot' })
  | (Placed & { readonly kind: 'nil' })
  | (Placed & { readonly kind: 'identifier'; readonly name: string })
  | (Placed & { readonly kind: 'field'; readonly names: readonly string[] })
  | (Placed & { readonly kind: 'variable'; readonly name: string; readonly names: readonly string[] })
  | (Placed & { readonly kind: 'chain'; readonly operand: OperandNode; readonly names: readonly string[] })
  | PipeNode

/** Words between two pipes. */
export interface CommandNode extends Placed {
  readonly kind: 'command'
  readonly operands: readonly OperandNode[]
}

/** Commands, each the last argument of the next; and the variables that take the result. */
export interface PipeNode extends Placed {
  readonly kind: 'pipe'
  readonly variables: readonly string[]
  /** `=` instead of `:=`. */
  readonly isAssignment: boolean
  readonly commands: readonly CommandNode[]
}

/** An action, or text between actions. */
export type Statement =
  | { readonly kind: 'text'; readonly text: string }
  | (Placed & { readonly kind: 'action'; readonly pipe: PipeNode })
  | BranchNode
  | TemplateNode
  | (Placed & { readonly kind: 'break' | 'continue' })

/** `if`, `with` and `range`. */
export interface BranchNode extends Placed {
  readonly kind: 'if' | 'with' | 'range'
  readonly pipe: PipeNode
  readonly body: readonly Statement[]
  readonly otherwise: readonly Statement[]
}

/** A call of a named template. */
export interface TemplateNode extends Placed {
  readonly kind: 'template'
  readonly name: string
  readonly pipe: PipeNode | null
}

/** The nodes at which an execution can fail. */
export type FailingNode = OperandNode | CommandNode | TemplateNode

/** A node as errors show it: as it was written, without superfluous space. */
export function printNode(node: FailingNode): string {
  switch (node.kind) {
    case 'constant':
      return node.text
    case 'dot':
      return '.'
    case 'nil':
      return 'nil'
    case 'identifier':
      return node.name
    case 'field':
      return printNames(node.names)
    case 'variable':
      return node.name + printNames(node.names)
    case 'chain':
      return printOperand(node.operand) + printNames(node.names)
    case 'command':
      return node.operands.map(printOperand).join(' ')
    case 'pipe': {
      const names = node.variables.join(', ')
      const declaration = names === '' ? '' : `${names} ${node.isAssignment ? '=' : ':='} `
      return declaration + node.commands.map(printNode).join(' | ')
    }
    case 'template':
      return `{{template ${JSON.stringify(node.name)}${node.pipe === null ? '' : ` ${printNode(node.pipe)}`}}}`
  }
}

function printOperand(node: OperandNode): string {
  return node.kind === 'pipe' ? `(${printNode(node)})` : printNode(node)
}

function printNames(names: readonly string[]): string {
  return names.map(name => `.${name}`).join('')
}
