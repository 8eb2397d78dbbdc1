/** The argument with which the compiled program becomes the process that unpacks layers: see layer-worker.ts. */
export const LAYER_WORKER_ARGUMENT = 'layer-worker'
