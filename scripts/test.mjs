/**
 * Runs every compiled test file with node --test. The files are listed here, not found by node: Node 20 knows no
 * globs and Node 24 takes a directory for one module. Fails also when fewer ran than there are known to be.
 * Arguments are parts of file names: node scripts/test.mjs apache login
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folders = ['protocol/test/dist', 'agent/test/dist', 'clients/ts/test/dist', 'test/dist'];

/** Reasons for which tests may be left out: what the machine lacks, or a bug in a program that they drive. */
const knownSkips = [
  /^needs root\b/,
  /^needs Node 20\b/,
  /^needs a node outside of \/root and \/home\b/,
  /^needs a checkout that \S+ can read$/,
  /^needs Project Wycheproof's vectors\b/,
  /^nobody but root may ask in /,
  /^no container can be made here\b/,
  /^(?:mount|user) namespaces are not allowed here\b/,
];

/** What a complete run has at least; raise them as tests are added. */
const minimumFiles = 162;
const minimumTests = 2585;

function testFiles(patterns) {
  return folders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
    )
    .filter(
      (file) =>
        file.endsWith('.test.js') && (patterns.length === 0 || patterns.some((part) => file.includes(part))),
    )
    .sort();
}

/** Runs node --test on the files and passes its output through. */
function runTests(files) {
  const args = ['--test', '--test-reporter=spec', '--test-concurrency=2', '--test-timeout=600000', ...files];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
    process.stdout.write(text);
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (status) => resolve({ passed: status === 0, output }));
  });
}

/** The block of counts (tests, suites, pass, fail, ...) that the spec reporter ends with. */
function summaryOf(output) {
  const lines = output.replace(/\x1b\[[0-9;]*m/g, '').split('\n');
  return lines.filter((line) =>
    /^ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/.test(line),
  );
}

/** Tests that were left out for a reason that is not known. */
function unknownSkips(output) {
  const skips = output.replace(/\x1b\[[0-9;]*m/g, '').matchAll(/^\s*﹣ (.*) \([\d.]+ms\) # (.*)$/gm);
  return [...skips].filter(([, , reason]) => !knownSkips.some((known) => known.test(reason)));
}

function complain(files, executed, output) {
  const [skip] = unknownSkips(output);
  if (skip !== undefined)
    return `"${skip[1]}" was left out: ${skip[2]}; mend it, or name the reason in knownSkips`;
  if (files.length < minimumFiles) return `only ${files.length} test files, expected ${minimumFiles}`;
  if (executed < minimumTests) return `only ${executed} tests ran, expected ${minimumTests}`;
  return undefined;
}

/** Root's tests run servers and clients under users of their own, who load what is built here. @returns what they cannot enter */
function shutFolder() {
  for (let folder = root; process.getuid() === 0; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return folder;
    if (folder === dirname(folder)) break;
  }
  return undefined;
}

/** Runs this program again where others can enter that folder, in a mount namespace that ends with it. */
function runWithOpen(shut) {
  const script = join(root, 'scripts/with-open-folder.sh');
  const again = [process.execPath, join(root, 'scripts/test.mjs'), ...patterns];
  const { status } = spawnSync('unshare', ['--mount', 'sh', script, shut, ...again], { stdio: 'inherit' });
  return status ?? 1;
}

const patterns = process.argv.slice(2);
const shut = shutFolder();
if (shut !== undefined) process.exit(runWithOpen(shut));
const files = testFiles(patterns);
if (files.length === 0) {
  console.error('test: no test file; run node scripts/build.mjs --test first');
  process.exit(1);
}
const { passed, output } = await runTests(files);
const summary = summaryOf(output);
const executed = Number(summary.find((line) => line.startsWith('ℹ tests '))?.split(' ')[2] ?? 0);
const complaint = patterns.length === 0 ? complain(files, executed, output) : undefined;
if (complaint !== undefined) console.error(`test: ${complaint}`);
// A failed run lists its failures after the counts: say the counts again, last.
if (!passed || complaint !== undefined) console.log(summary.join('\n'));
process.exitCode = passed && complaint === undefined ? 0 : 1;
