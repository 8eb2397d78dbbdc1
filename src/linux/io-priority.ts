/** I/O priorities. Source: ioprio_set(2), include/uapi/linux/ioprio.h. */

export const IOPRIO_CLASS = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 } as const

export type IoPriorityClass = keyof typeof IOPRIO_CLASS

const IOPRIO_CLASS_SHIFT = 13

/** The value for ioprio_set(2): the class above bit 13, the level (0 highest, 7 lowest) below. */
export function ioPriorityValue(ioClass: IoPriorityClass, level: number): number {
  return (IOPRIO_CLASS[ioClass] << IOPRIO_CLASS_SHIFT) | level
}
