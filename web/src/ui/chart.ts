/** Draws a chart with Chart.js, which is fetched when the first one is shown. */
import type { Chart, ChartConfiguration } from 'chart.js';

import type { Series } from './Chart.svelte';

export interface Drawing {
  kind: 'line' | 'bar';
  labels: string[];
  series: Series[];
  stacked: boolean;
  format: (value: number) => string;
}

/** Draw, or bring what was drawn up to date. Colours are the design's, as they are at this moment. */
export async function draw(canvas: HTMLCanvasElement, drawing: Drawing, before: Chart | undefined): Promise<Chart> {
  const { Chart, registerables } = await import('chart.js');
  Chart.register(...registerables);
  const config = configuration(canvas, drawing);
  if (before) {
    before.data = config.data;
    before.options = config.options ?? {};
    before.update('none');
    return before;
  }
  Chart.getChart(canvas)?.destroy();
  return new Chart(canvas, config);
}

function configuration(canvas: HTMLCanvasElement, drawing: Drawing): ChartConfiguration {
  const ink = colour(canvas, '--ink-soft');
  const line = colour(canvas, '--line');
  const many = drawing.series.length > 1;
  const nothing = !drawing.series.some((each) => each.values.some(Boolean));
  return {
    type: drawing.kind,
    data: {
      labels: drawing.labels,
      datasets: drawing.series.map((each, place) => {
        const tone = colour(canvas, `--series-${(place % 6) + 1}`);
        return {
          label: each.label,
          data: each.values,
          borderColor: tone,
          backgroundColor: drawing.kind === 'bar' ? tone : `color-mix(in srgb, ${tone} 14%, transparent)`,
          borderWidth: drawing.kind === 'bar' ? 0 : 1.75,
          borderRadius: 2,
          maxBarThickness: 36,
          fill: drawing.kind === 'line' && !many,
          // A value between gaps has no line to show it.
          pointRadius: each.values.map((_, at) => (alone(each.values, at) ? 2.5 : 0)),
          pointHoverRadius: 4,
          tension: 0,
          spanGaps: false,
        };
      }),
    },
    options: {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: 'index', intersect: false },
      plugins: {
        legend: {
          display: many,
          align: 'start',
          labels: { color: ink, boxWidth: 10, boxHeight: 10, font: { family: 'Inter Variable' } },
        },
        tooltip: {
          callbacks: { label: (item) => `${item.dataset.label ?? ''}: ${drawing.format(Number(item.raw))}` },
        },
      },
      scales: {
        x: {
          stacked: drawing.stacked,
          grid: { display: false },
          border: { color: line },
          ticks: { color: ink, maxRotation: 0, autoSkipPadding: 24, font: { family: 'Inter Variable', size: 11 } },
        },
        y: {
          stacked: drawing.stacked,
          beginAtZero: true,
          // Where there is only nothing an axis of millionths would make a show of it: it tells of 0 alone.
          suggestedMax: nothing ? 1 : undefined,
          grid: { color: line },
          border: { display: false },
          ticks: {
            color: ink,
            maxTicksLimit: 5,
            callback: (value, place, ticks) =>
              nothing && place > 0 ? '' : label(drawing, Number(value), ticks[place - 1]?.value),
            font: { family: 'Inter Variable', size: 11 },
          },
        },
      },
    },
  };
}

function alone(values: (number | null)[], at: number): boolean {
  return typeof values[at] === 'number' && typeof values[at - 1] !== 'number' && typeof values[at + 1] !== 'number';
}

/** A value on the axis; nothing where it reads like the one below it. */
function label(drawing: Drawing, value: number, below: number | undefined): string {
  const text = drawing.format(value);
  return below !== undefined && drawing.format(below) === text ? '' : text;
}

/** A colour of the design as the browser resolves it here: `light-dark()` is nothing that a canvas knows. */
function colour(canvas: HTMLCanvasElement, name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  canvas.parentElement?.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
