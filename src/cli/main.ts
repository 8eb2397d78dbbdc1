import manifest from '../../package.json' with { type: 'json' }

/** Runs one command line and returns the exit status. */
export function main(argv: readonly string[]): number {
  if (argv[0] === '--version') {
    console.log(`berth version ${manifest.version}`)
    return 0
  }
  console.error('Usage: berth --version')
  return 125
}

process.exitCode = main(process.argv.slice(2))
