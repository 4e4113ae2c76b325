/** A bar for each contender, as SVG: text and lines follow the reader's light or dark scheme. */
import type { Measured } from '../figure.js';
import { shown } from './text.js';

const size = { width: 640, bar: 22, gap: 12, left: 110, right: 90, top: 40 };

export function plot({ title, unit, series }: Measured): string {
  const longest = Math.max(...series.flatMap(({ rounds }) => rounds));
  const span = size.width - size.left - size.right;
  const x = (value: number): number => size.left + (value / longest) * span;
  const height = size.top + series.length * (size.bar + size.gap);
  const bars = series.map(({ name, median, rounds }, i) => {
    const y = size.top + i * (size.bar + size.gap);
    const middle = y + size.bar / 2;
    return [
      `<text class="t" x="${size.left - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>`,
      `<rect class="${name === 'keyagent' ? 'own' : 'bar'}" x="${size.left}" y="${y}" width="${(x(median) - size.left).toFixed(1)}" height="${size.bar}"/>`,
      `<line class="l" x1="${x(Math.min(...rounds)).toFixed(1)}" x2="${x(Math.max(...rounds)).toFixed(1)}" y1="${middle}" y2="${middle}"/>`,
      `<text class="t" x="${(x(Math.max(...rounds)) + 8).toFixed(1)}" y="${middle + 4}">${shown(median)} ${unit}</text>`,
    ].join('\n');
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${height}" viewBox="0 0 ${size.width} ${height}" role="img">
<title>${escaped(title)}</title>
<style>
text { font: 13px sans-serif; } .t { fill: #24292f; } .h { font-weight: 600; } .l { stroke: #24292f; } .bar { fill: #8c959f; } .own { fill: #0969da; }
@media (prefers-color-scheme: dark) { .t { fill: #e6edf3; } .l { stroke: #e6edf3; } .bar { fill: #6e7681; } .own { fill: #4493f8; } }
</style>
<text class="t h" x="8" y="22">${escaped(title)}</text>
${bars.join('\n')}
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
