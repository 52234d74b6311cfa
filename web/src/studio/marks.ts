/**
 * What is marked of a picture to be painted anew: strokes, areas, and the way back.
 *
 * All lengths are pixels of the picture. A value is never changed: each step gives a new one.
 */

export interface Stroke {
  kind: 'stroke';
  /** Whether it marks, or takes marks away. */
  adds: boolean;
  /** Diameter of the brush. */
  width: number;
  points: readonly (readonly [number, number])[];
}

export interface Area {
  kind: 'area';
  adds: boolean;
  x: number;
  y: number;
  width: number;
  height: number;
}

export type Mark = Stroke | Area;

export interface Marks {
  done: readonly Mark[];
  undone: readonly Mark[];
}

export const NO_MARKS: Marks = { done: [], undone: [] };

/** One mark more; what was undone cannot be done again then. */
export function marked(marks: Marks, mark: Mark): Marks {
  return { done: [...marks.done, mark], undone: [] };
}

export function undone(marks: Marks): Marks {
  const last = marks.done.at(-1);
  return last === undefined ? marks : { done: marks.done.slice(0, -1), undone: [...marks.undone, last] };
}

export function redone(marks: Marks): Marks {
  const next = marks.undone.at(-1);
  return next === undefined ? marks : { done: [...marks.done, next], undone: marks.undone.slice(0, -1) };
}

/** The part of an area that lies in the picture, in whole pixels; null where nothing of it does. */
export function areaWithin(area: Omit<Area, 'kind'>, width: number, height: number): Area | null {
  const sides = [area.x, area.y, area.width, area.height];
  if (!sides.every(Number.isFinite)) return null;
  const left = Math.max(0, Math.round(area.x));
  const top = Math.max(0, Math.round(area.y));
  const right = Math.min(width, Math.round(area.x + area.width));
  const bottom = Math.min(height, Math.round(area.y + area.height));
  if (right <= left || bottom <= top) return null;
  return { kind: 'area', adds: area.adds, x: left, y: top, width: right - left, height: bottom - top };
}

/** What of a canvas is needed to draw on. */
export type Surface = Pick<
  CanvasRenderingContext2D,
  | 'globalCompositeOperation'
  | 'lineWidth'
  | 'lineCap'
  | 'lineJoin'
  | 'beginPath'
  | 'moveTo'
  | 'lineTo'
  | 'stroke'
  | 'fillRect'
>;

/** Draw a mark; of a stroke only what follows its point `from`, so that a stroke can be drawn as it is made. */
export function draw(surface: Surface, mark: Mark, from = 0): void {
  surface.globalCompositeOperation = mark.adds ? 'source-over' : 'destination-out';
  if (mark.kind === 'area') {
    surface.fillRect(mark.x, mark.y, mark.width, mark.height);
    return;
  }
  const first = mark.points[from];
  if (first === undefined) return;
  surface.lineWidth = mark.width;
  surface.lineCap = 'round';
  surface.lineJoin = 'round';
  surface.beginPath();
  surface.moveTo(first[0], first[1]);
  // A line to where it begins is a dot.
  for (const [x, y] of [first, ...mark.points.slice(from + 1)]) surface.lineTo(x, y);
  surface.stroke();
}

/** Which share of a picture is marked, from its pixels (four bytes each, the last is how opaque). */
export function shareOf(pixels: Uint8ClampedArray): number {
  let count = 0;
  for (let place = 3; place < pixels.length; place += 4) if (pixels[place] === 255) count += 1;
  return pixels.length === 0 ? 0 : count / (pixels.length / 4);
}
