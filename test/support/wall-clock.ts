/** Loaded before an agent: its wall clock is off by as many milliseconds as the file $KEYAGENT_TEST_CLOCK says. */
import { readFileSync } from 'node:fs';

const now = Date.now.bind(Date);
const { KEYAGENT_TEST_CLOCK: file = '' } = process.env;

Date.now = () => now() + Number(readFileSync(file, 'utf8'));
